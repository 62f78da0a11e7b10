"""What a server counts of one account is shared by all clients of the process that use it.

Two boards with one token, or a board and the forge that its work is published at, have one rate
limit: when one of them is refused, the others are to send nothing either.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

from athanore.http_client.limits import RateLimit
from athanore.http_client.quotas import Quotas


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Account:
    """One account at one address: when it may ask again, and how much it has left."""

    rate_limit: RateLimit
    quotas: Quotas


class Accounts:
    """Those that the clients of a process use; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: WeakValueDictionary[tuple[str, str], Account] = WeakValueDictionary()

    def at(self, server: str, url: str, credential: str) -> Account:
        """The account of a credential; the same one as long as any client uses it.

        Args:
            server: what the server is called in messages.
            url: the address whose requests are counted together, or what else names it.
            credential: who asks, of which a digest is kept; "" for an account that nobody else
                uses.
        """
        if not credential:
            return Account(RateLimit(server), Quotas())
        key = url.rstrip("/").lower(), hashlib.sha256(credential.encode()).hexdigest()
        with self._lock:
            account = self._known.get(key)
            if account is None:
                account = self._known[key] = Account(RateLimit(server), Quotas())
            return account

    def forget(self) -> None:
        """Let clients that are made from now on share nothing with earlier ones."""
        with self._lock:
            self._known.clear()


of_this_process: Final = Accounts()
"""Adapters are made by users, and know neither of each other nor of an app."""
