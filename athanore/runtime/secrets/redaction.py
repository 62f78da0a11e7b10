"""Keeping secrets out of what is said: answers, logs, events, comments.

Redacted are the values of the secrets that we know (ours, Prefect's, the board's) and the tokens of
agents. It is a net under people's care, not a substitute: a secret that is broken over two lines,
or encoded otherwise than as base64, passes.
"""

from __future__ import annotations

import json
import logging
import re
import string
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any, cast, override

from pydantic import SecretStr

from athanore.dispatcher import AgentDispatcher
from athanore.http_client.addresses import passwords_in
from athanore.logs import RUN_FIELDS
from athanore.queue_adapters.base import HasSecrets
from athanore.runs.records import tokens
from athanore.runtime.secrets.environment import REDACTED, known_secrets, secret_variables
from athanore.texts import CUT_AT, SHORTEST_SECRET, readable

_MIN_BEGINNING = 4
_OF_AN_HOUR = re.compile(r"\bghs_[A-Za-z0-9_.-]{16,}")
"""A token of a GitHub App's installation: another one each hour, so that no list has them."""
_OF_TOKENS = string.ascii_letters + string.digits + "_-"


class Redactor:
    """Replaces the values of the secrets that we know, and every token of an agent.

    Args:
        secrets: the values; the longest are replaced first, as one may contain another. Those under
            8 characters are left alone: they would be found in every other word.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        forms: set[str] = set()
        for secret in secrets:
            if len(secret) < SHORTEST_SECRET:
                continue
            # As it stands in a text, as JSON may write it, and in an `Authorization: Basic`.
            forms |= {
                secret,
                b64encode(secret.encode(errors="surrogateescape")).decode().rstrip("="),
                json.dumps(secret)[1:-1],
                json.dumps(secret, ensure_ascii=False)[1:-1],
            }
        self._forms = sorted(forms, key=len, reverse=True)

    def learn(self, other: Redactor) -> None:
        """Know what another one knows, too."""
        self._forms = sorted({*self._forms, *other._forms}, key=len, reverse=True)

    @classmethod
    def of(cls, dispatcher: AgentDispatcher) -> Redactor:
        """A redactor that knows our secrets, Prefect's and the board's."""
        from prefect.settings import get_current_settings

        prefect = get_current_settings().api
        known = _secrets_of(dispatcher) | _values(prefect.key, prefect.auth_string)
        for address in (prefect.url, get_current_settings().ui_url):
            known |= passwords_in(address or "")
        return cls(known)

    @classmethod
    def before_prefect(cls, dispatcher: AgentDispatcher) -> Redactor:
        """A redactor for while Prefect's settings are not read yet; it knows ours, the board's."""
        return cls(_secrets_of(dispatcher))

    def text(self, value: str) -> str:
        """The text as people read it (see `texts.readable`), without secrets.

        Everything that agents and people say passes here, on its way to Prefect or a board. What
        is to be cut is cut after that; of a secret that was cut before, the beginning goes.
        """
        return self._redacted(readable(value))

    def has_secret(self, value: str) -> bool:
        """Whether a text contains a secret; how it is shown to people does not count."""
        return self._redacted(value) != value

    def _redacted(self, value: str) -> str:
        for form in self._forms:
            if form in value:
                value = value.replace(form, REDACTED)
        if "ath_" in value:
            value = tokens.KEY_PATTERN.sub(REDACTED, tokens.PATTERN.sub(REDACTED, value))
        if "ghs_" in value:
            value = _OF_AN_HOUR.sub(REDACTED, value)
        if " cut" in value or "[cut" in value:
            value = self._without_beginnings(value)
        return value

    def _without_beginnings(self, value: str) -> str:
        """The text without what is left of secrets where it was cut."""
        pieces: list[str] = []
        done = 0
        for mark in CUT_AT.finditer(value):
            pieces += [self._without_beginning(value[done : mark.start()]), mark[0]]
            done = mark.end()
        return "".join(pieces) + value[done:]

    def _without_beginning(self, text: str) -> str:
        # Searches for fixed texts only: whoever writes the text must not say how long this takes.
        token = text.find("ath_", len(text.rstrip(_OF_TOKENS)))
        if token >= 0:
            text = text[:token] + REDACTED
        for form in self._forms:
            start = text.find(form[:_MIN_BEGINNING], max(0, len(text) - len(form) + 1))
            while start >= 0:
                if form.startswith(text[start:]):
                    return text[:start] + REDACTED
                start = text.find(form[:_MIN_BEGINNING], start + 1)
        return text

    def data(self, value: bytes) -> bytes:
        """UTF-8 text without secrets."""
        if not any(mark in value for mark in (b"ath_", b"ghs_")) and not any(
            f.encode("utf-8", "surrogateescape") in value for f in self._forms
        ):
            return value
        text = self._redacted(value.decode("utf-8", "surrogateescape"))
        return text.encode("utf-8", "surrogateescape")

    def value[T](self, value: T) -> T:
        """A value as JSON has them, with every text in it redacted, the keys as well."""
        return cast(T, self._clean(value))

    def _clean(self, value: object) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            fields = cast(Mapping[object, object], value)
            return {self._clean(k): self._clean(v) for k, v in fields.items()}
        if isinstance(value, list | tuple):
            return [self._clean(v) for v in cast(Iterable[object], value)]
        return value


def _secrets_of(dispatcher: AgentDispatcher) -> set[str]:
    known = set(known_secrets(secret_variables(dispatcher)))
    known.update(*(forge.secrets for forge in dispatcher.forges))
    if isinstance(dispatcher.board, HasSecrets):
        known |= dispatcher.board.secrets
    ours = dispatcher.settings
    kept = (ours.api_key, ours.webhook_token, ours.notify_webhook_url, ours.notify_webhook_secret)
    return known | passwords_in(ours.api_url or "") | _values(*kept)


def _values(*secrets: SecretStr | None) -> set[str]:
    return {s.get_secret_value() for s in secrets if s is not None and s.get_secret_value()}


class RedactedLogs(logging.Filter):
    """Redacts the lines of a logger: all that a formatter may print of a record.

    An exception that names a secret is kept as text only, since a handler that renders it by itself
    would print the secret again.
    """

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        clean = self._redactor.text
        try:
            message = record.getMessage()
        except Exception:
            # The arguments do not fit; logging would report that with all of them.
            message = f"{record.msg} {record.args!r}"
        record.msg, record.args = clean(message), None
        error = record.exc_info
        if error and error[1] is not None and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(error)
        if record.exc_text:
            text, record.exc_text = record.exc_text, clean(record.exc_text)
            if record.exc_text != text:
                record.exc_info = None
        if record.stack_info:
            record.stack_info = clean(record.stack_info)
        for name in RUN_FIELDS:
            if isinstance(value := getattr(record, name, None), str):
                setattr(record, name, clean(value))
        return True
