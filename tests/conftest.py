"""Fixtures for every layer: the Prefect server that `athanore up` starts, and how tests get it.

Tests run on SQLite, as users do from the first day. What depends on the database (what writes at
the same time, is ordered, is recovered) is marked `postgres`, and runs on PostgreSQL as well.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests import postgres
from tests.postgres import POSTGRESQL, SQLITE
from tests.support import prefect_server


def pytest_configure(config: pytest.Config) -> None:
    """Keep this machine's own Prefect and Athanore settings away from the tests.

    What does not say which Prefect it means fails, instead of starting one of its own for minutes.
    """
    for name in list(os.environ):
        if name.startswith(("PREFECT_", "ATHANORE_")) and not name.startswith("ATHANORE_TEST_"):
            del os.environ[name]
    os.environ["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "false"
    home = os.environ["PREFECT_HOME"] = mkdtemp(prefix="athanore-tests-")
    config.add_cleanup(partial(shutil.rmtree, home, ignore_errors=True))
    config.addinivalue_line("markers", "postgres: runs on SQLite, and on PostgreSQL as well")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked `postgres` on both databases."""
    marked = metafunc.definition.get_closest_marker("postgres") is not None
    if marked and "database" in metafunc.fixturenames:
        kinds = [SQLITE, POSTGRESQL]
        metafunc.parametrize("database", kinds, indirect=True, scope="session")


class PrefectServers:
    """The session's Prefect servers, one a database, each started when it is first needed."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._urls: dict[str, str] = {}

    def home(self, database: str) -> Path:
        """The PREFECT_HOME of a server."""
        return self._folder / database

    def url(self, database: str) -> str:
        """The address of a server's API."""
        if database not in self._urls:
            self._urls[database] = self._stack.enter_context(self._server(database))
        return self._urls[database]

    @contextmanager
    def _server(self, database: str) -> Generator[str]:
        if database == SQLITE:
            with prefect_server(self.home(database)) as api:
                yield api
            return
        postgres.require()
        with postgres.database() as url, prefect_server(self.home(database), url) as api:
            yield api


@pytest.fixture(scope="session")
def prefect_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServers]:
    """The Prefect servers of the session."""
    with ExitStack() as stack:
        yield PrefectServers(tmp_path_factory.mktemp("prefect"), stack)


@pytest.fixture(scope="session")
def database(request: pytest.FixtureRequest) -> str:
    """The database of the Prefect server that a test gets: SQLite, if it does not say otherwise."""
    return getattr(request, "param", SQLITE)


@pytest.fixture(scope="session")
def prefect_home(prefect_servers: PrefectServers, database: str) -> Path:
    """The PREFECT_HOME of the server at `prefect_api`."""
    return prefect_servers.home(database)


@pytest.fixture(scope="session")
def prefect_api(prefect_servers: PrefectServers, database: str) -> str:
    """The address of the API of a Prefect server as `athanore up` starts it."""
    return prefect_servers.url(database)
