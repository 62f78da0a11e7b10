"""A stand-in for the model: an HTTP server on 127.0.0.1 that answers from a script.

It speaks just enough of `POST /v1/messages` (streamed or not) for the real CLI to run a whole
conversation. It keeps no state between requests: the turn is counted from the request itself.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

type Json = dict[str, Any]
MODEL = "claude-sonnet-4-5"
_ids = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the model: content blocks, or an HTTP error when `status` is not 200."""

    blocks: Sequence[Json] = ()
    status: int = 200
    error: str = ""
    input_tokens: int = 100
    output_tokens: int = 10
    hang: bool = False
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def say(text: str, *, input_tokens: int = 100, output_tokens: int = 10) -> Reply:
    """Answer with text; this ends the conversation."""
    block = {"type": "text", "text": text}
    return Reply([block], input_tokens=input_tokens, output_tokens=output_tokens)


def use(name: str, *, output_tokens: int = 10, **arguments: Any) -> Reply:
    """Ask for one call of a tool."""
    block = {"type": "tool_use", "id": "", "name": name, "input": arguments}
    return Reply([block], output_tokens=output_tokens)


def bash(command: str, *, output_tokens: int = 10, **arguments: Any) -> Reply:
    """Ask for one shell command."""
    return use(
        "Bash", output_tokens=output_tokens, command=command, description="a step", **arguments
    )


def fail(status: int, error: str = "scripted failure", **headers: str) -> Reply:
    """Answer with an HTTP error; in the names of headers `_` stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, error=error, headers=named)


def hang(text: str = "") -> Reply:
    """Take the request, perhaps say something, and never end the answer."""
    return Reply([{"type": "text", "text": text}] if text else (), hang=True)


@dataclass(slots=True)
class Request:
    """One request of the CLI for an answer; `turn` counts from 1 within its conversation."""

    body: Json
    headers: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def turn(self) -> int:
        return 1 + sum(m["role"] == "assistant" for m in self.body["messages"])

    @property
    def system(self) -> str:
        """The whole system prompt as text."""
        return _text_of(self.body.get("system", ""))

    @property
    def last_message(self) -> str:
        """The text of the last message: the prompt, or what the tools answered."""
        return _text_of(self.body["messages"][-1]["content"])

    @property
    def has_tools(self) -> bool:
        return bool(self.body.get("tools"))


type Script = Callable[[Request], Reply] | Sequence[Reply]


class ScriptedModel:
    """The server; `requests` are those that were answered from the script."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._closing = threading.Event()
        self.asked = threading.Event()
        self.requests: list[Request] = []
        model = self

        class Handler(_Handler):
            def answer(self, request: Request) -> Reply:
                return model.answer(request)

            def wait_for_close(self) -> None:
                model._closing.wait()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, request: Request) -> Reply:
        """The reply to a request; a script that ran out of turns says so in plain words."""
        if not request.has_tools:  # a title, a summary: the CLI's own small errands
            return say("ok", input_tokens=0, output_tokens=0)
        self.requests.append(request)
        self.asked.set()
        if callable(self._script):
            return self._script(request)
        if request.turn > len(self._script):
            return say("the script is over")
        return self._script[request.turn - 1]

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def scripted_model(script: Script) -> Generator[ScriptedModel]:
    """Run a scripted model for the length of a `with` block."""
    model = ScriptedModel(script)
    try:
        yield model
    finally:
        model.close()


class _Handler(BaseHTTPRequestHandler):
    def answer(self, request: Request) -> Reply:
        raise NotImplementedError

    def wait_for_close(self) -> None:
        raise NotImplementedError

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""

    def do_HEAD(self) -> None:
        self._send(200, "application/json", b"")

    def do_GET(self) -> None:
        self._send(200, "application/json", b"{}")

    def do_POST(self) -> None:
        body: Any = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        if not self.path.startswith("/v1/messages") or "messages" not in body:
            self._send(200, "application/json", b"{}")
            return
        reply = self.answer(Request(body, dict(self.headers.items())))
        if reply.hang:
            self._send_part(reply)
            self.wait_for_close()
        elif reply.status != 200:
            error = {"type": "error", "error": {"type": "scripted", "message": reply.error}}
            data = json.dumps(error).encode()
            self._send(reply.status, "application/json", data, reply.headers)
        elif body.get("stream"):
            stream = "".join(_event(e) for e in _stream(reply)).encode()
            self._send(200, "text/event-stream", stream)
        else:
            self._send(200, "application/json", json.dumps(_whole(reply)).encode())

    def _send_part(self, reply: Reply) -> None:
        """Stream all but the end; without blocks, not even the beginning."""
        if not reply.blocks:
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        *part, _, _ = _stream(reply)
        self.wfile.write("".join(_event(e) for e in part).encode())
        self.wfile.flush()

    def _send(
        self, status: int, content_type: str, body: bytes, more: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (more or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _event(data: Json) -> str:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n"


def _message(reply: Reply) -> Json:
    return {
        "id": f"msg_{next(_ids)}",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": reply.input_tokens, "output_tokens": 0},
    }


def _stop_reason(reply: Reply) -> str:
    return "tool_use" if any(b["type"] == "tool_use" for b in reply.blocks) else "end_turn"


def _whole(reply: Reply) -> Json:
    usage = {"input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens}
    return _message(reply) | {
        "content": list(reply.blocks),
        "stop_reason": _stop_reason(reply),
        "usage": usage,
    }


def _stream(reply: Reply) -> Iterator[Json]:
    yield {"type": "message_start", "message": _message(reply)}
    for index, block in enumerate(reply.blocks):
        if block["type"] == "text":
            start: Json = {"type": "text", "text": ""}
            delta: Json = {"type": "text_delta", "text": block["text"]}
        else:
            start = block | {"id": f"toolu_{next(_ids)}", "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        yield {"type": "content_block_start", "index": index, "content_block": start}
        yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": _stop_reason(reply), "stop_sequence": None},
        "usage": {"output_tokens": reply.output_tokens},
    }
    yield {"type": "message_stop"}


def _text_of(content: object) -> str:
    """All text in a message's content, tool results included."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(_text_of(part) for part in cast("list[object]", content))
    if isinstance(content, dict):
        part = cast(Json, content)
        return _text_of(part.get("text") or part.get("content") or "")
    return ""
