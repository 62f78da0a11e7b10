"""Ids become names of folders: legal everywhere, and another one for each id."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from athanore.errors import WorkspaceError
from athanore.workspaces.places import Place, Record, component, places

IDS = [
    "", ".", "..", "../..", "/", "/etc", "../../etc/passwd", "a/b", "a\\b", "~root", "-rf", "a\0b",
    "a\nb", "x" * 300, "x" * 299, "é" * 300, "Fix", "fix", "FIX", "fi\u0307x", ".git", "\ud83d",
    "$HOME", "a b", "a-b", "a--b", "a.b", "a_b", "完了", "完",
]  # fmt: skip


def test_each_id_has_a_folder_of_its_own() -> None:
    assert len({component(i) for i in IDS}) == len(IDS)


@given(st.text())
def test_an_id_is_one_plain_part_of_a_path(task_id: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", component(task_id))
    assert len(component(task_id)) <= 60


@given(st.text(st.sampled_from("aA-/.")), st.text(st.sampled_from("aA-/.")))
def test_two_ids_never_share_one(one: str, two: str) -> None:
    assert (component(one) == component(two)) == (one == two)


def test_an_id_that_looks_like_the_name_of_another_has_its_own() -> None:
    name = component("Fix")
    assert component(name) != name


@pytest.mark.parametrize("plain", ["1", "42", "fix-it", "1511037489373349120", "a" * 40])
def test_plain_ids_stay_as_they_are(plain: str) -> None:
    assert component(plain) == plain


def test_a_record_is_read_back_and_a_broken_one_counts_as_none(tmp_path: Path) -> None:
    place = Place(tmp_path, "app", "1", "work")
    place.make()
    record = Record("1", "Größe", "branch", "main", 3, "2026-01-02T03:04:05+00:00")
    place.write(record)
    assert place.read() == record
    assert place.read().is_open
    (place.home / "record.json").write_text('{"task_id": "1", "number": "many"}')
    assert place.read() == Record("1")
    assert list(places(tmp_path, "app", "work")) == []


def test_a_record_that_names_another_task_is_not_believed(tmp_path: Path) -> None:
    place = Place(tmp_path, "app", "1", "work")
    place.make()
    place.write(Record("../../precious"))
    assert place.read().task_id == "1"
    assert list(places(tmp_path, "app", "work")) == []


@pytest.mark.parametrize("part", ["app", "app/1"])
def test_a_way_over_a_link_is_refused(tmp_path: Path, part: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / part).parent.mkdir(exist_ok=True)
    (tmp_path / part).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WorkspaceError, match=r"is a symbolic link.*remove the link"):
        Place(tmp_path, "app", "1", "work").make()
