"""The queue adapters' contract on Planka: on the double, and on a real server where one is given.

A real server needs ATHANORE_TEST_PLANKA_URL and ATHANORE_TEST_PLANKA_TOKEN, an admin's API key.
Each test makes a project of its own there and removes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from athanore.queue_adapters.base import QueueAdapter
from athanore.queue_adapters.planka.backend import PlankaBackend
from athanore.testing.doubles.planka.server import ADMIN_KEY, planka_double
from athanore.testing.queue_contract import QueueAdapterContract
from tests.planka.site import Site, fresh_board, site_with_users

PROJECT, BOARD = "Athanore v1.0 contract", "Main"
USERS = ("Ada of Athanore", "Grace of Athanore")


@pytest.fixture(scope="module")
def double_site() -> Iterator[Site]:
    with planka_double(lists=()) as server, site_with_users(server.url, ADMIN_KEY, USERS) as site:
        yield site


@pytest.fixture(scope="module")
def real_site() -> Iterator[Site]:
    url = os.environ.get("ATHANORE_TEST_PLANKA_URL")
    token = os.environ.get("ATHANORE_TEST_PLANKA_TOKEN")
    if not url or not token:
        pytest.skip("ATHANORE_TEST_PLANKA_URL and ATHANORE_TEST_PLANKA_TOKEN are not set")
    with site_with_users(url, token, USERS) as site:
        yield site


class PlankaContract(QueueAdapterContract):
    """The contract on a fresh board; subclasses give the server, in the fixture `site`."""

    assignees = USERS
    labels = ("bug", "urgent")
    missing_id = "1"

    def queue_name(self, name: str) -> str:
        return f"{PROJECT}.{BOARD}.{name}"

    @pytest.fixture
    def adapter(self, site: Site) -> Iterator[QueueAdapter]:
        lists = ("Todo", "In Progress", "Done")
        with fresh_board(site, PROJECT, BOARD, lists, self.labels) as board_id:
            backend = PlankaBackend(site.url, token=site.token, boards=[board_id])
            adapter = backend.create_adapter()
            yield adapter
            adapter.close()


class TestPlankaDouble(PlankaContract):
    @pytest.fixture
    def site(self, double_site: Site) -> Site:
        return double_site


class TestRealPlanka(PlankaContract):
    @pytest.fixture
    def site(self, real_site: Site) -> Site:
        return real_site
