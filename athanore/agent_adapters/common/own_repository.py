"""Where an agent commits: the repository of the clone that its task has for itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def own_repository(env: Mapping[str, str]) -> Path | None:
    """The `.git` of the task's own clone, for sandboxes that keep it from being written.

    None where the agent works elsewhere: in a checkout of a person it is rightly kept, since what
    is written there (hooks, settings) is run by that person's git.

    Args:
        env: the agent's environment.
    """
    repository = Path(env.get("ATHANORE_WORKSPACE", ""), ".git")
    is_there = repository.is_absolute() and repository.is_dir() and not repository.is_symlink()
    return repository if is_there else None
