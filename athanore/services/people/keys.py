"""Keys for people's MCP clients: make one, list them, revoke one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from athanore.errors import ConfigurationError, NotFoundError
from athanore.runs.kept import keys
from athanore.runs.kept.keys import Scope
from athanore.runs.port import RunStore
from athanore.runtime.apps import App
from athanore.texts import readable

_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key as people see it, without what is secret."""

    id: str
    name: str
    scope: Scope
    created_at: datetime


async def create(prefect: RunStore, app: App, scope: Scope, name: str) -> tuple[ListedKey, str]:
    """Make a key; returns it as it is listed, and the key itself, which is kept nowhere.

    Raises:
        ConfigurationError: the name will not do, or keys would count for nothing.
    """
    settings = app.dispatcher.settings
    if settings.api_auth != "token" or settings.signing_key is None:
        raise ConfigurationError(
            "The task API of this app is open: it asks nobody for a key. Set "
            "ATHANORE_API_AUTH=token and ATHANORE_API_KEY, here and where the API runs."
        )
    if not (name := readable(name).strip()) or len(name) > _LONGEST_NAME:
        raise ConfigurationError(f"A key's name has 1 to {_LONGEST_NAME} characters.")
    if name in {key.name for key in await keys.of_app(prefect, app.name)}:
        raise ConfigurationError(f"There is a key {name!r}; revoke it, or take another name.")
    key, token = await keys.create(prefect, app.name, name, scope, settings.signing_key)
    return _listed(key), token


async def listed(prefect: RunStore, app: App) -> list[ListedKey]:
    """The keys of an app, the oldest first."""
    return [_listed(key) for key in await keys.of_app(prefect, app.name)]


async def revoke(prefect: RunStore, app: App, which: str) -> ListedKey:
    """Have a key open nothing any more; an API that has just seen it refuses it 5 s later.

    Args:
        which: its id or its name.

    Raises:
        NotFoundError: there is none; the message names those that there are.
    """
    known = await keys.of_app(prefect, app.name)
    for key in known:
        if which in (key.id, key.name):
            await keys.revoke(prefect, key)
            return _listed(key)
    there = ", ".join(f"{key.id} ({key.name})" for key in known) or "none"
    raise NotFoundError(f"There is no key {which!r}; there are: {there}.")


def _listed(key: keys.Key) -> ListedKey:
    return ListedKey(key.id, key.name, key.scope, key.created_at)
