"""Keeping secrets out of what the API answers and of what is written through it."""

from __future__ import annotations

import json
from collections.abc import Iterable

from prefect.settings import get_current_settings
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from athanore import tokens
from athanore.environment import REDACTED, known_secrets
from athanore.flows.apps import App


class Redactor:
    """Replaces the values of the secrets that we know, and every token of an agent.

    Args:
        secrets: the values; the longest are replaced first, as one may contain another.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        forms: set[str] = set()
        for secret in secrets:
            # As it stands in a text, and as JSON may write it.
            forms |= {
                secret,
                json.dumps(secret)[1:-1],
                json.dumps(secret, ensure_ascii=False)[1:-1],
            }
        self._forms = sorted(forms, key=len, reverse=True)

    @classmethod
    def of(cls, app: App) -> Redactor:
        """A redactor that knows our secrets, Prefect's and the board's."""
        known = set(known_secrets(app.board.adapter))
        ours, prefect = app.dispatcher.settings, get_current_settings().api
        for secret in (ours.api_key, ours.webhook_token, prefect.key, prefect.auth_string):
            if secret is not None and secret.get_secret_value():
                known.add(secret.get_secret_value())
        return cls(known)

    def text(self, value: str) -> str:
        """The text without secrets."""
        for form in self._forms:
            if form in value:
                value = value.replace(form, REDACTED)
        return tokens.PATTERN.sub(REDACTED, value) if "ath_" in value else value

    def data(self, value: bytes) -> bytes:
        """UTF-8 text without secrets."""
        if b"ath_" not in value and not any(f.encode() in value for f in self._forms):
            return value
        return self.text(value.decode("utf-8", "surrogateescape")).encode(
            "utf-8", "surrogateescape"
        )


class Redaction:
    """Middleware: no answer contains a secret; pieces of a stream are looked at alone."""

    def __init__(self, app: ASGIApp, redactor: Redactor) -> None:
        self._app = app
        self._redactor = redactor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start: Message | None = None

        async def redacted(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            if message["type"] == "http.response.body":
                body = self._redactor.data(message.get("body", b""))
                if start is not None:
                    headers = MutableHeaders(raw=start["headers"])
                    if "content-length" in headers and not message.get("more_body", False):
                        headers["content-length"] = str(len(body))
                    opening, start = start, None
                    await send(opening)
                message = {**message, "body": body}
            await send(message)

        await self._app(scope, receive, redacted)
