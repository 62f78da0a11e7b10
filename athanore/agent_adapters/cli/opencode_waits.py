"""The waits of OpenCode: for how long its provider asks it to wait, it says to its plugins only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, cast

from athanore.agent_adapters.cli.opencode_config import CONFIG, parsed
from athanore.agent_adapters.cli.reader import failure, note, parse
from athanore.models import AgentEvent, AgentResult
from athanore.texts import cut, duration

_MARK = "athanore-waits "
_WORTH_WAITING = timedelta(minutes=1)
"""A wait that is longer is left to whoever gives the attempt back."""


class Wait(NamedTuple):
    """What OpenCode waits for, and until when."""

    words: str
    until: datetime

    @property
    def is_long(self) -> bool:
        """Whether the attempt is given back, instead of waiting with it."""
        return self.until - datetime.now(UTC) > _WORTH_WAITING

    def event(self) -> AgentEvent:
        """What people are told of it."""
        seconds = (self.until - datetime.now(UTC)).total_seconds()
        return note(f"{self.words}; it is tried again in {duration(seconds)}")

    def result(self, exit_code: int | None) -> AgentResult:
        """The end of an attempt that would have to wait for long."""
        return failure(self.words, exit_code, status=429, retry_at=self.until)


def told(env: Mapping[str, str]) -> dict[str, str]:
    """An environment in which OpenCode has the plugin, beside the user's own ones."""
    mine = parsed(env.get(CONFIG) or "{}")
    if mine is None:
        return dict(env)
    plugins: object = mine.get("plugin")
    others = cast("list[object]", plugins) if isinstance(plugins, list) else []
    mine["plugin"] = [*others, Path(__file__).with_suffix(".js").as_uri()]
    return {**env, CONFIG: json.dumps(mine)}


def wait_in(line: str) -> Wait | None:
    """The wait that a line of standard error tells."""
    said = parse(line.removeprefix(_MARK)) if line.startswith(_MARK) else None
    if said is None:
        return None
    with suppress(TypeError, ValueError, OverflowError, OSError):
        until = datetime.fromtimestamp(float(said.get("next") or 0) / 1000, UTC)
        words = cut(str(said.get("message") or "The provider asks to wait"), 200)
        return Wait(words, until)
    return None
