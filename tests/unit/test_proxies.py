"""The proxy that leads to an address."""

from __future__ import annotations

import pytest

from athanore.http_client.proxies import by_way_of, proxy_for

HTTP, HTTPS, ALL = "http://proxy:1", "http://proxy:2", "http://proxy:3"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("url", "variables", "expected"),
    [
        ("https://api.example/api", {}, None),
        ("https://api.example/api", {"HTTPS_PROXY": HTTPS, "HTTP_PROXY": HTTP}, HTTPS),
        ("http://api.example/api", {"HTTPS_PROXY": HTTPS, "http_proxy": HTTP}, HTTP),
        ("http://api.example/api", {"ALL_PROXY": ALL}, ALL),
        ("http://api.example/api", {"ALL_PROXY": ALL, "NO_PROXY": "example.org,.example"}, None),
        ("http://api.example/api", {"http_proxy": " proxy:1 "}, HTTP),
        ("http://api.example/api", {"http_proxy": " "}, None),
        ("http://127.0.0.1:4200/api", {"http_proxy": HTTP}, None),
        ("http://[::1]:4200/api", {"http_proxy": HTTP}, None),
        ("http://localhost:4200/api", {"http_proxy": HTTP}, None),
        ("", {"http_proxy": HTTP}, None),
    ],
)
def test_the_proxy_of_an_address(
    monkeypatch: pytest.MonkeyPatch, url: str, variables: dict[str, str], expected: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == expected


def test_a_message_names_the_proxy_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://me:secret@proxy:1")
    assert by_way_of("http://api.example/api") == " through the proxy http://proxy:1"
    assert by_way_of("http://127.0.0.1:4200/api") == ""
