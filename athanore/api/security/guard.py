"""What every request must satisfy before anything looks at it: its sender and its size."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from athanore.api.problems import Problem
from athanore.errors import ConfigurationError
from athanore.http_client.hosts import HostPolicy, is_loopback
from athanore.settings import Settings

MAX_BODY = 1024 * 1024


def check_binding(settings: Settings, host: str) -> None:
    """Refuse to serve an open API to other machines.

    Args:
        host: the address that is bound.

    Raises:
        ConfigurationError: the address is not loopback and `api_auth` is not `token`, or there is
            no way for an operator to get in.
    """
    if settings.api_auth == "token":
        if settings.api_key is None or not settings.api_key.get_secret_value():
            raise ConfigurationError(
                'api_auth="token" needs a key for operators: set ATHANORE_API_KEY.'
            )
        return
    if not is_loopback(host):
        raise ConfigurationError(
            f"The task API would be open to everybody who can reach {host!r}; set "
            "ATHANORE_API_AUTH=token and ATHANORE_API_KEY, or bind 127.0.0.1."
        )


class Guard:
    """Middleware: foreign Host and Origin headers and bodies over 1 MiB are refused."""

    def __init__(self, app: ASGIApp, hosts: HostPolicy) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check_sender(Headers(scope=scope))
            body = await _read_body(Headers(scope=scope), receive)
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return

        async def replay() -> Message:
            nonlocal body
            if body is None:
                return await receive()
            message: Message = {"type": "http.request", "body": body, "more_body": False}
            body = None
            return message

        await self._app(scope, replay, send)

    def _check_sender(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if not self._hosts.names_us(hosts):
            raise Problem(
                403, "foreign-host",
                f"The Host header {', '.join(hosts)!r} does not name this server. Call it by the "
                "address in ATHANORE_API_URL.",
            )  # fmt: skip
        origins = headers.getlist("origin")
        if not self._hosts.may_call(origins, hosts[0]):
            raise Problem(
                403, "foreign-origin",
                f"Web pages from {', '.join(origins)!r} may not call this API; only its own may.",
            )  # fmt: skip


async def _read_body(headers: Headers, receive: Receive) -> bytes | None:
    """Read the whole body, up to the limit; None if the caller went away."""
    length = headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > MAX_BODY:
        raise _too_large()
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MAX_BODY:
            raise _too_large()
        if not message.get("more_body", False):
            return b"".join(chunks)


def _too_large() -> Problem:
    return Problem(
        413, "body-too-large",
        "The body is over 1 MiB. Put large results into a file or a repository, and its place "
        "into the comment.",
        headers={"Connection": "close"},
    )  # fmt: skip
