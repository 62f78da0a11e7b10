"""The words that some options take, where there are only so many, and their largest numbers."""

from __future__ import annotations

from typing import Literal

type Expects = Literal["commits", "move", "comment"]
type ApproveBefore = Literal["start", "publish"]
type Publish = Literal["branch", "pull-request"]

REACTIONS = ("ci_failed", "changes_requested", "conflict")
"""What a route may react to after its pull request was opened."""

NEEDS = ("comments", "tasks")
"""What only a task that is read by itself has."""

MOST_TOKENS = 10**12
"""No budget is larger."""

MAX_CRASHES = 3
"""How many lost workers a task survives by default."""
