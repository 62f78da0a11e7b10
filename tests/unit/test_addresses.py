"""Addresses as people write them, and what is said of them."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_SERVER_API_HOST,
    PREFECT_UI_URL,
    temporary_settings,
)

from athanore.errors import ConfigurationError
from athanore.http_client.addresses import (
    address_of,
    passwords_in,
    read_address,
    without_login,
)
from athanore.launch.prefect.server_process import server_environment
from athanore.runs.links import named_api, own_api, ui_url

pytestmark = pytest.mark.smoke

EXAMPLE = "http://127.0.0.1:4200/api"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (EXAMPLE, EXAMPLE),
        (f"{EXAMPLE}/", EXAMPLE),
        (f" {EXAMPLE}//\n", EXAMPLE),
        ("HTTP://LocalHost:4200/api", "HTTP://LocalHost:4200/api"),
        ("http://[::1]:4200/api/", "http://[::1]:4200/api"),
        ("https://me:p%40ss@prefect.example/api", "https://me:p%40ss@prefect.example/api"),
    ],
)
def test_an_address_is_read_as_it_is_meant(written: str, read: str) -> None:
    assert read_address(written, "PREFECT_API_URL", EXAMPLE) == read
    with temporary_settings({PREFECT_API_URL: written}):
        assert named_api() == read


@pytest.mark.parametrize(
    "written",
    [
        "prefect.example/api",
        "ftp://prefect.example",
        "http://",
        "http://[::1/api",
        "http://::1:4200/api",
        "http://host:port/api",
        "http://one two/api",
        "http://me:hidden/word@host/api",
        "http://me:hidden@host:port/api",
    ],
)
def test_what_is_no_address_is_named_without_its_password(written: str) -> None:
    with pytest.raises(ConfigurationError) as info:
        read_address(written, "PREFECT_API_URL", EXAMPLE)
    message = str(info.value)
    assert message.startswith("PREFECT_API_URL='")
    assert EXAMPLE in message
    assert "hidden" not in message


@pytest.mark.parametrize(
    ("address", "shown", "passwords"),
    [
        ("https://me:hidden@x.example/api", "https://x.example/api", {"hidden"}),
        ("https://me:hid%2Fden@[::1]:1/api", "https://[::1]:1/api", {"hid%2Fden", "hid/den"}),
        ("https://token@x.example", "https://x.example", set[str]()),
        ("https://[me:hidden@x.example", "https://x.example", set[str]()),
        ("https://x.example/@you", "https://x.example/@you", set[str]()),
        ("", "", set[str]()),
    ],
)
def test_a_login_is_not_shown(address: str, shown: str, passwords: set[str]) -> None:
    assert without_login(address) == shown
    assert passwords_in(address) == passwords


@pytest.mark.parametrize(
    ("bound", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:4200"),
        ("prefect.internal", "http://prefect.internal:4200"),
        ("0.0.0.0", "http://127.0.0.1:4200"),
        ("::", "http://[::1]:4200"),
        ("::1", "http://[::1]:4200"),
    ],
)
def test_the_address_of_what_is_bound(bound: str, address: str) -> None:
    assert address_of(bound, 4200) == address
    with temporary_settings({PREFECT_SERVER_API_HOST: bound}):
        assert own_api() == f"{address}/api"
    environment = server_environment(bound, 4200, {})
    assert environment["PREFECT_UI_API_URL"] == f"{address}/api"
    assert environment["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == address


def test_the_ui_is_told_what_people_have_set() -> None:
    people = {"PREFECT_UI_URL": "https://prefect.example/"}
    told = server_environment("0.0.0.0", 4200, people)
    assert told["PREFECT_UI_API_URL"] == "https://prefect.example/api"
    told = server_environment("0.0.0.0", 4200, people | {"PREFECT_UI_API_URL": "https://x.example"})
    assert told["PREFECT_UI_API_URL"] == "https://x.example"


@pytest.mark.parametrize(
    ("api", "ui", "shown"),
    [
        ("http://me:hidden@x.example/api", None, "http://x.example"),
        ("http://me:hidden@x.example/api/", None, "http://x.example"),
        (EXAMPLE, "https://me:hidden@ui.example/ ", "https://ui.example"),
    ],
)
def test_the_address_of_the_ui_has_no_login(api: str, ui: str | None, shown: str) -> None:
    settings: dict[Any, str] = {PREFECT_API_URL: api} | ({} if ui is None else {PREFECT_UI_URL: ui})
    with temporary_settings(settings):
        assert ui_url(api) == shown
