"""The idempotency keys of comments, kept in a file: an API that is started anew knows them.

A key is noted before its comment is posted, and once more after it. So a repeat is told from new
words that are equal: only where the key is known is the board asked whether the comment is there.
The file lies in Prefect's home, so it is known to the API processes of one host and one user.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from athanore.models import Comment

logger = logging.getLogger("athanore.api")

_KEPT_FOR = timedelta(hours=24)
# The clocks of the board and of the API's host may differ by so much.
_SKEW = timedelta(minutes=10)
_TABLE = """
CREATE TABLE IF NOT EXISTS keys (
    app TEXT, task TEXT, key TEXT, text TEXT, noted REAL, posted INTEGER DEFAULT 0,
    PRIMARY KEY (app, task, key)
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class Noted:
    """What was noted of a key earlier.

    `same` is False if it was another text. `others` counts other comments of this text, with keys
    of their own, that were posted since.
    """

    same: bool
    at: datetime
    others: int

    def is_among(self, comments: Sequence[Comment], text: str) -> bool:
        """Tell whether the key's comment is one of those on the board."""
        since = self.at - _SKEW
        equal = [c for c in comments if c.text == text]
        recent = [c for c in equal if c.created_at is None or c.created_at >= since]
        return len(recent) > self.others


class CommentKeys:
    """The keys of an app's comments.

    Args:
        folder: where the file lies; it is made when it is needed.
    """

    def __init__(self, app: str, folder: Path) -> None:
        self._app = app
        self._path = folder / "athanore-keys.db"

    async def note(self, task_id: str, key: str, text: str) -> Noted | None:
        """Note that a comment is about to be posted; return what was noted of its key before."""
        try:
            return await asyncio.to_thread(self._note, task_id, key, _digest(text))
        except (OSError, sqlite3.Error) as exc:
            self._complain(exc)
            return None

    async def posted(self, task_id: str, key: str) -> None:
        """Note that the comment of a key is on the board."""
        try:
            await asyncio.to_thread(self._posted, task_id, key)
        except (OSError, sqlite3.Error) as exc:
            self._complain(exc)

    def _note(self, task_id: str, key: str, text: str) -> Noted | None:
        now = datetime.now(UTC)
        with self._transaction() as db:
            db.execute("DELETE FROM keys WHERE noted < ?", ((now - _KEPT_FOR).timestamp(),))
            row = db.execute(
                "SELECT text, noted FROM keys WHERE app = ? AND task = ? AND key = ?",
                (self._app, task_id, key),
            ).fetchone()
            if row is None:
                db.execute(
                    "INSERT INTO keys (app, task, key, text, noted) VALUES (?, ?, ?, ?, ?)",
                    (self._app, task_id, key, text, now.timestamp()),
                )
                return None
            at = datetime.fromtimestamp(row[1], UTC)
            (others,) = db.execute(
                "SELECT count(*) FROM keys WHERE app = ? AND task = ? AND text = ? "
                "AND key != ? AND posted AND noted >= ?",
                (self._app, task_id, text, key, (at - _SKEW).timestamp()),
            ).fetchone()
            return Noted(row[0] == text, at, others)

    def _posted(self, task_id: str, key: str) -> None:
        with self._transaction() as db:
            db.execute(
                "UPDATE keys SET posted = 1 WHERE app = ? AND task = ? AND key = ?",
                (self._app, task_id, key),
            )

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._path, timeout=5)) as db, db:
            db.execute("PRAGMA synchronous = OFF")  # it has to survive our end, not the host's
            db.execute(_TABLE)
            yield db

    def _complain(self, error: Exception) -> None:
        logger.warning(
            "Idempotency keys cannot be kept in %s (%s). If the API is started anew, a comment "
            "that is repeated after that may be there twice.",
            self._path,
            error,
            extra={"action": "idempotency_keys_not_kept"},
        )


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
