"""Keeping secrets out of texts, values and logs."""

from __future__ import annotations

import json
import logging
import sys
from uuid import uuid4

import pytest

from athanore import logs
from athanore.runs.records import tokens
from athanore.runtime.secrets.redaction import RedactedLogs, Redactor

SECRET = 'pass"word-ü'


def test_texts_and_values() -> None:
    clean = Redactor([SECRET, "pass"])
    assert clean.text(f"with {SECRET}!") == "with [redacted]!"
    assert clean.text('{"k": "pass\\"word-\\u00fc"}') == '{"k": "[redacted]"}'
    assert clean.text(tokens.new_token(uuid4())) == "[redacted]"
    assert clean.value({SECRET: [SECRET, 1, None], "a": ("x", {"b": SECRET})}) == {
        "[redacted]": ["[redacted]", 1, None],
        "a": ["x", {"b": "[redacted]"}],
    }
    assert clean.data(SECRET.encode()) == b"[redacted]"


def test_a_secret_that_is_not_utf_8_is_found_in_the_bytes_of_an_answer() -> None:
    secret = b"caf\xe9-caf\xe9"  # as the environment tells it in another encoding
    clean = Redactor([secret.decode("utf-8", "surrogateescape")])
    assert clean.data(b"nothing of it") == b"nothing of it"
    assert clean.data(b'{"k": "' + secret + b'"}') == b'{"k": "[redacted]"}'


def test_a_text_that_is_hard_to_read_has_no_secret_for_that() -> None:
    redactor = Redactor(["hunter2-hunter2"])
    assert not redactor.has_secret("a bell \x07, a line \x85, \u202e turned round")
    assert redactor.has_secret("a bell \x07 and hunter2-hunter2")
    assert redactor.has_secret(tokens.new_token(uuid4()))


def test_what_cannot_be_stored_is_replaced_on_its_way_to_prefect_and_to_boards() -> None:
    clean = Redactor([SECRET])
    assert clean.value({"a\0": ["b\ud800", f"{SECRET}\0"]}) == {
        "a\ufffd": ["b\ufffd", "[redacted]\ufffd"]
    }


class RendersItself(logging.Formatter):
    """A user's formatter that does not look at the text which others have rendered."""

    def format(self, record: logging.LogRecord) -> str:
        error = self.formatException(record.exc_info) if record.exc_info else record.exc_text
        return f"{record.getMessage()}\n{error}"


def our_formatters() -> list[type[logging.Formatter]]:
    """Every formatter that Athanore has."""
    classes = [c for c in vars(logs).values() if isinstance(c, type)]
    return [c for c in classes if issubclass(c, logging.Formatter)]


@pytest.mark.parametrize("formatter", [*our_formatters(), logging.Formatter, RendersItself])
def test_no_formatter_shows_a_secret(formatter: type[logging.Formatter]) -> None:
    handler, lines = logging.Handler(), list[str]()
    handler.setFormatter(formatter())
    handler.emit = lambda record: lines.append(handler.format(record))
    logger = logging.Logger("redacted")
    logger.addHandler(handler)
    logger.addFilter(RedactedLogs(Redactor([SECRET])))
    run = {"flow_run_name": f"Rotate {SECRET}"}
    try:
        raise ValueError(f"no entry with {SECRET}")
    except ValueError:
        logger.exception("failed with %s", SECRET, extra=run)
        logger.warning("here: %s", SECRET, extra=run, stack_info=True)
        logger.warning("%d is no number", SECRET, extra=run)
    assert len(lines) == 3
    assert not [line for line in lines if SECRET in line or json.dumps(SECRET)[1:-1] in line]
    assert "failed with [redacted]" in lines[0]
    assert "ValueError: no entry with [redacted]" in lines[0]
    assert all("[redacted]" in line for line in lines)


def test_an_exception_without_a_secret_is_left_as_it_is() -> None:
    record = logging.makeLogRecord({"msg": "failed"})
    try:
        raise ValueError("no entry")
    except ValueError:
        record.exc_info = sys.exc_info()
    assert RedactedLogs(Redactor([SECRET])).filter(record)
    assert record.exc_info is not None and "ValueError: no entry" in (record.exc_text or "")
