"""Where a board's database is, as people write it, and as it may be shown."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote

from sqlalchemy import make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from athanore.errors import ConfigurationError
from athanore.http_client.addresses import passwords_in
from athanore.texts import SHORTEST_SECRET

_SCHEME = re.compile(r"([a-z][a-z0-9+_.]*):(?=/|[^/\\]*$)", re.IGNORECASE)
_UNREADABLE = (
    "cannot be read; it looks like postgresql+psycopg://user:password@host:5432/database, and "
    "/ : @ % # ? in a password are written as %2F %3A %40 %25 %23 %3F"
)
_SECRET_OPTIONS = ("password", "sslpassword")
_NAME_OF_SECRET = re.compile("PASS|PW|SECRET|TOKEN|KEY|AUTH|CRED", re.IGNORECASE)
_NAME_OF_USER = re.compile("USER|LOGNAME", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is.

    Attributes:
        given: what the person wrote.
        file: the file of a SQLite database; None for PostgreSQL.
        url: the address of a PostgreSQL database; None for SQLite.
        place: the same for people, without user and password.
        secrets: the passwords in it, as they are written there and as they are meant.
    """

    given: str = field(repr=False)
    file: Path | None
    url: URL | None = field(repr=False)
    place: str
    secrets: frozenset[str] = field(repr=False)

    def secret_variables(self, environment: Mapping[str, str]) -> frozenset[str]:
        """The variables that hold the password, or the whole address with it."""
        if self.url is None:
            return frozenset()
        if not self.secrets:  # libpq takes it from there
            return frozenset({"PGPASSWORD"})
        return frozenset(name for name, value in environment.items() if self._is_in(name, value))

    def _is_in(self, name: str, value: str) -> bool:
        bare = value.strip()
        if bare == self.given or passwords_in(value) & self.secrets:
            return True
        if bare not in self.secrets:
            return False
        # A password such as `dev`, or the name of a user, is the value of other variables, too.
        short = len(bare) < SHORTEST_SECRET
        ordinary = short or _NAME_OF_USER.search(name) is not None
        return not ordinary or _NAME_OF_SECRET.search(name) is not None


def read_address(given: str | os.PathLike[str]) -> Address:
    """Read a path, or an address such as `sqlite:///board.db`.

    Raises:
        ConfigurationError: it is neither; the message shows no password.
    """
    text = os.fspath(given).strip()
    scheme = _SCHEME.match(text) if isinstance(given, str) else None
    if scheme is None:
        return _file(text, text)
    kind, _, driver = scheme[1].lower().partition("+")
    if kind == "sqlite" and driver in ("", "pysqlite"):
        return _file(text, _path_in(text))
    if kind in ("postgresql", "postgres") and driver in ("", "psycopg"):
        return _server(text)
    if kind in ("sqlite", "postgresql", "postgres"):
        better = "sqlite" if kind == "sqlite" else "postgresql+psycopg"
        _refuse(text, f"uses the driver {driver!r}, which is not supported; begin it with {better}")
    _refuse(text, f"is of the kind {kind!r}; a board can be in SQLite or PostgreSQL")


def _path_in(text: str) -> str:
    path = re.sub(r"^[^:]+:(//)?", "", text)
    if "?" in path:
        _refuse(text, "has options after a '?'; an address of a SQLite file takes none")
    if not path.startswith("/") or not re.match(r"[^:]+:///", text):
        _refuse(text, f"needs three slashes before the path: sqlite:///{path.lstrip('/')}")
    return path.removeprefix("/")


def _file(given: str, path: str) -> Address:
    if not path or path == ":memory:":
        _refuse(given, "names no file; for a board that ends with its process use MemoryAdapter")
    file = Path(path).expanduser().absolute()
    return Address(given, file, None, str(file), frozenset())


def _server(text: str) -> Address:
    try:
        url = make_url(text).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):  # their messages may have parts of the password
        _refuse(text, _UNREADABLE)
    if "@" in (url.host or ""):
        _refuse(text, _UNREADABLE)
    secrets = set(passwords_in(text))
    for value in (url.password, *(url.query.get(option) for option in _SECRET_OPTIONS)):
        if isinstance(value, str) and value:
            secrets |= {value, unquote(value)}
    host = url.host or url.query.get("host") or "the local socket"
    port = f":{url.port}" if url.port else ""
    place = f"{url.database or url.username or 'the default database'} on {host}{port}"
    return Address(text, None, url, f"PostgreSQL database {place}", frozenset(secrets))


def _refuse(text: str, why: str) -> NoReturn:
    shown = re.sub(r"//.*@", "//", text)
    shown = re.sub(r"(password=)[^&]*", r"\1...", shown)
    raise ConfigurationError(f"SqlBoard({shown!r}): the address {why}.") from None
