"""What is logged: Prefect's lines at the level that they have for people, lines and JSON."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from athanore.logs import (
    JsonFormatter,
    LineFormatter,
    Seldom,
    TerminalHandler,
    calm_prefect,
    configure_logging,
)

AGENT = {"flow_name": "run-agent", "flow_run_name": "Fix crash", "flow_run_id": "abc"}
POLL = {"flow_name": "poll-route", "flow_run_name": "smooth-parrot"}


@pytest.fixture
def seen() -> Iterator[list[logging.LogRecord]]:
    """What handlers of Prefect's run loggers are given, after the filters."""
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    calm_prefect()
    handler = Keep()
    loggers = [logging.getLogger(f"prefect.{kind}_runs") for kind in ("flow", "task")]
    before = [(logger.level, logger.handlers) for logger in loggers]
    for logger in loggers:
        # Prefect's own handler, which is there once Prefect has set its logging up, wants a run.
        logger.handlers = [handler]
        logger.setLevel(logging.DEBUG)
    yield records
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.handlers = handlers
        logger.setLevel(level)


@pytest.mark.parametrize(
    ("logger", "extra", "level", "message", "expected"),
    [
        ("flow", AGENT, "ERROR", "Finished in state AwaitingRetry('x', type=SCHEDULED)", "DEBUG"),
        ("flow", AGENT, "ERROR", "Finished in state Failed('exit code 1\\nits words')", "DEBUG"),
        ("flow", AGENT, "ERROR", "AwaitingRetry is what the agent said", "ERROR"),
        ("flow", AGENT, "ERROR", "Encountered exception during execution: ValueError()", "ERROR"),
        ("flow", AGENT, "ERROR", "Crash detected! Execution was cancelled by", "ERROR"),
        ("task", AGENT, "ERROR", "Finished in state Failed('exit code 1 after 3.1 s')", "DEBUG"),
        ("task", AGENT, "ERROR", "Task run failed with state: Failed()", "DEBUG"),
        ("task", AGENT, "ERROR", "Crash detected! Execution was cancelled by", "DEBUG"),
        ("task", AGENT, "ERROR", "Task run failed with exception: ValueError()", "ERROR"),
        ("flow", AGENT, "INFO", "Beginning subflow run 'x' for flow 'run-agent'", "DEBUG"),
        ("flow", AGENT, "INFO", "View at http://127.0.0.1:4200", "INFO"),
        ("flow", POLL, "INFO", "View at http://127.0.0.1:4200", "DEBUG"),
        ("flow", POLL, "INFO", "Finished in state Completed('0 ready')", "DEBUG"),
        ("flow", POLL, "ERROR", "Finished in state BoardUnavailable('x', type=FAILED)", "DEBUG"),
        ("flow", POLL, "ERROR", "Finished in state Crashed('Execution was cancelled')", "DEBUG"),
        ("flow", POLL, "ERROR", "Crash detected! Execution was cancelled by", "DEBUG"),
        ("flow", POLL, "ERROR", "Encountered exception during execution: ValueError()", "ERROR"),
        ("flow", POLL, "INFO", "Todo: 3 ready, 3 dispatched, 0 under way", "INFO"),
    ],
)
def test_the_level_of_a_line(
    seen: list[logging.LogRecord],
    logger: str,
    extra: dict[str, Any],
    level: str,
    message: str,
    expected: str,
) -> None:
    logging.getLogger(f"prefect.{logger}_runs").log(
        logging.getLevelNamesMapping()[level], message, extra=extra
    )
    (record,) = seen
    assert (record.levelname, logging.getLevelName(record.levelno)) == (expected, expected)
    assert record.getMessage() == message


def test_an_outage_is_not_told_for_each_event(caplog: pytest.LogCaptureFixture) -> None:
    calm_prefect()
    calm_prefect()
    added = [type(f) for f in logging.getLogger("EventsWorker").filters]
    assert added.count(Seldom) == 1
    sender = logging.Logger("EventsWorker")
    sender.addFilter(Seldom())
    sender.addHandler(caplog.handler)
    for _ in range(3):
        sender.error("Service %r failed to process item %r", "EventsWorker", "words of an agent")
        sender.error("Something else")
    told = [r for r in caplog.records if r.levelno > logging.DEBUG]
    assert sum("has not taken an event" in r.getMessage() for r in told) == 1
    assert sum("Something else" in r.getMessage() for r in told) == 3
    assert "words of an agent" not in caplog.text


def test_no_traceback_of_nothing(seen: list[logging.LogRecord]) -> None:
    runs = logging.getLogger("prefect.task_runs")
    runs.error("Task run failed with state: Failed()", exc_info=True)
    try:
        raise ValueError("real")
    except ValueError:
        runs.exception("It failed.")
    nothing, real = (LineFormatter().format(r) for r in seen)
    assert "NoneType" not in nothing
    assert "ValueError: real" in real


def test_lines_bear_the_name_of_their_run(seen: list[logging.LogRecord]) -> None:
    runs = logging.getLogger("prefect.flow_runs")
    runs.info("one\ntwo", extra=AGENT)
    runs.info("Todo: 1 ready", extra=POLL)
    lines = [LineFormatter().format(r).split(" | ", 2)[2] for r in seen]
    assert lines == ["Fix crash: one\nFix crash: two", "Todo: 1 ready"]


def test_json_has_everything(seen: list[logging.LogRecord]) -> None:
    try:
        raise ValueError("real")
    except ValueError:
        logging.getLogger("prefect.flow_runs").exception(
            "It\n%s", "failed", extra={**AGENT, "action": "run_failed"}
        )
    line = JsonFormatter().format(seen[0])
    assert "\n" not in line
    fields = json.loads(line)
    assert fields.pop("time").endswith("+00:00")
    assert "ValueError: real" in fields.pop("exception")
    assert fields == {
        "level": "ERROR", "logger": "prefect.flow_runs", "message": "It\nfailed",
        "action": "run_failed", "flow_run_id": "abc", "flow_run_name": "Fix crash",
    }  # fmt: skip


def test_what_an_agent_says_is_no_markup_on_a_terminal() -> None:
    out = io.StringIO()
    handler = TerminalHandler(Console(file=out, force_terminal=True, no_color=True, width=40))
    record = logging.makeLogRecord({"msg": f"[red]{'x' * 60}[/]", "levelname": "INFO"})
    handler.handle(record)
    assert f"[red]{'x' * 60}[/]" in out.getvalue()


def test_opentelemetrys_handlers_stay_beside_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = type("Exporter", (logging.Handler,), {"__module__": "opentelemetry.sdk._logs"})()
    users = logging.NullHandler()
    root, ours = logging.getLogger(), logging.getLogger("athanore")
    for logger in (root, ours):
        monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(ours, "level", ours.level)
    monkeypatch.setattr(ours, "propagate", ours.propagate)

    root.handlers = [exporter]
    configure_logging(debug=False)
    lines, *others = root.handlers
    assert isinstance(lines.formatter, LineFormatter) and others == [exporter]
    assert ours.handlers == [lines, exporter]

    root.handlers, ours.handlers = [users, exporter], []
    configure_logging(debug=False)
    assert root.handlers == [users, exporter]
