"""What a user writes: `JiraBoard("https://site.atlassian.net", project="ENG")`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from athanore.errors import ConfigurationError

if TYPE_CHECKING:
    from athanore.queue_adapters.jira.adapter import JiraAdapter

_PROJECT = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class JiraBoard:
    """The issues of a project; an issue's queue is its status. Of Jira Cloud and Data Center.

    Makes the adapter when the dispatcher runs.

    Attributes:
        url: the address of the site or the server.
        project: its key, such as `ENG`.
        jql: what narrows the board, such as `labels = agent`: other issues are no tasks of it.
        via: by queue, the queue through which an issue goes there where no transition leads
            directly: `{"Done": "In Review"}`. The issues in that queue are read as well.
        fields: by queue, values that a transition there asks for:
            `{"Done": {"resolution": {"name": "Done"}}}`.
        issue_type: the type of the issues that are created.
        email: of the account, for an API token of Jira Cloud; by default that in
            ATHANORE_JIRA_EMAIL or JIRA_EMAIL. Without one the token is a personal access token of
            Data Center.
        token: by default that in ATHANORE_JIRA_TOKEN or JIRA_API_TOKEN (the environment, or `.env`)
            when `create_adapter` is called.
        assign: whether a claim assigns the issue to the token's account if it is nobody's.
        timeout: how long an answer may take.
        retry_delays: how long to wait before each repetition of a read that failed in passing.
    """

    url: str
    project: str
    jql: str | None = None
    via: Mapping[str, str] = field(default_factory=dict[str, str])
    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    issue_type: str = "Task"
    email: str | None = None
    token: str | None = field(default=None, repr=False)
    assign: bool = True
    timeout: timedelta = timedelta(seconds=20)
    retry_delays: Sequence[timedelta] = (timedelta(seconds=0.5), timedelta(seconds=2))

    def create_adapter(self) -> JiraAdapter:
        """Make the adapter; no request is sent yet.

        Raises:
            ConfigurationError: the address, the project, `via` or the token make no sense.
        """
        from athanore.http_client.addresses import read_address
        from athanore.queue_adapters.jira.account import credentials_of_the_environment
        from athanore.queue_adapters.jira.adapter import JiraAdapter
        from athanore.queue_adapters.jira.client import JiraClient
        from athanore.queue_adapters.tracker.tokens import checked

        project = self.project.strip()
        if not _PROJECT.fullmatch(project):
            raise ConfigurationError(
                f'JiraBoard: project={self.project!r} is no key of a project, such as "ENG".'
            )
        _check_ways(self.via)
        site = read_address(self.url, "JiraBoard: url", "https://example.atlassian.net")
        email, token = credentials_of_the_environment()
        token, email = self.token or token, self.email or email
        if token is None:
            raise ConfigurationError(
                f"The board on Jira's {project} needs a token: on Jira Cloud an API token, with "
                "the account's email; on Data Center a personal access token (see docs/boards.md). "
                "Set ATHANORE_JIRA_EMAIL and ATHANORE_JIRA_TOKEN, in the environment or in .env."
            )
        client = JiraClient(
            site,
            checked(token, f"Jira's {project}"),
            email,
            timeout=self.timeout,
            retry_delays=self.retry_delays,
        )
        return JiraAdapter(
            client,
            project.upper(),
            site,
            jql=self.jql,
            via=self.via,
            fields=self.fields,
            issue_type=self.issue_type,
            assigns=self.assign,
        )


def _check_ways(via: Mapping[str, str]) -> None:
    """Refuse a queue that is on the way to itself.

    Ways may lead in a circle otherwise, as those of a workflow do that leads to and fro.

    Raises:
        ConfigurationError: one is.
    """
    for queue, before in via.items():
        if before == queue:
            raise ConfigurationError(
                f"JiraBoard: via={dict(via)!r} names {queue!r} as the queue on the way to itself; "
                "name one that an issue can come from."
            )
