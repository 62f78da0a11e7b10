"""The parts of the Planka adapter that need no server."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from athanore.errors import BoardUnavailableError, ConfigurationError
from athanore.http_client.cache import Cache
from athanore.http_client.retries import RetryingTransport
from athanore.queue_adapters.base import (
    HasSecretEnv,
    HasUser,
    QueueBackend,
    SupportsClaim,
    SupportsPrepare,
)
from athanore.queue_adapters.planka.backend import PlankaAdapter, PlankaBackend
from athanore.queue_adapters.planka.client import Password, Token
from athanore.queue_adapters.planka.queues import is_id

URL = "https://planka.example.com"
LONG, NEVER = timedelta(days=1), timedelta(0)


# --- the backend ---


@pytest.fixture(autouse=True)
def no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PLANKA_TOKEN", "PLANKA_USER", "PLANKA_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


def test_credentials_are_read_when_the_adapter_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = PlankaBackend(URL)
    assert isinstance(backend, QueueBackend)
    with pytest.raises(ConfigurationError, match="PLANKA_TOKEN"):
        backend.create_adapter()
    monkeypatch.setenv("PLANKA_TOKEN", "key")
    backend.create_adapter().close()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"PLANKA_TOKEN": " t\r\n"}, Token("t")),
        ({"PLANKA_USER": "u\n", "PLANKA_PASSWORD": "p\n"}, Password("u", "p")),
        ({"PLANKA_TOKEN": "\n", "PLANKA_USER": "u", "PLANKA_PASSWORD": "p"}, Password("u", "p")),
    ],
)
def test_blanks_and_newlines_round_credentials_are_cut(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: Token | Password
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert PlankaBackend(URL)._credentials() == expected  # pyright: ignore[reportPrivateUsage]


def test_credentials_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("PLANKA_USER=u\nPLANKA_PASSWORD=p\n")
    assert PlankaBackend(URL)._credentials() == Password("u", "p")  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setenv("PLANKA_TOKEN", "t")
    assert PlankaBackend(URL)._credentials() == Token("t")  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        ({"token": "t"}, {}),
        ({"username": "u", "password": "p"}, {}),
        ({}, {"PLANKA_TOKEN": "t", "PLANKA_USER": "u"}),
        ({}, {"PLANKA_TOKEN": "", "PLANKA_USER": "u", "PLANKA_PASSWORD": "p"}),
        ({"username": "u"}, {"PLANKA_TOKEN": "of another user", "PLANKA_PASSWORD": "p"}),
    ],
)
def test_credentials_that_are_enough(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, str], environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    adapter = PlankaBackend(URL, **options).create_adapter()  # pyright: ignore[reportArgumentType]
    for protocol in (HasUser, HasSecretEnv, SupportsPrepare, SupportsClaim):
        assert isinstance(adapter, protocol)
    adapter.close()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"url": "planka.example.com", "token": "t"}, "https://"),
        ({"url": "", "token": "t"}, "https://"),
        ({"url": "http://[", "token": "t"}, "https://"),
        ({"url": "ftp://planka.example.com", "token": "t"}, "https://"),
        ({"url": URL, "username": "u"}, "PLANKA_PASSWORD"),
        ({"url": URL, "password": "p"}, "PLANKA_USER"),
        ({"url": URL, "token": "t", "username": "u", "password": "p"}, "not both"),
    ],
)
def test_an_address_or_credentials_that_make_no_sense(options: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        PlankaBackend(**options).create_adapter()  # pyright: ignore[reportArgumentType]


def test_secrets_are_not_shown() -> None:
    shown = repr(PlankaBackend(URL, token="hush")) + repr(PlankaBackend(URL, password="hush"))
    assert "hush" not in shown
    assert URL in shown


def test_the_adapter_is_public() -> None:
    assert PlankaAdapter.__module__.startswith("athanore.queue_adapters.planka.")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1914079841167083183", True),
        ("1", True),
        (str(2**63 - 1), True),
        (str(2**63), False),
        ("01", False),
        ("-1", False),
        ("1\n", False),
        ("\N{ARABIC-INDIC DIGIT ONE}", False),
        ("", False),
    ],
)
def test_what_can_be_an_id(text: str, expected: bool) -> None:
    assert is_id(text) is expected


# --- the cache ---


class Loads:
    """Counts loads, and holds them up until they are let go."""

    def __init__(self) -> None:
        self.count = 0
        self.entered = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def __call__(self, key: str) -> str:
        self.count += 1
        number = self.count
        self.entered.set()
        assert self.go.wait(30)
        return f"{key}{number}"


def test_the_cache_loads_once_for_all_who_ask_at_once() -> None:
    loads = Loads()
    cache = Cache(loads, LONG)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(cache.get, "a" * 8)) == {"a1"}
    assert cache.get("b") == "b2"


def test_the_cache_keeps_nothing_longer_than_it_may() -> None:
    cache = Cache(Loads(), NEVER)
    assert [cache.get("a"), cache.get("a")] == ["a1", "a2"]


def test_what_was_loaded_before_a_forget_is_given_to_nobody_who_asks_after_it() -> None:
    loads = Loads()
    loads.go.clear()
    cache = Cache(loads, LONG)
    with ThreadPoolExecutor(2) as pool:
        early = pool.submit(cache.get, "a")
        assert loads.entered.wait(30)
        cache.forget("a")  # our write, while an older read is under way
        late = pool.submit(cache.get, "a")
        loads.go.set()
        assert early.result(30) == "a1"
        assert late.result(30) == "a2"
    assert cache.get("a") == "a2"


def test_an_update_changes_what_is_kept_and_drops_what_is_under_way() -> None:
    loads = Loads()
    cache = Cache(loads, LONG)
    cache.update("a", str.upper)
    assert cache.get("a") == "a1"
    cache.update("a", str.upper)
    assert cache.get("a") == "A1"
    loads.entered.clear()
    loads.go.clear()
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(cache.get, "b")
        assert loads.entered.wait(30)
        cache.update("b", str.upper)
        loads.go.set()
        assert under_way.result(30) == "b2"
    assert cache.get("b") == "b3"


def test_an_error_of_a_load_is_not_kept() -> None:
    answers: list[Exception | str] = [BoardUnavailableError("down"), "up"]

    def load(key: str) -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return key + answer

    cache = Cache(load, LONG)
    with pytest.raises(BoardUnavailableError):
        cache.get("a")
    assert cache.get("a") == "aup"


# --- what is sent again ---


class Line(httpx.BaseTransport):
    """A line that fails as told, and then carries requests."""

    def __init__(self, faults: Sequence[Exception | int]) -> None:
        self._faults = list(faults)
        self.sent = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.sent += 1
        fault = self._faults.pop(0) if self._faults else 200
        if isinstance(fault, Exception):
            raise fault
        return httpx.Response(fault, content=request.read())


REFUSED, LATE, CUT = (
    httpx.ConnectError("refused"),
    httpx.ReadTimeout("late"),
    httpx.RemoteProtocolError("cut"),
)


@pytest.mark.parametrize(
    ("method", "faults", "sent", "outcome"),
    [
        ("POST", [REFUSED, httpx.ConnectTimeout("slow"), 200], 3, 200),
        ("POST", [REFUSED, REFUSED, REFUSED], 3, httpx.ConnectError),
        ("POST", [LATE], 1, httpx.ReadTimeout),
        ("POST", [REFUSED, CUT], 2, httpx.RemoteProtocolError),
        ("POST", [503], 1, 503),
        ("DELETE", [CUT], 1, httpx.RemoteProtocolError),
        ("PATCH", [CUT, 502, 200], 3, 200),
        ("GET", [LATE, 503, 504], 3, 504),
        ("GET", [500], 1, 500),
        ("GET", [404], 1, 404),
    ],
)
def test_only_what_cannot_be_done_twice_is_sent_again(
    method: str, faults: list[Exception | int], sent: int, outcome: int | type[Exception]
) -> None:
    line = Line(faults)
    with httpx.Client(
        transport=RetryingTransport(line, [NEVER, NEVER], ("GET", "PATCH"))
    ) as client:
        if isinstance(outcome, int):
            response = client.request(method, URL, json={"text": "x"})
            assert (response.status_code, response.json()) == (outcome, {"text": "x"})
        else:
            with pytest.raises(outcome):
                client.request(method, URL, json={"text": "x"})
    assert line.sent == sent
