"""Addresses of Prefect's API and UI, by Prefect's settings."""

from __future__ import annotations

from prefect.client.schemas.objects import FlowRun
from prefect.settings import get_current_settings

from athanore.http_client.addresses import address_of, read_address, without_login
from athanore.runs.port import RunStore


def named_api() -> str | None:
    """The address of the API that PREFECT_API_URL names, if it names one.

    Raises:
        ConfigurationError: it is no address.
    """
    url = (get_current_settings().api.url or "").strip()
    return read_address(url, "PREFECT_API_URL", "http://127.0.0.1:4200/api") if url else None


def own_api() -> str:
    """The address of the API of a server on this machine, on the port of Prefect's settings."""
    api = get_current_settings().server.api
    return f"{address_of(api.host, api.port)}/api"


def ui_url(api_url: str) -> str:
    """The address of the UI that belongs to an API address; it has no password in it."""
    url = get_current_settings().ui_url or api_url.rstrip("/").removesuffix("/api")
    return without_login(url.strip().rstrip("/"))


def run_url(prefect: RunStore, run: FlowRun) -> str:
    """The page of a run in the UI of the Prefect that a prefect talks to."""
    return f"{ui_url(prefect.address)}/runs/flow-run/{run.id}"
