"""What a user writes: `GitHubProjectBoard("octo-org", 5)`, a project whose columns are queues."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from athanore.errors import ConfigurationError
from athanore.queue_adapters.github.backend import (
    api_of,
    check_closes,
    graphql_of,
    repository_of,
)

if TYPE_CHECKING:
    from athanore.queue_adapters.github.access.app import GitHubApp
    from athanore.queue_adapters.github.projects.adapter import GitHubProjectAdapter


@dataclass(frozen=True, slots=True)
class GitHubProjectBoard:
    """The open issues in a project; an issue's queue is its column, the value of Status.

    The issues may be of several repositories. Drafts and pull requests are no tasks. Makes the
    adapter when the dispatcher runs.

    Attributes:
        owner: the organization, or the user, that has the project.
        number: of the project, as in its address.
        status_field: the field of the kind single select whose values are the columns.
        repository: where new tasks are opened, as `owner/name`; None to open none.
        token: a token of the account whom the agents act as; by default that in
            ATHANORE_GITHUB_TOKEN or GITHUB_TOKEN (the environment, or `.env`) when
            `create_adapter` is called.
        app: a GitHub App of the organization, as which the agents act, instead of a token; by
            default that of ATHANORE_GITHUB_APP_ID, if it is set.
        url: the address of GitHub, or of a GitHub Enterprise server.
        closes: columns in which a task is done: an issue that is moved there is closed as
            completed, and one that is moved out of there is opened again.
        assign: whether a claim assigns the issue to the token's account.
        timeout: how long an answer may take.
        retry_delays: how long to wait before each repetition of a read that failed in passing.
    """

    owner: str
    number: int
    status_field: str = "Status"
    repository: str | None = None
    token: str | None = field(default=None, repr=False)
    app: GitHubApp | None = None
    url: str = "https://github.com"
    closes: Collection[str] = ()
    assign: bool = True
    timeout: timedelta = timedelta(seconds=20)
    retry_delays: Sequence[timedelta] = (timedelta(seconds=0.5), timedelta(seconds=2))

    def create_adapter(self) -> GitHubProjectAdapter:
        """Make the adapter; no request is sent yet.

        Raises:
            ConfigurationError: the project, the repository or the token make no sense.
        """
        from athanore.http_client.addresses import read_address
        from athanore.http_client.patience import Patience
        from athanore.queue_adapters.github.access.choosing import credential_for
        from athanore.queue_adapters.github.client import GitHubClient
        from athanore.queue_adapters.github.graphql import GitHubGraphQL
        from athanore.queue_adapters.github.projects.adapter import GitHubProjectAdapter
        from athanore.queue_adapters.github.projects.project import Project

        name = "GitHubProjectBoard"
        owner = self.owner.strip()
        if not owner.replace("-", "").isalnum() or self.number < 1:
            raise ConfigurationError(
                f"{name}: {self.owner!r}, {self.number!r} is no project; write its owner and its "
                'number: "octo-org", 5 for https://github.com/orgs/octo-org/projects/5.'
            )
        home = None if self.repository is None else repository_of(self.repository, name)
        check_closes(self.closes, name)
        site = read_address(self.url, f"{name}: url", "https://github.example.com")
        api = api_of(site)
        patience = Patience(self.timeout, self.retry_delays)
        what = f"the project {self.number} of {owner}"
        credential = credential_for(
            self.token, self.app, api, [home] if home else [], what, patience, owner
        )
        client = GitHubClient(api, credential, patience)
        graphql = GitHubGraphQL(graphql_of(api), credential, patience)
        project = Project(graphql, owner, self.number, self.status_field)
        return GitHubProjectAdapter(
            client, project, repository=home, closes=self.closes, assigns=self.assign
        )
