"""Whether a repository could be cloned, asked without cloning it."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import timedelta

from athanore.errors import PublishError
from athanore.workspaces.git.address import Address
from athanore.workspaces.git.commands import Git, GitError, upstream_environment

_PATIENCE = timedelta(seconds=15)


async def trouble_at(git: Git, base: str, address: Awaitable[Address]) -> str:
    """Say why tasks cannot begin at a branch, tag or commit there; "" if nothing speaks against it.

    Args:
        base: the branch, tag or commit; of a commit it is not known before it is fetched.
    """
    try:
        there = await address
        listed = await git(
            "ls-remote",
            *there.served("ls-remote"),
            "--",
            there.text,
            env=upstream_environment(),
            config=there.config,
            limit=_PATIENCE,
        )
    except (GitError, PublishError) as exc:
        return " ".join(str(exc).split())
    names = [line.partition("\t")[2] for line in listed.splitlines()]
    if f"refs/heads/{base}" in names or f"refs/tags/{base}" in names or _is_commit(base):
        return ""
    branches = [n.removeprefix("refs/heads/") for n in names if n.startswith("refs/heads/")]
    listed = ", ".join(map(repr, branches[:10])) or "none"
    return f"{there.text} has no branch or tag {base!r} (base=); its branches: {listed}"


def _is_commit(base: str) -> bool:
    return 7 <= len(base) <= 40 and all(c in "0123456789abcdef" for c in base)
