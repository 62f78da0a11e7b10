"""What databases complain of, in our errors: what passes told from what a person has to mend."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from athanore.errors import (
    BoardAccessError,
    BoardBrokenError,
    BoardError,
    BoardNotWritableError,
    BoardUnavailableError,
    InvalidTaskError,
    reason,
)
from athanore.texts import cut

_REFUSED = re.compile(
    r"authentication failed|no password supplied|(role|database) .* does not exist|pg_hba\.conf|"
    r"permission denied|not permitted to|invalid connection option|certificate|SSL error|sslmode",
    re.IGNORECASE,
)
"""What PostgreSQL says when it lets somebody not in: such errors have no code."""


def translate(error: SQLAlchemyError, place: str, secrets: Iterable[str] = ()) -> BoardError:
    """Return our error for one of the database: one line, without passwords and parameters."""
    origin = error.orig if isinstance(error, DBAPIError) else None
    says = reason(origin or error).rstrip(".")
    for secret in secrets:
        says = says.replace(secret, "[redacted]")
    says = cut(says, 300)
    if isinstance(origin, sqlite3.Error):
        return _of_sqlite(origin, f"The board {place}", says)
    return _of_postgres(getattr(origin, "sqlstate", None) or "", f"The board in the {place}", says)


def _of_sqlite(error: sqlite3.Error, board: str, says: str) -> BoardError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    match code:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return BoardUnavailableError(
                f"{board} is busy: others write all the time; nothing was changed."
            )
        case sqlite3.SQLITE_CANTOPEN:
            return BoardUnavailableError(f"{board} cannot be opened: {says}.")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return BoardNotWritableError(
                f"{board} cannot be changed: {says}; give the user of this process the right to "
                "write the file and its folder."
            )
        case sqlite3.SQLITE_FULL:
            return BoardNotWritableError(f"{board} cannot be changed: {says}; make room there.")
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return BoardBrokenError(
                f"{board} is broken: {says}. It is left as it is; put a sound copy in its place."
            )
        case sqlite3.SQLITE_ERROR:
            return _no_board(board, says)
        case sqlite3.SQLITE_TOOBIG | sqlite3.SQLITE_MISMATCH | sqlite3.SQLITE_CONSTRAINT:
            return InvalidTaskError(f"{board} cannot take this value: {says}.")
        case _:
            return BoardUnavailableError(f"{board} cannot be used now: {says}.")


def _of_postgres(code: str, board: str, says: str) -> BoardError:
    match code[:2]:
        case "53" if code == "53100":
            return BoardNotWritableError(f"{board} cannot be changed: {says}; make room there.")
        case "42" | "3F" if code not in ("42501",):
            return _no_board(board, says)
        case "28" | "42" | "3D" | "0L" | "0P":
            return BoardAccessError(f"{board} refuses us: {says}.")
        case "22" | "23":
            return InvalidTaskError(f"{board} cannot take this value: {says}.")
        case "" if _REFUSED.search(says):
            return BoardAccessError(f"{board} refuses us: {says}.")
        case _:
            return BoardUnavailableError(f"{board} cannot be used now: {says}.")


def _no_board(board: str, says: str) -> BoardError:
    return BoardBrokenError(
        f"{board} has not the tables of a board: {says}. A board is made when the app is started; "
        "one that was damaged is to be restored."
    )
