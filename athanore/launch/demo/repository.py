"""The toy repository of the demo, whose branches are what its agents have made."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

NAME = "toy.git"
_AUTHOR = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Athanore's demo"), ("EMAIL", "demo@localhost"))
}


def is_possible() -> bool:
    """Tell whether there is a git to make one with."""
    return shutil.which("git") is not None


def make(folder: Path) -> None:
    """Make it in a folder, with one commit on `main`.

    Raises:
        OSError: git refuses.
    """
    repository = folder / NAME
    _git(folder, "init", "-q", "--bare", "-b", "main", NAME)
    text = _git(repository, "hash-object", "-w", "--stdin", said="# A toy\n")
    tree = _git(repository, "mktree", said=f"100644 blob {text}\tREADME.md\n")
    first = _git(repository, "commit-tree", tree, "-m", "Begin")
    _git(repository, "update-ref", "refs/heads/main", first)


def branches(folder: Path) -> list[str]:
    """The branches of tasks there, each with its newest commit in a few words."""
    repository = folder / NAME
    if not repository.is_dir():
        return []
    shown = "%(refname:short): %(contents:subject)"
    said = _git(repository, "for-each-ref", f"--format={shown}", "refs/heads/athanore")
    return said.splitlines()


def _git(folder: Path, *words: str, said: str = "") -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", *words],
        cwd=folder,
        env=clean | alone | _AUTHOR,
        input=said,
        encoding="utf-8",
        capture_output=True,
        timeout=60,
    )
    if done.returncode:
        raise OSError(f"git {words[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()
