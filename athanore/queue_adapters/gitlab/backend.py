"""What a user writes: `GitLabBoard("group/project")`, a project whose labels are queues."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from athanore.errors import ConfigurationError

if TYPE_CHECKING:
    from athanore.queue_adapters.gitlab.adapter import GitLabAdapter
    from athanore.queue_adapters.tracker.labels import Family

LONGEST_LABEL: Final = 255
_PROJECT = re.compile(r"[1-9][0-9]*|[\w.][\w.-]*(/[\w.][\w.-]*)+")


@dataclass(frozen=True, slots=True)
class GitLabBoard:
    """The open issues of a project; an issue's queue is the label that it has of the board's.

    By default the labels that begin with `agent::` are the queues: an issue with the label
    `agent::Todo` is in the queue `Todo`. Makes the adapter when the dispatcher runs.

    Attributes:
        project: as `group/project`, with all groups; or the project's number.
        prefix: what the labels of the board begin with; the rest of a label is its queue's name.
        queues: the board's labels by queue, instead of a prefix: `{"Todo": "status::ready", ...}`.
        board: the name of an issue board, instead of a prefix: its lists are the queues, called as
            their labels are.
        token: a token of the account whom the agents act as; by default that in
            ATHANORE_GITLAB_TOKEN or GITLAB_TOKEN (the environment, or `.env`) when
            `create_adapter` is called.
        url: the address of GitLab, or of a server of one's own.
        closes: queues in which a task is done: an issue that is moved there is closed, and one that
            is moved out of there is opened again.
        assign: whether a claim assigns the issue to the token's account.
        blockers: whether the links of issues say what blocks them, which costs a request for each
            issue of the watched queues, and again for one that has changed. GitLab Free has no such
            links.
        timeout: how long an answer may take.
        retry_delays: how long to wait before each repetition of a read that failed in passing.
    """

    project: str
    prefix: str = "agent::"
    queues: Mapping[str, str] | None = None
    board: str | None = None
    token: str | None = field(default=None, repr=False)
    url: str = "https://gitlab.com"
    closes: Collection[str] = ()
    assign: bool = True
    blockers: bool = False
    timeout: timedelta = timedelta(seconds=20)
    retry_delays: Sequence[timedelta] = (timedelta(seconds=0.5), timedelta(seconds=2))

    def create_adapter(self) -> GitLabAdapter:
        """Make the adapter; no request is sent yet.

        Raises:
            ConfigurationError: the project, the labels or the token make no sense.
        """
        from athanore.http_client.addresses import read_address
        from athanore.queue_adapters.gitlab.adapter import GitLabAdapter
        from athanore.queue_adapters.gitlab.client import GitLabClient

        project = self.project.strip().strip("/").removesuffix(".git")
        if not _PROJECT.fullmatch(project):
            raise ConfigurationError(
                f"GitLabBoard: {self.project!r} is no project; write group/project, such as "
                '"octo-group/website".'
            )
        if isinstance(self.closes, str):
            raise ConfigurationError(
                f"GitLabBoard: closes={self.closes!r} must be a list of queues, such as "
                f"[{self.closes!r}]."
            )
        site = read_address(self.url, "GitLabBoard: url", "https://gitlab.example.com")
        site = site.removesuffix("/api/v4")
        client = GitLabClient(
            f"{site}/api/v4",
            self._token(project),
            timeout=self.timeout,
            retry_delays=self.retry_delays,
        )
        return GitLabAdapter(
            client,
            project,
            self._family(),
            site=site,
            board=self.board,
            closes=frozenset(self.closes),
            assigns=self.assign,
            reads_links=self.blockers,
        )

    def _family(self) -> Family:
        from athanore.queue_adapters.tracker.labels import Family

        if self.board is None:
            return Family.of("GitLabBoard", LONGEST_LABEL, self.prefix, self.queues)
        if not self.board.strip() or self.queues is not None:
            raise ConfigurationError(
                f"GitLabBoard: board={self.board!r} must be the name of an issue board, and be "
                "given without queues=, because the board's lists are the queues then."
            )
        return Family("GitLabBoard", LONGEST_LABEL)

    def _token(self, project: str) -> str:
        from athanore.queue_adapters.gitlab.account import token_of_the_environment
        from athanore.queue_adapters.tracker.tokens import checked

        token = self.token or token_of_the_environment()
        if token is None:
            raise ConfigurationError(
                f"The board on GitLab's {project} needs a token; make one with the scope api and "
                "the role Reporter or Planner in the project, or Developer if a route publishes "
                "(see docs/boards.md), and set ATHANORE_GITLAB_TOKEN or GITLAB_TOKEN to it, in the "
                "environment or in .env."
            )
        return checked(token, f"GitLab's {project}")
