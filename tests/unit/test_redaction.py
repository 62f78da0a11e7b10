"""Keeping secrets out of texts, values and logs."""

from __future__ import annotations

import logging
from uuid import uuid4

from athanore import tokens
from athanore.redaction import RedactedLogs, Redactor

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


def test_logs_with_their_tracebacks() -> None:
    handler, lines = logging.Handler(), list[str]()
    handler.setFormatter(logging.Formatter())
    handler.emit = lambda record: lines.append(handler.format(record))
    logger = logging.Logger("redacted")
    logger.addHandler(handler)
    logger.addFilter(RedactedLogs(Redactor([SECRET])))
    try:
        raise ValueError(f"no entry with {SECRET}")
    except ValueError:
        logger.exception("failed with %s", SECRET)
    (line,) = lines
    assert SECRET not in line
    assert line.startswith("failed with [redacted]\n")
    assert line.endswith("ValueError: no entry with [redacted]")
