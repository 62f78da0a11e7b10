"""What a process logs to stderr: lines for people, or JSON for programs; Prefect's calmed.

Prefect's engine logs at ERROR every state that is not Completed, a retry and a cancellation
included, and at INFO what nobody asked. What a run comes to is said by its flow, once. Filters on
the engine's loggers set the levels right, on stderr and in the log that Prefect's UI shows; nothing
is withheld from the latter.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import override

from rich.console import Console
from rich.text import Text

from athanore.errors import PrefectUnavailableError
from athanore.settings import LogFormat
from athanore.texts import as_json, shown

logger = logging.getLogger("athanore")

type Log = logging.Logger | logging.LoggerAdapter[logging.Logger]

RUN_FIELDS = ("flow_run_id", "flow_run_name", "task_run_name")
"""What Prefect adds to the records of runs, and formatters print."""

_FIELDS = ("action", *RUN_FIELDS)
"""Each record of ours has an action at INFO and above, which stays when the words change."""

_RUN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs", "prefect.engine")
_SERVICES = "prefect._internal.concurrency"
_SENDERS = ("EventsWorker", "prefect.events.clients")
_SELDOM = 60.0
_OWN_CONSOLES = ("uvicorn", "fastapi", "prefect._internal")  # Prefect gives them one each
_POLL_FLOW = "poll-route"
_STYLES = {
    logging.DEBUG: "dim",
    logging.WARNING: "yellow",
    logging.ERROR: "red",
    logging.CRITICAL: "red",
}

_MACHINERY = re.compile(
    r"Beginning (sub)?flow run |Running hook |Hook .+ finished running |Finished in state "
)
_OF_SERVICES = re.compile(r"Service '.+' failed with \d+ pending items")  # `unsent` tells it
_UNSENT: Mapping[str, str | None] = MappingProxyType(
    {
        "Service %r failed to process item": "Prefect has not taken an event of an agent; the "
        "board page does not show that.",
        "Unable to connect to %r": None,
    }
)
"""How lines about events that cannot be sent begin, and what is said instead."""
# A poll and an attempt are cancelled by who stops them, and by nothing else.
_OF_POLLS = re.compile(r"View at |Crash detected! Execution was cancelled")
_OF_ATTEMPTS = re.compile(r"Task run failed with state|Crash detected! Execution was cancelled")


def configure_logging(debug: bool, log_format: LogFormat = "auto") -> Console | None:
    """Log to stderr: ours and the runs' at INFO or DEBUG, everybody else's warnings.

    A root logger that the user's script has set up is left as it is. OpenTelemetry's handlers stay
    beside ours.

    Args:
        log_format: `text` lines, `json` (one object a line), or `auto`: if stderr is a terminal,
            lines above a live view, else `text`.

    Returns:
        The console of the live view; None where there shall be none.
    """
    screen: Console | None = None
    handler: logging.Handler = logging.StreamHandler()
    if log_format == "json":
        handler.setFormatter(JsonFormatter())
    elif sys.stderr.isatty():
        console = Console(stderr=True, emoji=False, highlight=False)
        handler = TerminalHandler(console)
        screen = console if log_format == "auto" and console.is_terminal else None
    else:
        handler.setFormatter(LineFormatter())
    handler.setLevel(logging.DEBUG if debug else logging.INFO)
    earlier = list(logger.handlers)
    root = logging.getLogger()
    exporters = [h for h in root.handlers if _comes_from(h, "opentelemetry.")]
    logger.handlers = [handler, *exporters]
    logger.setLevel(handler.level)
    logger.propagate = False
    others = [h for h in root.handlers if h not in earlier and h not in exporters]
    if all(_comes_from(h, "prefect.") for h in others):
        # With a formatter there before, Prefect leaves the root logger alone.
        root.handlers = [handler, *exporters]
    return screen


def _comes_from(handler: logging.Handler, package: str) -> bool:
    return type(handler).__module__.startswith(package)


def calm_prefect() -> None:
    """Set Prefect's lines about runs right, once it is imported; safe to repeat."""
    for name in _RUN_LOGGERS:
        runs = logging.getLogger(name)
        runs.addFilter(_calm)
        if logger.isEnabledFor(logging.DEBUG):
            runs.setLevel(logging.DEBUG)
    logging.getLogger(_SERVICES).addFilter(_calm)
    for name in _SENDERS:
        sender = logging.getLogger(name)
        if not any(isinstance(f, Seldom) for f in sender.filters):
            sender.addFilter(Seldom())
    ours = [h for h in logging.getLogger().handlers if h in logger.handlers]
    for name in _OWN_CONSOLES if ours else ():
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True


def _calm(record: logging.LogRecord) -> bool:
    """Give a line of Prefect's engine the level that it has for people."""
    if record.exc_info is not None and record.exc_info[1] is None:
        record.exc_info = None  # it would be printed as "NoneType: None"
    message = record.getMessage()
    of_attempt = record.name == "prefect.task_runs"
    of_poll = getattr(record, "flow_name", None) == _POLL_FLOW
    # The worker tells in one line which of its runs it stops without Prefect.
    alone = record.exc_info is not None and isinstance(record.exc_info[1], PrefectUnavailableError)
    if (
        alone
        or _OF_SERVICES.match(message)
        or _MACHINERY.match(message)
        or (of_poll and _OF_POLLS.match(message))
        or (of_attempt and _OF_ATTEMPTS.match(message))
    ):
        record.levelno, record.levelname = logging.DEBUG, logging.getLevelName(logging.DEBUG)
    return True


class Seldom(logging.Filter):
    """Lets a line about an event that cannot be sent through once a minute, the others at DEBUG.

    While Prefect is away there is one for each line of each agent, with all that is in it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        kind = next((k for k in _UNSENT if str(record.msg).startswith(k)), None)
        if kind is None:
            return True
        if (says := _UNSENT[kind]) is not None:
            record.msg, record.args = says, ()
        now = time.monotonic()
        if now - self._said.get(kind, -_SELDOM) < _SELDOM:
            record.levelno, record.levelname = logging.DEBUG, logging.getLevelName(logging.DEBUG)
        else:
            self._said[kind] = now
        return True


class LineFormatter(logging.Formatter):
    """`22:21:03.222 | INFO    | Fix the flaky test: Claimed ...`; a run's lines bear its name."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03d | %(levelname)-7s | %(message)s", "%H:%M:%S")

    @override
    def formatMessage(self, record: logging.LogRecord) -> str:
        run = getattr(record, "flow_run_name", None)
        if run and getattr(record, "flow_name", None) != _POLL_FLOW:
            record.message = "\n".join(f"{run}: {line}" for line in record.message.splitlines())
        return super().formatMessage(record)

    @override
    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (ISO 8601, UTC), level, logger, message, action, and the names
    of the run."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in _FIELDS:
            if value := getattr(record, name, None):
                fields[name] = str(value)
        # The text is there where it was redacted; it counts before the exception itself.
        if record.exc_text:
            fields["exception"] = record.exc_text
        elif record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack"] = record.stack_info
        return as_json(fields)


class TerminalHandler(logging.Handler):
    """Lines in the colour of their level, above whatever a live view of the console shows."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self.setFormatter(LineFormatter())

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = Text(self.format(record), _STYLES.get(record.levelno, ""))
            text.stylize("dim", 0, len("00:00:00.000 |"))
            self._console.print(text, soft_wrap=True)
        except Exception:
            self.handleError(record)
