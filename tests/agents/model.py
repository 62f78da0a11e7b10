"""A stand-in for the models of Codex, OpenCode, Gemini CLI and Qwen Code, on 127.0.0.1.

It asks for the tools of MCP that it is told to, one after the other, and then says that it is done.
A name that begins with `!` is that of a tool of the agent itself; at `HANG` it never answers.
It speaks just enough of three APIs for that: OpenAI's responses and chat, and Gemini's.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

type Json = dict[str, Any]
type Call = tuple[str, Json]

type Refusal = tuple[int, Json] | tuple[int, Json, dict[str, str]]
"""A status, a body and further headers, with which each request is answered."""

HANG: Call = ("", {})


class Model:
    """The server; `requests` are the bodies that came, `tools` the names that were offered last."""

    def __init__(self, calls: Sequence[Call], refusal: Refusal | None = None) -> None:
        self.requests: list[Json] = []
        self.tools: list[str] = []
        self.hangs = threading.Event()
        self.refusal = refusal
        self._calls: Sequence[Call] = calls
        self._closing = threading.Event()
        model = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                model.requests.append(body)
                if model.refusal is not None:
                    status, refusal, *headers = model.refusal
                    self.send(status, "application/json", json.dumps(refusal).encode(), *headers)
                    return
                events = model.answer(self.path, body)
                if model.hangs.is_set():
                    model._closing.wait()
                    return
                named = "responses" in self.path
                lines = [
                    (f"event: {e['type']}\n" if named else "") + f"data: {json.dumps(e)}\n\n"
                    for e in events
                ]
                self.send(200, "text/event-stream", "".join(lines).encode())

            def send(
                self, status: int, kind: str, data: bytes, more: dict[str, str] | None = None
            ) -> None:
                self.send_response(status)
                for name, value in (more or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}
        )
        self._thread.start()

    def go_on(self) -> None:
        """Have no further calls: say that it is done from now on."""
        self._calls, self.refusal = [], None
        self.hangs.clear()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, path: str, body: Json) -> list[Json]:
        """The events of the answer to one request."""
        if "responses" in path:
            return self._responses(body)
        return self._chat(body) if "chat/completions" in path else self._gemini(body)

    def _responses(self, body: Json) -> list[Json]:
        answers = [i for i in body["input"] if i.get("type") == "function_call_output"]
        outputs = [i for i in answers if "unsupported call" not in json.dumps(i)]
        if len(answers) > len(outputs):
            time.sleep(0.5)  # Codex does not wait for its servers of MCP
        item: Json = {"type": "message", "id": "m", "role": "assistant"}
        item["content"] = [{"type": "output_text", "text": "All done."}]
        if tools := [str(tool.get("name")) for tool in body.get("tools", [])]:
            self.tools = tools  # a title or a summary is asked for without any
        if tools and (call := self._call(len(outputs))) is not None:
            name, arguments = call
            item = {"type": "function_call", "id": f"f{len(answers)}", "name": name.strip("!")}
            item |= {"call_id": f"c{len(answers)}", "arguments": json.dumps(arguments)}
            if not name.startswith("!"):
                item["namespace"] = "mcp__athanore"
        usage = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}
        usage |= {"input_tokens_details": None, "output_tokens_details": None}
        return [
            {"type": "response.created", "response": {"id": "r"}},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": {"id": "r", "usage": usage}},
        ]

    def _chat(self, body: Json) -> list[Json]:
        tools = [tool["function"]["name"] for tool in body.get("tools", [])]
        self.tools = tools or self.tools
        outputs = [m for m in body["messages"] if m["role"] == "tool"]
        call = self._next(len(outputs)) if tools else None
        delta: Json = {"role": "assistant", "content": "All done."}
        if call is not None:
            function = {"name": call[0], "arguments": json.dumps(call[1])}
            tool = {"index": 0, "id": f"c{len(outputs)}", "type": "function", "function": function}
            delta = {"role": "assistant", "content": None, "tool_calls": [tool]}
        reason = "stop" if call is None else "tool_calls"
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        chunk: Json = {"id": "x", "object": "chat.completion.chunk", "model": "m"}
        said = {"index": 0, "delta": delta, "finish_reason": None}
        end: Json = {"index": 0, "delta": {}, "finish_reason": reason}
        return [chunk | {"choices": [said]}, chunk | {"choices": [end], "usage": usage}]

    def _gemini(self, body: Json) -> list[Json]:
        self.tools = [f["name"] for t in body["tools"] for f in t.get("functionDeclarations", [])]
        parts = [part for content in body["contents"] for part in content["parts"]]
        call = self._next(sum("functionResponse" in part for part in parts))
        part: Json = {"text": "All done."}
        if call is not None:
            part = {"functionCall": {"name": call[0], "args": call[1]}}
        content = {"role": "model", "parts": [part]}
        usage = {"promptTokenCount": 100, "candidatesTokenCount": 10, "totalTokenCount": 110}
        candidate = {"content": content, "finishReason": "STOP", "index": 0}
        return [{"candidates": [candidate], "usageMetadata": usage}]

    def _call(self, done: int) -> Call | None:
        """The call that follows so many others."""
        call = self._calls[done] if done < len(self._calls) else None
        if call == HANG:
            self.hangs.set()
            return None
        return call

    def _next(self, done: int) -> Call | None:
        """The next call, by the name under which the program offers the tool, or hides it."""
        if not self.tools or (call := self._call(done)) is None:
            return None
        name, arguments = call
        if name.startswith("!"):
            return name.strip("!"), arguments
        offered = [tool for tool in self.tools if tool.endswith(f"_{name}")]
        return (offered[0] if offered else f"mcp__athanore__{name}"), arguments


@contextmanager
def scripted(calls: Sequence[Call], refusal: Refusal | None = None) -> Generator[Model]:
    """Serve a model for the length of a `with` block."""
    model = Model(calls, refusal)
    try:
        yield model
    finally:
        model.close()
