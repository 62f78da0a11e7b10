"""Fixtures for every layer: the Prefect server that `athanore up` starts, and how tests get it.

Tests run on SQLite, as users do from the first day. What depends on the database (what writes at
the same time, is ordered, is recovered) is marked `postgres`, and runs at night on PostgreSQL too.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import hypothesis
import pytest

from athanore.http_client import accounts
from tests import postgres
from tests.gates import Gates
from tests.postgres import POSTGRESQL, SQLITE
from tests.prefect_servers import (
    PORT,
    PORT_VARIABLE,
    OthersServers,
    OwnServers,
    Servers,
    SharedServers,
)


def pytest_configure(config: pytest.Config) -> None:
    """Keep this machine's own Prefect and Athanore settings away from the tests.

    What does not say which Prefect it means fails, instead of starting one of its own for minutes.
    """
    for name in list(os.environ):
        if name.startswith(("PREFECT_", "ATHANORE_")) and not name.startswith("ATHANORE_TEST_"):
            del os.environ[name]
    os.environ["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "false"
    # A shell that starts pytest in the background has it ignore Ctrl-C, and all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    is_worker = hasattr(config, "workerinput")
    if is_worker or not config.getoption("numprocesses", None):
        # For events it would all the same, and leave that server running. Imported here, it finds
        # none of the settings that were removed.
        from prefect.events import worker as events

        events.should_emit_events_to_ephemeral_server = lambda: False
    # How long an example takes says more about what else the machine does than about the code.
    patient = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=patient)
    hypothesis.settings.load_profile("patient")
    home = os.environ["PREFECT_HOME"] = mkdtemp(prefix="athanore-tests-")
    config.add_cleanup(partial(shutil.rmtree, home, ignore_errors=True))
    config.pluginmanager.register(Gates(config))
    if not is_worker:
        config.pluginmanager.register(SharedServers())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked `postgres` on both databases, on PostgreSQL at night."""
    marked = metafunc.definition.get_closest_marker("postgres") is not None
    if marked and "database" in metafunc.fixturenames:
        kinds = [SQLITE, pytest.param(POSTGRESQL, marks=pytest.mark.nightly)]
        metafunc.parametrize("database", kinds, indirect=True, scope="session")


@pytest.fixture(scope="session")
def prefect_servers(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Servers]:
    """The Prefect servers of the session."""
    told: dict[str, Any] = getattr(pytestconfig, "workerinput", {})
    if port := told.get(PORT) or os.environ.get(PORT_VARIABLE):
        yield OthersServers(int(port))
        return
    with ExitStack() as stack:
        yield OwnServers(tmp_path_factory.mktemp("prefect"), stack)


@pytest.fixture(scope="session")
def database(request: pytest.FixtureRequest) -> str:
    """The database of the Prefect server that a test gets: SQLite, if it does not say otherwise."""
    return getattr(request, "param", SQLITE)


@pytest.fixture(scope="session")
def prefect_home(prefect_servers: Servers, database: str) -> Path:
    """The PREFECT_HOME of the server at `prefect_api`."""
    return prefect_servers.home(database)


@pytest.fixture(scope="session")
def prefect_api(prefect_servers: Servers, database: str) -> str:
    """The address of the API of a Prefect server as `athanore up` starts it."""
    if database == POSTGRESQL:
        postgres.require()
    return prefect_servers.url(database)


@pytest.fixture(autouse=True)
def no_limit_stays() -> None:
    """Forget the limits that clients share: the servers of tests begin anew with each test."""
    accounts.of_this_process.forget()


@pytest.fixture(autouse=True)
def no_schedule_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """Delete what the apps of a test have deployed: the server would make polls of them for ever.

    Each of them becomes late, which costs the server as much as a poll. Apps that were named by
    fixtures of a wider scope are theirs to delete.
    """
    if "prefect_api" not in request.fixturenames:
        yield
        return
    from tests import harness  # imports Prefect, for which most tests have no use

    prefect_api: str = request.getfixturevalue("prefect_api")
    before = len(harness.named)
    yield
    for name in harness.named[before:]:
        harness.tidy_up(prefect_api, name)
