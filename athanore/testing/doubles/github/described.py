"""GitHub's own description of its API: our requests and the double's answers are held to it.

`openapi.json` is a part of the npm package @octokit/openapi (MIT). Official examples are no proof,
some do not fit it: the schemas are what counts.
"""

from __future__ import annotations

from pathlib import Path

from athanore.testing.doubles.github.app import Check
from athanore.testing.doubles.schemas import Json, Schemas, are_checked

_FILE = Path(__file__).with_name("openapi.json")
_UNDESCRIBED = frozenset({301, 401, 403, 404, 410, 422})
"""Refusals that any operation may answer, whether its description lists them or not."""


class Description:
    """Checks exchanges against the description; `check` is what the double takes."""

    def __init__(self) -> None:
        self._schemas = Schemas(_FILE, "urn:github")
        self._document = self._schemas.document

    def check(self, method: str, path: str, body: object, status: int, answer: object) -> None:
        """Raise if a request's body, or an answer, is not as GitHub describes it."""
        operation: Json = self._document["paths"][path][method.lower()]
        if body is not None:
            content: Json = operation["requestBody"]["content"]
            self._schemas.validate(content["application/json"]["schema"], body)
        if status in (204, 302, 304):
            return
        described: Json = operation["responses"].get(str(status), {})
        if "$ref" in described:
            described = self._document["components"]["responses"][described["$ref"].split("/")[-1]]
        assert described or status in _UNDESCRIBED, f"{method} {path} never answers {status}"
        if "content" in described:
            self._schemas.validate(described["content"]["application/json"]["schema"], answer)


def described() -> Check | None:
    """The check that exchanges are as GitHub describes them; None without its packages."""
    return Description().check if are_checked() else None
