"""Which usage limits of providers concern an app: those that are reached or near."""

from __future__ import annotations

from hashlib import sha256

from athanore.runs.capacity import limits
from athanore.runs.capacity.limits import Witness
from athanore.runs.port import RunStore
from athanore.runtime.accounts import account_of
from athanore.runtime.apps import App
from athanore.runtime.routes.route_registry import Routes
from athanore.services.showing.views import ProviderLimit, SeenBy

_DIGITS = 8


async def provider_limits(prefect: RunStore, app: App, routes: Routes) -> list[ProviderLimit]:
    """Read the limits of an app's accounts: of those that its agents have told, and of its routes.

    Which account a route has depends on the environment: a worker's may be another one.
    """
    reached, near = await limits.known(prefect, app.clock.now())
    accounts = {account_of(app, known.route) for known in routes.values()}
    found = [
        ProviderLimit(_label(x.account), x.kind, True, x.until, None, _seen_by(x.seen_by))
        for x in reached
        if x.account in accounts or x.seen_by.app == app.name
    ]
    found += [
        ProviderLimit(_label(x.account), x.near, False, x.resets_at, x.used, _seen_by(x.seen_by))
        for x in near
        if x.account in accounts or x.seen_by.app == app.name
    ]
    return sorted(found, key=lambda x: (not x.reached, x.account, x.kind))


def _label(account: str) -> str:
    """An account for people: its kind, and so much of a digest that two are told apart."""
    kind, _, rest = account.rpartition(":")
    return f"{kind or 'account'}:{sha256(rest.encode()).hexdigest()[:_DIGITS]}"


def _seen_by(witness: Witness) -> SeenBy:
    return SeenBy(witness.app, witness.route, witness.host)
