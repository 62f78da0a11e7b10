"""Whether an address may be bound: nobody else may reach an API that asks for no token."""

from __future__ import annotations

from athanore.errors import ConfigurationError
from athanore.http_client.hosts import is_loopback
from athanore.settings import Settings


def check_binding(settings: Settings, host: str) -> None:
    """Refuse to serve an open API to other machines.

    Args:
        host: the address that is bound.

    Raises:
        ConfigurationError: the address is not loopback and `api_auth` is not `token`, or there is
            no way for an operator to get in.
    """
    if settings.api_auth == "token":
        if settings.api_key is None or not settings.api_key.get_secret_value():
            raise ConfigurationError(
                'api_auth="token" needs a key for operators: set ATHANORE_API_KEY.'
            )
        return
    if not is_loopback(host):
        raise ConfigurationError(
            f"The task API would be open to everybody who can reach {host!r}; set "
            "ATHANORE_API_AUTH=token and ATHANORE_API_KEY, or bind 127.0.0.1."
        )
