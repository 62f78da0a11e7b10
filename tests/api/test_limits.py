"""What the API bears before it understands a request: connections, headers, bodies, cursors."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Generator, Iterable, Sequence
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send
from uvicorn.server import ServerState

from athanore import MemoryAdapter, Task
from athanore.api.connections import (
    HEADERS_WITHIN,
    MAX_CONNECTIONS,
    MAX_HEADERS,
    BoundedProtocol,
    Refusals,
)
from athanore.api.events.sequence import WINDOW, Cursor
from athanore.api.memory.task_list import TaskList
from athanore.api.security.guard import MAX_BODY, MAX_HELD, Guard
from athanore.errors import QueueNotFoundError
from athanore.http_client.hosts import HostPolicy
from athanore.launch.sockets import listen
from athanore.runtime.boards.board import Board
from athanore.services.status.reasons import Explanation
from tests.api.rig import Api
from tests.support import wait_until


@contextlib.contextmanager
def connections(api: Api, *sent: bytes) -> Generator[list[socket.socket]]:
    """Connections to an API, on each of which something was sent."""
    to = urlsplit(api.url)
    opened: list[socket.socket] = []
    try:
        for data in sent:
            opened.append(socket.create_connection((to.hostname or "", to.port or 0), 30))
            with contextlib.suppress(ConnectionError):  # it was refused already
                opened[-1].sendall(data)
        yield opened
    finally:
        for connection in opened:
            connection.close()


def answer(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    pieces: list[bytes] = []
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


HEAD = b"GET /queues HTTP/1.1\r\nHost: 127.0.0.1\r\n"
NOTHING_ASKED = {
    "nothing": b"",
    "half a line": b"GET /que",
    "half of the headers": HEAD + b"X: 1\r\n",
    "half of a second request": HEAD + b"\r\n" + HEAD,
}


def test_connections_that_ask_nothing_are_ended(lonely: Api) -> None:
    with connections(lonely, *NOTHING_ASKED.values()) as opened:
        lonely.get("/queues")
        for connection in opened:
            connection.settimeout(6 * HEADERS_WITHIN.total_seconds())
        answers = dict(zip(NOTHING_ASKED, map(answer, opened), strict=True))
    assert answers["half of a second request"].count(b"HTTP/1.1 ") == 1
    assert not any(a for name, a in answers.items() if "second" not in name)


def test_more_connections_than_there_may_be_are_refused_and_the_others_work(lonely: Api) -> None:
    lonely.get("/queues")
    with connections(lonely, *[b""] * (MAX_CONNECTIONS + 20)) as opened:
        for connection in opened:
            connection.setblocking(False)

        def refused() -> int:
            count = 0
            for connection in opened:
                with contextlib.suppress(BlockingIOError):
                    count += b"too-many-connections" in connection.recv(1000, socket.MSG_PEEK)
            return count

        wait_until("some are refused", lambda: refused() >= 20)
        lonely.get("/queues")  # on the connection that was there before
    wait_until("connections are free", lambda: get_status(lonely) == 200)


def get_status(api: Api) -> int:
    try:
        with urllib.request.urlopen(f"{api.url}/queues", timeout=120) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize(
    "headers",
    [
        b"X: " + b"a" * (2 * MAX_HEADERS),
        b"".join(b"X%d: a\r\n" % n for n in range(MAX_HEADERS // 4)),
    ],
)
def test_headers_are_bounded_and_the_refusal_is_a_problem(lonely: Api, headers: bytes) -> None:
    with connections(lonely, HEAD + headers) as (connection,):
        received = answer(connection)
    # The rest was not read, so the answer may be lost with the connection.
    if received:
        assert received.startswith(b"HTTP/1.1 400")
        assert json.loads(received.partition(b"\r\n\r\n")[2])["type"].endswith(":no-http")


def test_what_is_no_http_is_answered_as_other_errors(lonely: Api) -> None:
    with connections(lonely, b"Hello there\r\n\r\n") as (connection,):
        received = answer(connection)
    assert b"application/problem+json" in received
    assert json.loads(received.partition(b"\r\n\r\n")[2])["status"] == 400


def posted(api: Api, body: bytes | Iterable[bytes], **headers: str) -> int:
    """The status that Python's own client reads, as the agent of `athanore init` does."""
    request = urllib.request.Request(f"{api.url}/tasks/1/comments", body, method="POST")
    for name, value in {"Content-Type": "application/json", **headers}.items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status
    except urllib.error.HTTPError as error:
        assert b"body-too-large" in error.read()
        return error.code


