"""The way to a board: through the environment's proxy, and with the certificates that it names."""

from __future__ import annotations

import ssl
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import override

import pytest

from athanore.errors import BoardUnavailableError, ConfigurationError
from athanore.http_client.patience import Patience
from athanore.queue_adapters.github.client import GitHubClient
from athanore.queue_adapters.github.credentials import PersonalToken
from athanore.queue_adapters.planka.backend import PlankaBackend
from athanore.queue_adapters.planka.client import PlankaClient, Token
from tests.certificates import own_certificate


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)


@contextmanager
def _served(context: ssl.SSLContext | None = None) -> Generator[tuple[str, list[str]]]:
    """A server that answers every GET as Planka does, and notes what it was asked for."""
    asked: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "13")
            self.end_headers()
            self.wfile.write(b'{"items": []}')

        @override
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            scheme = "http" if context is None else "https"
            yield f"{scheme}://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def _ask(url: str) -> None:
    client = PlankaClient(url, Token("key"), timeout=timedelta(seconds=20), retry_delays=())
    try:
        client.get("projects")
    finally:
        client.close()


def _ask_github(url: str) -> None:
    client = GitHubClient(f"{url}/api/v3", PersonalToken("key"), Patience())
    try:
        client.get("user")
    finally:
        client.close()


def test_github_elsewhere_is_asked_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with _served() as (proxy, asked):
        monkeypatch.setenv("http_proxy", proxy)
        _ask_github("http://github.invalid")
        assert asked == ["http://github.invalid/api/v3/user"]
        monkeypatch.setenv("no_proxy", "github.invalid")
        with pytest.raises(BoardUnavailableError, match="did not answer"):
            _ask_github("http://github.invalid")


def test_a_github_with_a_certificate_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate, context = own_certificate(tmp_path)
    with _served(context) as (url, asked):
        with pytest.raises(BoardUnavailableError, match=r"certificate .* refused.*SSL_CERT_FILE"):
            _ask_github(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        _ask_github(url)
        assert asked == ["/api/v3/user"]


def test_planka_elsewhere_is_asked_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with _served() as (proxy, asked):
        monkeypatch.setenv("http_proxy", proxy)
        _ask("http://planka.invalid")
        assert asked == ["http://planka.invalid/api/projects"]
        monkeypatch.setenv("no_proxy", "planka.invalid")
        with pytest.raises(BoardUnavailableError, match="did not answer"):
            _ask("http://planka.invalid")
        assert len(asked) == 1


def test_planka_on_this_machine_is_asked_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with _served() as (url, asked):
        _ask(url)
        assert asked == ["/api/projects"]


def test_a_proxy_that_does_not_answer_is_named_without_logins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://me:hidden@127.0.0.1:1")
    with pytest.raises(BoardUnavailableError) as info:
        _ask("http://me:hidden@planka.invalid")
    message = str(info.value)
    assert "http://planka.invalid through the proxy http://127.0.0.1:1 did not answer" in message
    assert "hidden" not in message


def test_a_certificate_that_is_refused_is_called_that(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate, context = own_certificate(tmp_path)
    with _served(context) as (url, asked):
        with pytest.raises(BoardUnavailableError, match=r"certificate .* refused.*SSL_CERT_FILE"):
            _ask(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        _ask(url)
        assert asked == ["/api/projects"]


def test_an_address_of_planka_is_shown_without_its_login(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PLANKA_TOKEN", "PLANKA_USER", "PLANKA_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    for url in ("https://me:hidden@planka.example", "https://me:hidden@planka.example:port"):
        with pytest.raises(ConfigurationError) as info:
            PlankaBackend(url).create_adapter()
        assert "planka.example" in str(info.value)
        assert "hidden" not in str(info.value)
