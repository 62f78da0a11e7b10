"""Real git for tests: a bare repository with a commit, and calls that need no configuration."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

_IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Tester"), ("EMAIL", "tester@example.org"))
}
ALONE = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, **_IDENTITY}
"""What keeps the configuration of whoever runs the tests away."""


def git(folder: Path, *words: str, env: Mapping[str, str] | None = None) -> str:
    """Call git in a folder as an agent would; returns what it puts out."""
    done = subprocess.run(
        ["git", *words],
        cwd=folder, env={**os.environ, **ALONE, **(env or {})},
        check=True, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    return done.stdout.rstrip("\n")


def commit(folder: Path, name: str, text: str, message: str = "") -> str:
    """Commit a file with a text; returns the commit."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    git(folder, "add", "--force", "--", name)
    git(folder, "commit", "-q", "-m", message or f"Write {name}")
    return git(folder, "rev-parse", "HEAD")


class Repository:
    """A bare repository, whose branch `main` has a commit with `README.md` and `.gitignore`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        git(path, "init", "-q", "--bare", "-b", "main")
        self.work = path.with_name(f"{path.name}-seed")
        self.work.mkdir()
        git(self.work, "init", "-q", "-b", "main")
        (self.work / ".gitignore").write_text("*.log\nbuild/\n")
        git(self.work, "add", ".gitignore")
        self.first = self.add("README.md", "hello")

    def add(self, name: str, text: str) -> str:
        """Commit a file to `main`; returns the commit."""
        made = commit(self.work, name, text)
        self.push("main")
        return made

    def push(self, *refs: str) -> None:
        """Push from the seed."""
        git(self.work, "push", "-q", str(self.path), *refs)

    def branches(self) -> list[str]:
        """The names of its branches."""
        return git(self.path, "for-each-ref", "--format=%(refname:short)", "refs/heads").split()
