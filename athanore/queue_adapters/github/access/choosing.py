"""Which credential a board or a forge works with."""

from __future__ import annotations

from collections.abc import Sequence

from athanore.errors import ConfigurationError
from athanore.http_client.patience import Patience
from athanore.queue_adapters.github.access.app import (
    GitHubApp,
    Installation,
    app_of_the_environment,
    places_of,
)
from athanore.queue_adapters.github.credentials import (
    Credential,
    common_token,
    own_token,
    personal,
)


def credential_for(
    token: str | None,
    app: GitHubApp | None,
    api: str,
    repositories: Sequence[str],
    what: str,
    patience: Patience,
    owner: str = "",
) -> Credential:
    """The credential that was given, or that of the environment.

    What is the board's own comes first: its token, its app, and then the token of any program.

    Args:
        what: what needs it, for messages.
        owner: of a project, whose repositories are not known.

    Raises:
        ConfigurationError: there is none, or it cannot be one.
    """
    if token is None and app is None and (token := own_token()) is None:
        app = app_of_the_environment()
    if token is None and app is not None:
        owners = {name.partition("/")[0].lower() for name in repositories}
        if len(owners) > 1:
            raise ConfigurationError(
                f"{what} are of several owners, and a token of a GitHub App is for one of them; "
                "make a board for each owner, or set a person's token."
            )
        return Installation(api, app.signed_by(), places_of(repositories, owner), what, patience)
    return personal(token or common_token(), what)
