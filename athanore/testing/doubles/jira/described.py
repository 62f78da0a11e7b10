"""Jira's own description of its API: our requests and the double's answers are held to it.

`openapi.json` is a part of Atlassian's description of version 3 (Apache 2.0). We speak version 2,
which is the same but for texts: these are strings there, and documents here.
"""

from __future__ import annotations

from pathlib import Path

from athanore.testing.doubles.rest import Check, Exchange
from athanore.testing.doubles.schemas import Json, Schemas, are_checked

_FILE = Path(__file__).with_name("openapi.json")


class Description:
    """Checks exchanges against the description; `check` is what the double takes."""

    def __init__(self) -> None:
        self._schemas = Schemas(_FILE, "urn:jira")
        self._document = self._schemas.document

    def check(self, exchange: Exchange) -> None:
        """Raise if a request, or an answer, is not as Jira describes it."""
        operation = self._document["operations"].get(f"{exchange.method} {exchange.path}")
        if operation is None:
            return
        unknown = set(exchange.query) - set(operation["query"])
        assert not unknown, f"unknown parameters {unknown}"
        if exchange.body is not None and "body" in operation:
            self._schemas.validate(operation["body"], exchange.body)
        answers: Json = operation["answers"]
        if exchange.status < 400:
            assert str(exchange.status) in answers, f"never answers {exchange.status}"
        if schema := answers.get(str(exchange.status)):
            self._schemas.validate(schema, exchange.answer)


def described() -> Check | None:
    """The check that exchanges are as Jira describes them; None without its packages."""
    return Description().check if are_checked() else None
