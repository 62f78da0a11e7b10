"""GraphQL over the client of one server: errors in answers that are successes, and pages.

A server that speaks GraphQL says of nearly everything status 200, and what went wrong in the
answer's `errors`, perhaps beside data. Each error becomes a `Refusal` here, which the adapter
translates; what counts as a rate limit the adapter tells its `HttpClient`, from the same errors.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import httpx

from athanore.errors import BoardError, BoardUnavailableError
from athanore.http_client.client import HttpClient

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """One thing that a server refused, or could not do.

    Attributes:
        said: its message for users, where there is such a one, or else `message`.
        message: its message.
        code: its name for the kind of error, in capitals (`NOT_FOUND`); "" where it has none.
        kind: another such name, in small letters (`lock timeout`); "" where it has none.
        path: the field of the answer that is missing for it; () if it is the whole answer.
        status: of the HTTP answer.
        is_write: whether the document may have changed something.
    """

    said: str
    message: str
    code: str
    kind: str
    path: tuple[str | int, ...]
    status: int
    is_write: bool

    @property
    def is_of_an_element(self) -> bool:
        """Whether it is of one element of a list, and the others are there."""
        return any(isinstance(part, int) for part in self.path)


class GraphQL:
    """Sends documents; safe to use from many threads.

    Args:
        http: the client of the server, which decides what is a rate limit.
        path: where the server takes documents, below the client's address; or a whole address.
        translate: the error that a refusal is.
    """

    def __init__(
        self, http: HttpClient, path: str, translate: Callable[[Refusal], BoardError]
    ) -> None:
        self._http = http
        self._path = path
        self._translate = translate

    def read(
        self,
        document: str,
        variables: Mapping[str, object] | None = None,
        *,
        passing_over: Collection[str] = (),
    ) -> Json:
        """Send a query, which is repeated if it failed in passing, and return its data.

        Args:
            passing_over: the codes of errors that leave one element of a list empty, or something
                in it, and nothing more. Of the whole, they count.

        Raises:
            BoardUnavailableError: there was no answer.
            BoardError: whatever the refusal is translated to.
        """
        return self._data(document, variables, passing_over, reads=True)

    def write(self, document: str, variables: Mapping[str, object]) -> Json:
        """Send a mutation, which is never repeated once it may have arrived.

        Raises:
            AnswerLostError: the answer was lost; it may have been done.
            BoardError: whatever the refusal is translated to.
        """
        return self._data(document, variables, (), reads=False)

    def nodes(
        self,
        document: str,
        variables: Mapping[str, object],
        connection: Sequence[str],
        *,
        passing_over: Collection[str] = (),
    ) -> Iterator[Json]:
        """Send a query for each page of a connection, and give its nodes one after another.

        The document takes the variable `$after`, and asks for `pageInfo { hasNextPage endCursor }`.

        Args:
            connection: the names of the fields that lead to the connection.
        """
        after: object = None
        while True:
            found: Any = self.read(
                document, {**variables, "after": after}, passing_over=passing_over
            )
            for name in connection:
                found = found[name]
            yield from (node for node in cast("list[Json | None]", found["nodes"]) if node)
            page: Json = found["pageInfo"]
            if not page["hasNextPage"] or page["endCursor"] in (None, after):
                return
            after = page["endCursor"]

    def _data(
        self,
        document: str,
        variables: Mapping[str, object] | None,
        passing_over: Collection[str],
        *,
        reads: bool,
    ) -> Json:
        body = {"query": document, "variables": dict(variables or {})}
        response = self._http.send("POST", self._path, body=body, reads=reads)
        found = refusals_in(response, is_write=not reads)
        counts = [
            refusal
            for refusal in found
            if refusal.code not in passing_over or not refusal.is_of_an_element
        ]
        data = answer_in(response).get("data")
        if counts:
            raise self._translate(counts[0])
        if isinstance(data, dict):
            return cast("Json", data)
        if found:  # nothing is left of an answer whose errors were to be passed over
            raise self._translate(found[0])
        raise BoardUnavailableError(
            f"What answers at {response.request.url.host} does not answer like "
            f"{self._http.server}; check the address, and the proxy on the way."
        )


def answer_in(response: httpx.Response) -> Json:
    """The answer as it was sent; {} if it is no object of JSON."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return cast("Json", body) if isinstance(body, dict) else {}


def refusals_in(response: httpx.Response, *, is_write: bool = False) -> list[Refusal]:
    """What an answer refuses: its errors, or its status where that is none of success."""
    body = answer_in(response)
    status = response.status_code
    rows = body.get("errors")
    found = [
        _refusal(cast("Json", row), status, is_write=is_write)
        for row in (cast("list[object]", rows) if isinstance(rows, list) else [])
        if isinstance(row, dict)
    ]
    if found or response.is_success:
        return found
    said = str(body.get("message") or response.reason_phrase or f"status {status}")
    return [Refusal(said, said, "", "", (), status, is_write)]


def _refusal(row: Json, status: int, *, is_write: bool) -> Refusal:
    more: Json = row.get("extensions") or {}
    message = str(row.get("message") or "no reason was given")
    said = str(more.get("userPresentableMessage") or message)
    code = more.get("code") or row.get("type") or ""
    path = cast("list[str | int]", row.get("path") or [])
    kind = str(more.get("type") or "")
    return Refusal(said, message, str(code), kind, tuple(path), status, is_write)
