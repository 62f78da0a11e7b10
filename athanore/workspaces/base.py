"""The port to where agents work: a folder of its own for each task."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, TypeIs, runtime_checkable

from athanore.forges.base import Forge
from athanore.models import AgentOutcome, AgentResult, Task

type RunCommand = Callable[[Sequence[str], Path, timedelta], Awaitable[AgentResult]]
"""Runs a command in a folder, with a time limit, as agents are run: in their environment but for
the token, supervised, its output in the run's log."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder that an attempt was given; as a text it is the folder's path.

    Attributes:
        path: the folder, absolute; the agent starts in it.
        branch: the branch that is checked out there; "" without git.
        base: the branch, tag or commit that `branch` began at; "" without git.
        notes: what agent and people have to know of it, a sentence each.
        newest_base: what the repository has as its base now, by the name that it has in the
            folder; "" if it was not fetched for this attempt.
    """

    path: Path
    branch: str = ""
    base: str = ""
    newest_base: str = ""
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class WorkspaceRequest:
    """Who asks for a folder, or wants it removed.

    Attributes:
        app: the name of the app; two apps share no folders.
        task: the task that is worked on; its id says which folder it is.
        run: runs the commands that make the folder ready, or come before its removal.
        say: tells a line to the log of the run.
        renew_base: what the repository has as its base now is wanted in the folder, too.
        is_published: the task's branch is published, or was: a folder that knows nothing of it
            begins there.
    """

    app: str
    task: Task
    run: RunCommand
    say: Callable[[str], None]
    renew_base: bool = False
    is_published: bool = False


@dataclass(frozen=True, slots=True)
class FoundWorkspace:
    """A folder on this host.

    Attributes:
        task_name: the task's name when an attempt last had the folder.
        used_at: when an attempt last began or ended there.
        in_use: an attempt has it now.
        is_abandoned: the worker of the last attempt died and said nothing of its end.
        kept: why it may not be removed yet, in a few words; "" if it may.
    """

    task_id: str
    task_name: str
    path: Path
    branch: str
    used_at: datetime
    in_use: bool
    is_abandoned: bool
    kept: str


@dataclass(frozen=True, slots=True)
class Work:
    """What is committed on a task's branch.

    Attributes:
        commit: its newest commit.
        subjects: the first lines of the messages of all commits beyond the base, oldest first.
        is_new: something was committed since the attempt began, or since the commit that was named.
        wrong: why it cannot be published as it is, in words that an agent can act on; "" if it can.
    """

    commit: str
    subjects: tuple[str, ...]
    is_new: bool
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What came of a push.

    Attributes:
        commit: the newest commit of the branch.
        subjects: as of `Work`; empty if there was nothing to push.
        is_new: it was not there before.
    """

    commit: str
    subjects: tuple[str, ...]
    is_new: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """What would be published of a task, for the person who says yes to it.

    Attributes:
        commit: the newest commit of the branch.
        subjects: as of `Work`; empty if there is nothing to publish.
        changes: the files that differ from the base, and by how much, in lines.
        sensitive: those of them that say which programs run elsewhere, or who is asked.
        how: the command that shows all of it, and where.
    """

    commit: str
    subjects: tuple[str, ...]
    changes: str
    sensitive: tuple[str, ...]
    how: str


@runtime_checkable
class WorkspaceProvider(Protocol):
    """Gives tasks their folders. One provider serves many attempts, in several processes, at once.

    What a task's folder is called follows from the app's name and the task's id alone, and no id
    leads out of the provider's root or to the folder of another task.
    """

    async def open(self, request: WorkspaceRequest) -> Workspace:
        """Give a task's folder to an attempt; make it where there is none.

        Obligations:
        - The folder is as the last attempt left it, also if the worker of that one was killed.
        - Nobody else is given it until `close`, or until this process ends: who asks waits.
        - What makes it ready is done once, not for each attempt.
        - If this raises, or is cancelled, the folder is free again, and what an earlier attempt
          left there is untouched.

        Raises:
            WorkspaceError: there is no folder to be had now, whoever the agent is.
        """
        ...

    async def close(self, workspace: Workspace, outcome: AgentOutcome | None) -> Sequence[str]:
        """Take a folder back; all processes of the attempt have ended.

        Everything stays in the folder for the next attempt.

        Args:
            outcome: how the attempt ended; None if it was stopped.

        Returns:
            What people should know of the folder, a sentence each.

        Raises:
            WorkspaceError: what there is to keep could not be kept; the folder is free all the
                same, and as it was.
        """
        ...

    def preview(self, app: str, task: Task) -> Workspace:
        """Say what `open` would give for a task, without making anything."""
        ...

    async def find(self, app: str) -> Sequence[FoundWorkspace]:
        """List an app's folders on this host, by task id."""
        ...

    async def remove(self, request: WorkspaceRequest, *, force: bool = False) -> None:
        """Remove a task's folder.

        Args:
            force: also if there is work in it that is nowhere else, or a command before fails.

        Raises:
            WorkspaceError: an attempt has it, `find` says why it is kept, or a command failed
                that comes before.
        """
        ...

    def check(self) -> str | None:
        """Say what keeps it from giving folders on this host, in a few words; None if nothing."""
        ...


