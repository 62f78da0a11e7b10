"""Addresses of Prefect's UI."""

from __future__ import annotations

from prefect.settings import get_current_settings


def ui_url(api_url: str) -> str:
    """The address of the UI that belongs to an API address."""
    configured = get_current_settings().ui_url
    return configured or api_url.removesuffix("/api")
