"""What the tables of several doubles have in common."""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path
from typing import Any, Final

NO_COMMIT: Final = "0" * 40
"""What a branch is at whose repository a double does not know."""


class LaggingLists:
    """Issues whose lists may lag behind what is told of single ones."""

    issues: dict[Any, dict[str, Any]]
    lagging: list[dict[str, Any]] | None = None

    def listed(self) -> list[dict[str, Any]]:
        """The issues as lists tell them."""
        return list(self.issues.values()) if self.lagging is None else self.lagging

    def lag(self) -> None:
        """Have lists of issues stay as they are now, while single issues go on."""
        self.lagging = copy.deepcopy(list(self.issues.values()))

    def catch_up(self) -> None:
        """Have lists of issues tell what is so."""
        self.lagging = None


def commit_of(folder: Path | None, branch: str) -> str:
    """The commit that a branch of a repository is at; "" if there is no such branch."""
    if folder is None:
        return NO_COMMIT
    done = subprocess.run(
        ["git", "--git-dir", str(folder), "rev-parse", "-q", "--verify", f"refs/heads/{branch}"],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=30,
    )
    return done.stdout.strip()
