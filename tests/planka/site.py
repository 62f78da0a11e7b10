"""Makes and removes users and boards over HTTP, on the double as on a real server."""

from __future__ import annotations

import secrets
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest


@dataclass(frozen=True)
class Site:
    """A Planka server, the API key of an admin, and users that may be put on boards."""

    url: str
    token: str
    user_ids: Sequence[str] = field(default=())

    @contextmanager
    def client(self) -> Generator[httpx.Client]:
        """Raw access, apart from the adapter under test."""
        headers = {"X-Api-Key": self.token}
        with httpx.Client(base_url=f"{self.url}/api/", headers=headers, timeout=30) as client:
            yield client


def post(client: httpx.Client, path: str, **body: object) -> dict[str, Any]:
    """Create something and return it."""
    response = client.post(path, json=body)
    response.raise_for_status()
    return response.json()["item"]


@contextmanager
def site_with_users(url: str, token: str, names: Sequence[str]) -> Generator[Site]:
    """A server with users of these names, who are removed afterwards; needs an admin's key."""
    site = Site(url.rstrip("/"), token)
    with site.client() as client:
        role = client.get("users/me").raise_for_status().json()["item"]["role"]
        if role != "admin":
            pytest.skip("ATHANORE_TEST_PLANKA_TOKEN must be an admin's: the suite makes users")
        ids: list[str] = []
        try:
            for name in names:
                user = post(
                    client,
                    "users",
                    email=f"athanore-{secrets.token_hex(4)}@example.com",
                    password=secrets.token_urlsafe(24),
                    role="boardUser",
                    name=name,
                )
                ids.append(user["id"])
            yield Site(site.url, token, ids)
        finally:
            for user_id in ids:
                client.delete(f"users/{user_id}").raise_for_status()


@contextmanager
def fresh_board(
    site: Site, project: str, board: str, lists: Sequence[str], labels: Sequence[str]
) -> Generator[str]:
    """A new project with one board, its lists and labels; yields the board's id."""
    with site.client() as client:
        project_id = post(client, "projects", type="private", name=project)["id"]
        board_id = ""
        try:
            made = post(client, f"projects/{project_id}/boards", name=board, position=65536)
            board_id = made["id"]
            for user_id in site.user_ids:
                path = f"boards/{board_id}/board-memberships"
                post(client, path, userId=user_id, role="editor")
            for n, name in enumerate(lists, 1):
                post(
                    client, f"boards/{board_id}/lists", type="active", name=name, position=n * 65536
                )
            for n, name in enumerate(labels, 1):
                path = f"boards/{board_id}/labels"
                post(client, path, name=name, color="berry-red", position=n * 65536)
            yield board_id
        finally:
            if board_id:
                client.delete(f"boards/{board_id}").raise_for_status()
            client.delete(f"projects/{project_id}").raise_for_status()