@pytest.mark.parametrize("size", [MAX_BODY + 1, 20 * MAX_BODY])
def test_a_413_can_be_read_by_whoever_sends_first(lonely: Api, size: int) -> None:
    assert posted(lonely, b"x" * size) == 413
    pieces = (b"x" * 65536 for _ in range(size // 65536 + 1))
    assert posted(lonely, pieces, **{"Transfer-Encoding": "chunked"}) == 413


def test_who_waits_for_a_go_is_refused_before_he_sends(lonely: Api) -> None:
    head = b"POST /tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    ask = head + b"Content-Length: 9999999\r\nExpect: 100-continue\r\n\r\n"
    with connections(lonely, ask) as (connection,):
        assert answer(connection).startswith(b"HTTP/1.1 413")


async def test_an_answer_does_not_wait_for_an_acknowledgement() -> None:
    """Head and body are two writes; the system would send the second 40 ms later."""
    sent_at_once: list[int] = []

    class Seen(BoundedProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            sock = transport.get_extra_info("socket")
            sent_at_once.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("nothing was asked")

    config = uvicorn.Config(nothing, lifespan="off")
    config.load()
    server = await asyncio.get_running_loop().create_server(
        lambda: Seen(config, ServerState(), {}, refusals=Refusals()), sock=listen("127.0.0.1", 0)
    )
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"nonsense\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()
    assert sent_at_once == [1]


class Asked:
    """One request to a guard, and what it answers."""

    def __init__(self, guard: Guard) -> None:
        self.status = 0
        self.kind = ""
        self.pieces: asyncio.Queue[Message] = asyncio.Queue()
        headers = [(b"host", b"127.0.0.1")]
        scope: Scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
        self.work = asyncio.ensure_future(guard(scope, self._receive, self._send))

    def says(self, body: bytes, more: bool = True) -> None:
        self.pieces.put_nowait({"type": "http.request", "body": body, "more_body": more})

    async def _receive(self) -> Message:
        piece = await self.pieces.get()
        asyncio.get_running_loop().call_soon(self.pieces.task_done)  # when it has been taken in
        return piece

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.kind = json.loads(message["body"])["type"].rpartition(":")[2]


async def answers(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that says how much it got."""
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send(
        {"type": "http.response.body", "body": json.dumps({"type": f"{len(body)}"}).encode()}
    )


async def test_a_body_that_does_not_come_is_refused() -> None:
    guard = Guard(answers, HostPolicy("127.0.0.1"), timedelta(seconds=0.1))
    asked = Asked(guard)
    asked.says(b"{")
    await asked.work
    assert (asked.status, asked.kind) == (408, "body-too-slow")


async def test_bodies_that_are_not_whole_are_bounded_together() -> None:
    guard = Guard(answers, HostPolicy("127.0.0.1"))
    slow = [Asked(guard) for _ in range(MAX_HELD // MAX_BODY)]
    for asked in slow:
        asked.says(b" " * MAX_BODY)
    for asked in slow:
        await asked.pieces.join()
    one_more = Asked(guard)
    one_more.says(b"{}", more=False)
    await one_more.work
    assert (one_more.status, one_more.kind) == (503, "too-many-bodies")
    for asked in slow:
        asked.says(b"", more=False)
    await asyncio.gather(*(asked.work for asked in slow))
    assert {asked.status for asked in slow} == {200}
    again = Asked(guard)
    again.says(b"{}", more=False)
    await again.work
    assert again.status == 200


def test_head_works_where_get_does(lonely: Api) -> None:
    document = lonely.get("/openapi.json")
    paths = [path for path, calls in document["paths"].items() if "get" in calls]
    streams = [path for path in paths if path.endswith("/events")]
    fixed = [path for path in paths if "{" not in path and path not in streams]
    assert len(streams) > 1 and len(fixed) > 5
    for path in ["/", "/docs", "/openapi.json", "/static/board.css", "/tasks/1", *fixed]:
        got, headed = lonely.http.get(path), lonely.http.head(path)
        assert (headed.status_code, headed.content) == (got.status_code, b""), path
        assert headed.headers["content-type"] == got.headers["content-type"], path
    for path in streams:
        assert lonely.http.head(path.replace("{task_id}", "1")).status_code == 405, path
    assert lonely.http.head("/nothing").status_code == 404


def cursor(*parts: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


NOW = 1_800_000_000_000
CURSORS = [
    cursor(-62135596800000, {}, []),
    cursor(-1e300, {}, []),
    cursor(1e300, {}, []),
    cursor(253402300799999, {}, []),
    cursor(float("nan"), {}, []),
    cursor(NOW, {"a": []}, []),
    cursor(NOW, {}, 1),
    cursor(NOW, {}),
    cursor("9" * 5000, {}, []),
    cursor(NOW, {}, ["x" * 20000]),
    cursor(NOW, {f"s{n}": n for n in range(5000)}, []),
    "x",
    "=",
    "a" * 60000,
    base64.b64encode(b"[" * 10000).decode(),
]


@pytest.mark.parametrize("text", CURSORS, ids=range(len(CURSORS)))
def test_a_cursor_that_is_none_of_ours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no event id"):
        Cursor.decode(text)


def test_our_cursors_can_be_reckoned_with() -> None:
    decoded = Cursor.decode(cursor(NOW, {"run.1": 7}, ["a"]))
    assert Cursor.decode(decoded.encode()) == decoded
    assert decoded.at - WINDOW < decoded.at


def test_answers_are_not_kept_not_guessed_and_not_embedded(lonely: Api) -> None:
    for path in ("/tasks", "/nothing", "/", "/metrics"):
        headers = lonely.http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] in ("no-store", "no-cache")


FETCHED = [
    ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, 403),
    ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}, 403),
    (
        {
            "Sec-Fetch-Site": "cross-site",
            "Sec-Fetch-Mode": "navigate",
            "Sec-Fetch-Dest": "iframe",
        },
        403,
    ),
    (
        {
            "Sec-Fetch-Site": "cross-site",
            "Sec-Fetch-Mode": "navigate",
            "Sec-Fetch-Dest": "document",
        },
        200,
    ),
    ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, 200),
    ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
]


@pytest.mark.parametrize(("headers", "status"), FETCHED)
def test_a_foreign_page_costs_nothing(lonely: Api, headers: dict[str, str], status: int) -> None:
    assert lonely.http.get("/queues", headers=headers).status_code == status


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1#x",
        "127.0.0.1?x",
        "[::1].evil.example",
        "127.0.0.1/x",
        "a@127.0.0.1",
        "127.0.0.1:99999",
        "127.0.0.1:x",
        "[127.0.0.1",
        "127.0.0.1\\x",
        "127.0.0.1 x",
        "",
    ],
)
def test_a_host_is_a_name_and_a_port_and_nothing_else(host: str) -> None:
    assert not HostPolicy("127.0.0.1").allows(host)


class Slow(MemoryAdapter):
    """Counts how often tasks are read, and waits for a go each time."""

    def __init__(self) -> None:
        super().__init__(["Todo"])
        self.reads = 0
        self.go = threading.Event()

    def get_ready_tasks(self, queue_names: Sequence[str]) -> list[Task]:
        self.reads += 1
        assert self.go.wait(60)
        return super().get_ready_tasks(queue_names)


async def test_readers_of_the_list_of_tasks_share_it_and_see_what_was_there_when_they_asked() -> (
    None
):
    adapter = Slow()

    async def nobody_knows(tasks: Sequence[Task], *, all_open: bool) -> dict[str, Explanation]:
        assert all_open or not tasks
        return {}

    tasks = TaskList(Board(adapter), nobody_knows)
    first = [asyncio.create_task(tasks.json(None)) for _ in range(10)]
    await asyncio.to_thread(wait_until, "one reads", lambda: adapter.reads == 1)
    later = adapter.create_task("Todo", "Later")
    second = [asyncio.create_task(tasks.json(None)) for _ in range(20)]
    await asyncio.sleep(0)
    adapter.go.set()
    await asyncio.gather(*first)
    for text in await asyncio.gather(*second):
        assert [task["id"] for task in json.loads(text)] == [later.id]
    assert adapter.reads == 2
    with pytest.raises(QueueNotFoundError):
        await tasks.json(("Nowhere",))
