"""GitLab's description of its API: our requests and the double's answers are held to it.

`api.json` has the parameters of requests from GitLab's own description, and the names of what
answers about merge requests hold. Shapes of answers are after its published examples: the
description types lists as objects, and counts as texts.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from athanore.testing.doubles.rest import Check, Exchange
from athanore.testing.doubles.schemas import Json, Schemas, are_checked

_FILE = Path(__file__).with_name("api.json")
_SHAPES = {
    "user": "user",
    "users": "user",
    "notes": "note",
    "links": "issue",
    "award_emoji": "award",
    "boards": "board",
    "lists": "board_list",
    "issues": "issue",
    "issue_iid": "issue",
    "labels": "label",
    "name": "label",
    "merge_requests": "merge_request",
    "merge_request_iid": "merge_request",
    "discussions": "discussion",
    "reviewers": "reviewer",
    "jobs": "job",
    "user_id": "member",
}
"""What an answer holds, by the last part of its path; a list of it, or one."""


class Description:
    """Checks exchanges against the description; `check` is what the double takes."""

    def __init__(self) -> None:
        self._schemas = Schemas(_FILE)
        document = self._schemas.document
        self._requests: Json = document["requests"]
        self._shapes: Json = document["shapes"]
        self._entities: dict[str, list[str]] = document["entities"]

    def check(self, exchange: Exchange) -> None:
        """Raise if a request's parameters, or an answer, are not as GitLab describes them."""
        described: Json | None = self._requests.get(f"{exchange.method} {exchange.path}")
        if described is not None:
            unknown = set(exchange.query) - set(described["query"]) - {"page", "per_page"}
            assert not unknown, f"unknown parameters {unknown}"
            for name, value in exchange.query.items():
                known = described["query"].get(name, {}).get("enum", [value])
                assert value in known, f"{name}={value} is none of {known}"
            if exchange.body is not None:
                self._schemas.validate(described["body"], exchange.body)
        if exchange.status == 204 or isinstance(exchange.answer, str):
            return
        if exchange.status >= 400:
            self._validate("error", exchange.answer)
            return
        last = exchange.path.rsplit("/", 1)[-1].strip("{}")
        if exchange.status == 202:
            self._validate("quick_actions_only", exchange.answer)
        elif last in _SHAPES:
            answer = exchange.answer
            rows = cast("list[object]", answer) if isinstance(answer, list) else [answer]
            names = self._entities.get((described or {}).get("answer", ""))
            for row in rows:
                self._validate(_SHAPES[last], row)
                if names is not None:
                    unknown = set(cast("Json", row)) - set(names)
                    assert not unknown, f"an answer of {exchange.path} has no {sorted(unknown)}"

    def _validate(self, shape: str, value: object) -> None:
        schema = {"$defs": self._shapes["$defs"], "$ref": f"#/$defs/{shape}"}
        self._schemas.validate(schema, value)


def described() -> Check | None:
    """The check that exchanges are as GitLab describes them; None without its packages."""
    return Description().check if are_checked() else None