@runtime_checkable
class LooksAtRepository(Protocol):
    """A provider that can look whether its repository is there before a task needs it."""

    async def look(self) -> str:
        """Say why no folder could be made now; "" if nothing is known against it."""
        ...


@runtime_checkable
class EndsWork(Protocol):
    """A provider that can be told that a task is done with."""

    async def finish(self, request: WorkspaceRequest) -> None:
        """Remove a task's folder, however lately it was used.

        Raises:
            WorkspaceError: an attempt has it, or something in it is nowhere else.
        """
        ...


@runtime_checkable
class TidiesUp(Protocol):
    """A provider that keeps more than folders, which grows."""

    async def tidy(self) -> None:
        """Make it smaller, without losing anything; called every hour, by several processes.

        Raises:
            WorkspaceError: it cannot be done now.
        """
        ...


@runtime_checkable
class StaysOnHost(Protocol):
    """A provider whose folders may be on one host alone."""

    @property
    def stays_on_host(self) -> bool:
        """Whether a task's folder is nowhere but on the host that made it."""
        ...


@runtime_checkable
class SharesWork(Protocol):
    """A provider whose hosts go on from what others of them have shared."""

    async def reconcile(self, app: str, tell: Callable[[str, str], Awaitable[None]]) -> None:
        """Share what this host has not shared, because it was lost meanwhile, say.

        Args:
            tell: tells people of a task, by its id, that two hosts have gone on with it.

        Raises:
            WorkspaceError: the place does not answer.
        """
        ...


@runtime_checkable
class PublishesWork(Protocol):
    """A provider whose folders have branches, which it can bring elsewhere."""

    @property
    def forge(self) -> Forge | None:
        """Where pull requests are opened; None: branches are pushed, and that is all."""
        ...

    @property
    def published_at(self) -> str:
        """Where branches are pushed to, for people."""
        ...

    def preview(self, app: str, task: Task) -> Workspace:
        """Say which folder and branch a task has; see `WorkspaceProvider.preview`."""
        ...

    async def work(self, app: str, task_id: str) -> Work:
        """Say what is committed in a task's folder now; its attempt may still have it.

        Raises:
            SpoiledFolderError: what is in the folder cannot be read, because of who worked there.
            WorkspaceError: the host is in the way; that costs a task no attempt.
        """
        ...

    async def push(self, app: str, task_id: str, *, allow_ci_changes: bool) -> Pushed:
        """Push the branch of a task that no attempt has; safe to repeat.

        What is in the folder is taken by its path, by a git that has no credential then; the push
        is made from where no agent works.

        Raises:
            PublishRefusedError: it may not go, before a person has looked at it.
            BranchNotHereError: it is on another host.
            PublishError: it cannot go now.
        """
        ...


@runtime_checkable
class ShowsWork(PublishesWork, Protocol):
    """A provider that shows what it would publish, and publishes what was seen and nothing else."""

    async def work(self, app: str, task_id: str, *, since: str = "") -> Work:
        """Say what is committed in a task's folder now; see `PublishesWork.work`.

        Args:
            since: the commit beyond which commits are new; "" for the one that the branch was at
                when the attempt began.
        """
        ...

    async def show(self, app: str, task_id: str) -> Shown:
        """Say what a push of a task's branch would bring.

        Raises:
            BranchNotHereError: it is on another host.
            PublishError: it cannot be looked at now.
        """
        ...

    async def push(
        self, app: str, task_id: str, *, allow_ci_changes: bool, commit: str = ""
    ) -> Pushed:
        """Push the branch of a task; see `PublishesWork.push`.

        Args:
            commit: what the branch has to be at; "" for whatever it is at.

        Raises:
            BranchMovedError: it is at another commit.
        """
        ...


def is_provider(value: object) -> TypeIs[WorkspaceProvider]:
    """Tell whether a value is a provider of folders, and not its class or a path."""
    return isinstance(value, WorkspaceProvider) and not isinstance(value, type)


def cannot_publish(provider: WorkspaceProvider | None, how: str) -> str:
    """Say why nothing can be published from folders of a provider, in a few words; "" if it can.

    Args:
        how: `branch` or `pull-request`.
    """
    if not isinstance(provider, PublishesWork):
        return "needs a workspace with git, such as workspace=GitWorkspace(...)"
    if how == "pull-request" and provider.forge is None:
        return "needs a forge: GitWorkspace(..., forge=GitHubForge('owner/name'))"
    return ""
