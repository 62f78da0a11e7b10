"""How git logs in where a repository is fetched from, and where it is published.

A forge is asked for its login each time: that of a GitHub App is renewed every hour.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from athanore.forges.base import Forge
from athanore.workspaces.git.address import Address


async def source(repo: str | Path, forge: Forge | None) -> Address:
    """Where a repository is fetched from; with the forge's login, if it is the forge's own.

    Raises:
        PublishError: the forge gives no login.
    """
    address = Address(repo)
    if forge is None or address.has_login or not address.is_repository_of(Address(forge.remote)):
        return address
    return Address(repo, await _login(forge))


async def target(repo: str | Path, forge: Forge | None) -> Address:
    """Where branches of a repository are published.

    Raises:
        PublishError: the forge gives no login.
    """
    return Address(repo) if forge is None else Address(forge.remote, await _login(forge))


async def _login(forge: Forge) -> str:
    return await asyncio.to_thread(lambda: forge.login)  # a forge may ask for one
