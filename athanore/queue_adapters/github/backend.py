"""What a user writes: `GitHubBoard("owner/repository")`, repositories whose labels are queues."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from athanore.errors import ConfigurationError

if TYPE_CHECKING:
    from athanore.queue_adapters.github.access.app import GitHubApp
    from athanore.queue_adapters.github.adapter import GitHubAdapter
    from athanore.queue_adapters.github.several import GitHubRepositories

LONGEST_LABEL: Final = 50
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class GitHubBoard:
    """The open issues of one or more repositories; a label of an issue is its queue.

    By default the labels that begin with `agent:` are the queues: an issue with the label
    `agent:Todo` is in the queue `Todo`. Makes the adapter when the dispatcher runs.

    Attributes:
        repository: as `owner/name`, or several of them. With several a task's id names its
            repository (`website-12`), and new tasks are opened in the first.
        prefix: what the labels of the board begin with; the rest of a label is its queue's name.
        queues: the board's labels by queue, instead of a prefix: `{"Todo": "ready", ...}`.
        token: a token of the account whom the agents act as; by default that in
            ATHANORE_GITHUB_TOKEN or GITHUB_TOKEN (the environment, or `.env`) when
            `create_adapter` is called.
        app: a GitHub App, as which the agents act, instead of a token; by default that of
            ATHANORE_GITHUB_APP_ID, if it is set.
        url: the address of GitHub, or of a GitHub Enterprise server.
        closes: queues in which a task is done: an issue that is moved there is closed as completed,
            and one that is moved out of there is opened again.
        assign: whether a claim assigns the issue to the token's account.
        timeout: how long an answer may take.
        retry_delays: how long to wait before each repetition of a read that failed in passing.
    """

    repository: str | Sequence[str]
    prefix: str = "agent:"
    queues: Mapping[str, str] | None = None
    token: str | None = field(default=None, repr=False)
    app: GitHubApp | None = None
    url: str = "https://github.com"
    closes: Collection[str] = ()
    assign: bool = True
    timeout: timedelta = timedelta(seconds=20)
    retry_delays: Sequence[timedelta] = (timedelta(seconds=0.5), timedelta(seconds=2))

    def create_adapter(self) -> GitHubAdapter | GitHubRepositories:
        """Make the adapter; no request is sent yet.

        Raises:
            ConfigurationError: the repository, the labels or the token make no sense.
        """
        from athanore.http_client.addresses import read_address
        from athanore.http_client.patience import Patience
        from athanore.queue_adapters.github.access.choosing import credential_for
        from athanore.queue_adapters.github.adapter import GitHubAdapter
        from athanore.queue_adapters.github.client import GitHubClient
        from athanore.queue_adapters.github.graphql import GitHubGraphQL
        from athanore.queue_adapters.github.issues import Ids
        from athanore.queue_adapters.github.relations import Reference, Relations
        from athanore.queue_adapters.github.several import GitHubRepositories
        from athanore.queue_adapters.tracker.labels import Family

        names = self._names()
        check_closes(self.closes, "GitHubBoard")
        site = read_address(self.url, "GitHubBoard: url", "https://github.example.com")
        family = Family.of("GitHubBoard", LONGEST_LABEL, self.prefix, self.queues)
        api = api_of(site)
        patience = Patience(self.timeout, self.retry_delays)
        what = f"GitHub's {', '.join(names)}"
        credential = credential_for(self.token, self.app, api, names, what, patience)
        client = GitHubClient(api, credential, patience)
        relations = Relations(GitHubGraphQL(graphql_of(api), credential, patience))
        ids = Ids(names[0].partition("/")[0])

        def called(reference: Reference) -> str | None:
            """The id of an issue; None of one that is in no repository of the board."""
            is_ours = reference.repository.lower() in (name.lower() for name in names)
            return ids.of(reference.repository, reference.number) if is_ours else None

        parts = {
            name: GitHubAdapter(
                client,
                name,
                family,
                relations,
                site=site,
                closes=frozenset(self.closes),
                assigns=self.assign,
                called=called if len(names) > 1 else None,
                share=len(names),
            )
            for name in names
        }
        return GitHubRepositories(parts, ids) if len(names) > 1 else parts[names[0]]

    def _names(self) -> list[str]:
        """The repositories that the user has named.

        Raises:
            ConfigurationError: there are none, or one twice.
        """
        given = [self.repository] if isinstance(self.repository, str) else list(self.repository)
        names = [repository_of(name, "GitHubBoard") for name in given]
        if not names or len({name.lower() for name in names}) < len(names):
            raise ConfigurationError(
                f"GitHubBoard: {self.repository!r} must name repositories, each once, such as "
                '["octo-org/website", "octo-org/api"].'
            )
        return names


def repository_of(text: str, board: str) -> str:
    """The repository that a user has named.

    Args:
        board: the class that the user writes, for the message.

    Raises:
        ConfigurationError: it is none.
    """
    repository = text.strip().removesuffix(".git")
    if not _REPOSITORY.fullmatch(repository):
        raise ConfigurationError(
            f'{board}: {text!r} is no repository; write owner/name, such as "octo-org/website".'
        )
    return repository


def check_closes(closes: Collection[str], board: str) -> None:
    """Refuse one queue in the place of several.

    Raises:
        ConfigurationError: it is a text.
    """
    if isinstance(closes, str):
        raise ConfigurationError(
            f"{board}: closes={closes!r} must be a list of queues, such as [{closes!r}]."
        )


def api_of(site: str) -> str:
    """The address of the REST API of a site: github.com, a tenant of ghe.com, or a server."""
    scheme, _, host = site.partition("://")
    if host in ("github.com", "www.github.com", "api.github.com"):
        return "https://api.github.com"
    if host.endswith(".ghe.com"):
        return f"{scheme}://api.{host.removeprefix('api.')}"
    return f"{site.removesuffix('/api/v3')}/api/v3"


def graphql_of(api: str) -> str:
    """The address of GraphQL beside a REST API."""
    return f"{api.removesuffix('/v3')}/graphql"
