"""What an agent says, on its way to the run's log and to Prefect's events.

Lines are gathered for a moment and sent in one piece, so that a chatty agent costs a few requests a
second; what a run may write to the database is bounded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

from prefect.client.schemas.objects import FlowRun

from athanore.agent_adapters.common.output import TAIL_LINES
from athanore.flows.attempts.colours import Painter
from athanore.logs import Log
from athanore.models import AgentEvent, EventKind
from athanore.runs.events import shapes
from athanore.runs.events.shapes import Line
from athanore.runtime.secrets.redaction import Redactor
from athanore.texts import cut_lines

_GATHER_SECONDS = 0.1
_MAX_BATCH_CHARS = 16_000
_MAX_LOGGED_CHARS = 1_000_000
_SPAN_CHARS = 60
_TAIL_LINES = 50

LINE_WIDTH = 1000
"""Characters of a line in comments and states."""


class Transcript:
    """Takes the events of one attempt; `emit` never blocks and never raises."""

    def __init__(
        self,
        log: Log,
        resource: dict[str, str],
        related: list[dict[str, str]],
        redactor: Redactor,
    ) -> None:
        self._log = log
        self._redactor = redactor
        self._resource = resource
        self._related = related
        self._lines: list[Line] = []
        self._painters = {"stdout": Painter(), "stderr": Painter()}
        self._size = 0
        self._logged = 0
        self._sequence = 0
        self._flush: asyncio.TimerHandle | None = None
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self.usage: dict[str, Any] = {}
        """What the agent said last of its cost."""
        self.near: dict[str, Any] = {}
        """What it said last of usage limits that are near, by their kinds."""
        self.on_usage: Callable[[], None] | None = None
        """Is called when it has said more of that."""
        self.last_activity = asyncio.get_running_loop().time()

    @property
    def sequence(self) -> int:
        """The number of the last event that was sent."""
        return self._sequence

    def number_from(self, sequence: int) -> None:
        """Go on with the numbers of an earlier transcript of the same start."""
        self._sequence = sequence

    def emit(self, event: AgentEvent) -> None:
        """Take one event of the agent's life."""
        loop = asyncio.get_running_loop()
        self.touch()
        if event.kind is not EventKind.OUTPUT:
            self.flush()
            data = self._redactor.value(dict(event.data))
            if event.kind is EventKind.COST:
                self.usage = data
                if self.on_usage is not None:
                    self.on_usage()
            elif event.kind is EventKind.PROGRESS and isinstance(near := data.get("limit"), dict):
                self.near[str(cast(Any, near).get("kind") or "usage")] = near
            self._send(event.kind, data)
            return
        raw = str(event.data.get("text", ""))
        text = self._redactor.text(raw)
        self.tail.append(text)
        if self._logged >= _MAX_LOGGED_CHARS:
            return
        stream = "stderr" if event.data.get("stream") == "stderr" else "stdout"
        line: Line = {"stream": stream, "text": text}
        self._size += len(text) + 1
        if spans := self._painters[stream].spans(raw, text):
            line["styles"] = spans
            self._size += _SPAN_CHARS * len(spans)
        self._lines.append(line)
        if self._size >= _MAX_BATCH_CHARS:
            self.flush()
        elif self._flush is None:
            self._flush = loop.call_later(_GATHER_SECONDS, self.flush)

    def touch(self, ago: timedelta = timedelta(0)) -> None:
        """Note a sign of life, of now or of some time ago."""
        heard = asyncio.get_running_loop().time() - ago.total_seconds()
        self.last_activity = max(self.last_activity, heard)

    async def silence(self, limit: timedelta) -> None:
        """Return when nothing has been heard for so long."""
        loop = asyncio.get_running_loop()
        while True:
            quiet = loop.time() - self.last_activity
            if quiet >= limit.total_seconds():
                return
            await asyncio.sleep(limit.total_seconds() - quiet)

    def flush(self) -> None:
        """Send what was gathered."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        lines, self._lines = self._lines, []
        if not lines:
            return
        self._logged += self._size
        self._size = 0
        text = "\n".join(line["text"] for line in lines)
        self._log.info("%s", text, extra={"action": "agent_output"})
        self._send(EventKind.OUTPUT, {"lines": lines})
        if self._logged >= _MAX_LOGGED_CHARS:
            self._log.warning(
                "The agent wrote more than 1 MB; the rest is not logged.",
                extra={"action": "agent_output_cut"},
            )

    def last_words(self) -> str:
        """The last lines of the output."""
        return cut_lines("\n".join(self.tail).strip(), LINE_WIDTH, TAIL_LINES)

    def close(self) -> None:
        """Send the rest; past the limit at least the last lines."""
        truncated = self._logged >= _MAX_LOGGED_CHARS
        self.flush()
        if truncated:
            self._log.info(
                "The agent's last lines:\n%s",
                "\n".join(self.tail),
                extra={"action": "agent_output"},
            )

    def _send(self, kind: EventKind, payload: dict[str, Any]) -> None:
        self._sequence += 1
        shapes.send(kind, payload, {"seq": self._sequence}, self._resource, self._related)


def related(run: FlowRun) -> list[dict[str, str]]:
    """The run that events belong to, as they name it."""
    return [
        {
            "prefect.resource.id": f"prefect.flow-run.{run.id}",
            "prefect.resource.role": "flow-run",
            "prefect.resource.name": run.name,
        }
    ]
