"""How hosts go on from each other's work on a task, over what they share.

What was shared is never replaced by what lacks it, unless an attempt took it up and went on from
it. What a host had not shared when another one went on is kept beside it, and a person is told.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from athanore.workspaces.git.commands import Git
from athanore.workspaces.git.mirror import Mirror
from athanore.workspaces.git.sharing import OvertakenError, Share, Shared
from athanore.workspaces.places import Place, Record, slug


def host_of(home: Path) -> str:
    """What this host is called, for itself and for people; it stays the same.

    Two folders on one machine are two hosts: each has its own mirror.
    """
    file = home / "host"
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        home.mkdir(parents=True, exist_ok=True)
        new = f"{slug(socket.gethostname()) or 'host'}-{uuid4().hex[:6]}"
        try:
            with file.open("x", encoding="utf-8") as made:
                made.write(new)
        except FileExistsError:
            return file.read_text(encoding="utf-8")
        return new


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a host finds when it begins an attempt.

    Attributes:
        renew: the folder is to be made anew, of what was shared.
        notes: what agent and people have to know.
    """

    record: Record
    renew: bool = False
    notes: tuple[str, ...] = ()


class BetweenHosts:
    """One task's folder on one host.

    Args:
        refs: what the task's refs in the mirror are below.
        host: what this host is called.
    """

    def __init__(self, git: Git, mirror: Mirror, share: Share, refs: str, host: str) -> None:
        self._git = git
        self._mirror = mirror
        self._share = share
        self._refs = refs
        self._host = host

    async def arrive(self, record: Record, uncommitted: str) -> Arrival:
        """Look at what was shared, before an attempt begins.

        Args:
            uncommitted: what in the folder is not committed, in words.

        Raises:
            WorkspaceError: the shared place does not answer.
        """
        there = await self._share.read()
        if there is None or there.commit == record.shared:
            return Arrival(record)
        if there.host == self._host and there.is_open:
            # It was shared, and the worker was killed before it had noted that.
            return Arrival(replace(record, shared=there.commit))
        notes: list[str] = []
        if there.is_open:
            notes.append(
                f"An attempt on the host {there.host} began at {there.at[:16]} UTC and has not "
                "shared what it did. This one goes on from what was shared before it."
            )
        if record.is_unshared and await self._is_apart(record, there, uncommitted):
            notes.append(await self._put_beside(record, there))
        await self._take_up(there)
        taken = replace(
            record,
            branch=there.branch,
            base=there.base,
            number=max(record.number, there.number),
            prepared="",
            shared=there.commit,
            is_unshared=False,
            tell="",
        )
        return Arrival(taken, renew=True, notes=tuple(notes))

    async def begun(self, record: Record) -> Record:
        """Let others know that an attempt begins here.

        Raises:
            WorkspaceError: another host was faster, or the shared place does not answer.
        """
        tip = await self._tip(record) or await self._mirror.base(self._git, record.base)
        commit = await self._share.write(self._state(record, tip, is_open=True), record.shared)
        return replace(record, shared=commit, is_unshared=True)

    async def ended(self, record: Record) -> Record:
        """Let others have what an attempt left.

        Raises:
            WorkspaceError: the shared place does not answer.
        """
        tip = await self._tip(record)
        work = await self._mirror.commit(self._git, f"{self._refs}/{record.number}")
        if not tip:
            return record  # the agent has removed its branch; its refs are in the mirror
        state = self._state(record, tip, work=work)
        try:
            commit = await self._share.write(state, record.shared)
        except OvertakenError:
            there = await self._share.read()
            if there is None:
                raise
            said = ""
            if await self._is_apart(record, there, "" if work == tip else "work"):
                said = await self._put_beside(record, there)
            return replace(record, is_unshared=False, tell=said)
        return replace(record, shared=commit, is_unshared=False)

    async def _is_apart(self, record: Record, there: Shared, uncommitted: str) -> bool:
        """Whether this host has what was not shared."""
        if uncommitted:
            return True
        tip = await self._tip(record)
        if not tip:
            return False
        git_dir = self._mirror.git_dir
        return bool(await self._git("rev-list", "-1", tip, "--not", there.tip, git_dir=git_dir))

    async def _put_beside(self, record: Record, there: Shared) -> str:
        number = f"{self._refs}/{record.number}"
        kept = await self._mirror.commit(self._git, number) or await self._tip(record)
        ref = await self._share.put_beside(kept, f"{self._host}-{record.number}")
        return (
            f"The host {there.host} went on with this task before {self._host} had shared what an "
            f"attempt did there. Both are kept: the branch goes on as {there.host} has it, and "
            f"what {self._host} had is {ref} ({kept[:10]}) in the shared place. Somebody has to "
            "look whether it is needed."
        )

    async def _take_up(self, there: Shared) -> None:
        """Have the next folder made of what was shared, with what was not committed there."""
        git, git_dir = self._git, self._mirror.git_dir
        branch = f"{self._refs}/folder/heads/{there.branch}"
        await git("update-ref", branch, there.tip, git_dir=git_dir)
        if there.work and there.work != there.tip:
            parent = await self._mirror.commit(git, f"{there.work}^")
            if parent == there.tip:
                await git("update-ref", f"{self._refs}/restore", there.work, git_dir=git_dir)

    async def _tip(self, record: Record) -> str:
        return await self._mirror.commit(self._git, f"{self._refs}/folder/heads/{record.branch}")

    def _state(self, record: Record, tip: str, *, work: str = "", is_open: bool = False) -> Shared:
        return Shared(
            host=self._host,
            branch=record.branch,
            base=record.base,
            number=record.number,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            is_open=is_open,
            tip=tip,
            work=work,
        )


async def reconciled(
    place: Place, between: BetweenHosts, task_id: str, tell: Callable[[str, str], Awaitable[None]]
) -> None:
    """Share what an attempt left whose end was not shared; tell people where hosts differ.

    The folder's lock is held, and what is in the folder is in the mirror.

    Raises:
        WorkspaceError: the shared place does not answer.
    """
    record = place.read()
    if record.is_unshared:
        record = await between.ended(record)
        place.write(record)
    if record.tell:
        await tell(task_id, record.tell)
        place.write(replace(record, tell=""))
