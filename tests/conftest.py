"""Fixtures for every layer: a real Prefect server for the session, on its own home and port."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import postgres
from tests.support import prefect_server


def pytest_configure() -> None:
    """Keep this machine's own Prefect and Athanore settings away from the tests.

    What does not say which Prefect it means fails, instead of starting one of its own for minutes.
    """
    for name in list(os.environ):
        if name.startswith(("PREFECT_", "ATHANORE_")) and not name.startswith("ATHANORE_TEST_"):
            del os.environ[name]
    os.environ["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "false"


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The PREFECT_HOME of the session's server."""
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture(scope="session")
def prefect_api(prefect_home: Path) -> Iterator[str]:
    """The API address of a real Prefect server that lives as long as the session.

    It keeps its data in PostgreSQL where that runs, because that is several times faster than
    SQLite; the acceptance tests use SQLite.
    """
    with ExitStack() as stack:
        url = stack.enter_context(postgres.database()) if postgres.is_there() else None
        yield stack.enter_context(prefect_server(prefect_home, url))
