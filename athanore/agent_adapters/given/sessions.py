"""Sessions of agents: what a later attempt may go on with, and where that can be done."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError


@dataclass(frozen=True, slots=True)
class Place:
    """Where an agent works. Its sessions are files there, which another version may not read.

    Attributes:
        host: the name of the machine.
        home: the folder in which the agent keeps what is its user's.
        folder: the working folder.
        version: of the agent; "" where it does not tell, which fits no other.
    """

    host: str
    home: str
    folder: str
    version: str

    @classmethod
    def here(cls, home: str, folder: Path | None, version: str) -> Self:
        """A place on this machine."""
        return cls(socket.gethostname(), home, str((folder or Path()).resolve()), version)


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation that an agent may go on with.

    Attributes:
        id: as the agent knows it.
        used: what it had used when it was kept, of which the next attempt subtracts, for agents
            that tell the sum of a session.
    """

    id: str
    place: Place
    used: Mapping[str, float] = field(default_factory=dict[str, float])

    def unfit(self, place: Place) -> str | None:
        """Say why it cannot be gone on with in a place; None if it can."""
        for name, before in asdict(self.place).items():
            now = getattr(place, name)
            if not now or now != before:
                return f"its {name} was {before or 'unknown'!r}, and is {now or 'unknown'!r} now"
        return None

    def dump(self) -> str:
        """The session as JSON."""
        return _SESSION.dump_json(self).decode()

    @classmethod
    def parse(cls, text: str) -> Session | None:
        """Read what `dump` wrote; None if it is nothing of that kind."""
        try:
            return _SESSION.validate_json(text)
        except ValidationError:
            return None


_SESSION = TypeAdapter(Session)


def home_of(env: Mapping[str, str], *variables: str) -> str:
    """The folder of an agent's user: what the first of the variables names, else HOME."""
    return next((env[name] for name in (*variables, "HOME") if env.get(name)), "")
