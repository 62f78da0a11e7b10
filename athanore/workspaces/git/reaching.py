"""What a repository has, asked without fetching anything of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from athanore.errors import PublishError
from athanore.forges.base import Forge
from athanore.workspaces.git.address import Address
from athanore.workspaces.git.commands import GIT_TIMEOUT, Git, GitError, upstream_environment
from athanore.workspaces.git.logins import source

_PATIENCE = timedelta(seconds=15)
_SHOWN = 10


async def refs_there(
    git: Git,
    there: Address,
    *wanted: str,
    git_dir: Path | None = None,
    limit: timedelta = GIT_TIMEOUT,
) -> list[str]:
    """The full names of a repository's refs, of all or of those that are wanted.

    Raises:
        GitError: it does not answer.
    """
    listed = await git(
        "ls-remote",
        *there.served("ls-remote"),
        "--",
        there.text,
        *wanted,
        git_dir=git_dir,
        env=upstream_environment(),
        login=there.login,
        limit=limit,
    )
    return [line.partition("\t")[2] for line in listed.splitlines()]


async def trouble_at(git: Git, repo: str | Path, forge: Forge | None, base: str) -> str:
    """Say why tasks cannot begin at a branch, tag or commit there; "" if nothing speaks against it.

    Args:
        base: the branch, tag or commit; of a commit it is not known before it is fetched.
    """
    try:
        there = await source(repo, forge)
        names = await refs_there(git, there, limit=_PATIENCE)
    except (GitError, PublishError) as exc:
        return " ".join(str(exc).split())
    if f"refs/heads/{base}" in names or f"refs/tags/{base}" in names or _is_commit(base):
        return ""
    branches = [n.removeprefix("refs/heads/") for n in names if n.startswith("refs/heads/")]
    listed = ", ".join(map(repr, branches[:_SHOWN])) or "none"
    return f"{there.text} has no branch or tag {base!r} (base=); its branches: {listed}"


def _is_commit(base: str) -> bool:
    return 7 <= len(base) <= 40 and all(c in "0123456789abcdef" for c in base)
