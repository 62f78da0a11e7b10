"""Names in Prefect are legal, distinct and can be read back."""

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from athanore import AgentDispatcher, names


@given(st.text(min_size=1, max_size=60))
def test_any_queue_name_survives_the_round_trip(text: str) -> None:
    slug = names.slug(text)
    assert names.unslug(slug) == text
    assert not re.search(r"[/%&<>?#:]", slug)
    assert slug.strip(".") or not slug


@pytest.mark.parametrize("name", ["Todo", "My Project.My Board.Todo", "Größe ändern", "v1.2"])
def test_ordinary_names_stay_as_they_are(name: str) -> None:
    assert names.slug(name) == name


def test_another_apps_route_never_collides_with_a_queue_that_looks_like_it() -> None:
    assert names.deployment_name("shop", "Todo") == "shop:Todo"
    assert names.deployment_name("athanore", "shop:Todo") == "shop~3ATodo"


def test_keys_tell_apart_what_a_slash_could_confuse() -> None:
    one = names.run_key("a", "b/c", "d", "v")
    two = names.run_key("a", "b", "c/d", "v")
    assert one != two
    assert names.is_run_key(one, "a", "b/c", "d")
    assert not names.is_run_key(one, "a", "b", "c/d")
    assert not names.is_run_key(None, "a", "b", "c")


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("/home/me/lab", "lab"),
        ("/home/me/my böard app", "my-böard-app"),
        (unicodedata.normalize("NFD", "/tmp/Größe"), "Größe"),  # as macOS spells it
        ("/srv/50% off: a&b", "50-off-a-b"),
        ("/srv/.hidden", "hidden"),
        ("/srv/???", "athanore"),
        ("/", "athanore"),
        ("/srv/Prefect jobs", "app-Prefect-jobs"),
    ],
)
def test_an_app_is_named_after_its_folder_as_far_as_prefect_allows(folder: str, name: str) -> None:
    assert names.folder_name(Path(folder)) == name


@given(st.text(min_size=1).filter(lambda text: "/" not in text and "\0" not in text))
def test_any_folder_gives_a_name_that_an_app_may_have(text: str) -> None:
    name = names.folder_name(Path("/srv") / text)
    assert AgentDispatcher(name=name).name == name
    assert names.slug(name) == name
