"""A pipeline of three stages on every board, as a user runs it, through what can happen meanwhile.

`python run.py` is killed, the tracker refuses because of a limit, and the token is taken away and
given back: no task is lost or given up, and none is begun again without need.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil
import pytest

from athanore.queue_adapters.base import QueueAdapter
from athanore.queue_adapters.sql import SqlBoard
from athanore.testing.doubles.github import server as github
from athanore.testing.doubles.gitlab import server as gitlab
from athanore.testing.doubles.jira import server as jira
from athanore.testing.doubles.linear import server as linear
from athanore.testing.doubles.planka.server import BOT_KEY, planka_double
from tests import postgres
from tests.acceptance.system import System
from tests.support import wait_until

OF_WORKERS = {"ATHANORE_WORKER_LOST_AFTER": "20", "ATHANORE_WORKER_LIMIT": "1"}
CLI = "from athanore.cli import main; main()"
QUEUES = ("Todo", "Review", "Publish", "In Progress", "Failed", "Done")
STAGES = QUEUES[:3]
TASKS = 5

SCRIPT = """\
import sys
from athanore import AgentDispatcher
from {module} import {name}

dispatcher = AgentDispatcher(
    name="pipeline", queue_backend={board}, command=f"{{sys.executable}} agent.py",
    poll_interval=3, max_concurrent_agents=2, max_retries=1, dead_letter_queue="Failed",
)

@dispatcher.route("{prefix}Todo", done_queue="{prefix}Review", resume_after=2)
@dispatcher.route("{prefix}Review", done_queue="{prefix}Publish", resume_after=2)
@dispatcher.route("{prefix}Publish", done_queue="{prefix}Done", resume_after=2)
def work(task_id, task_name):
    return task_name

dispatcher.run()
"""

AGENT = """\
import os, sys, time
with open("starts.txt", "a") as file:
    file.write(f"{os.environ['ATHANORE_TASK_ID']} {os.environ['ATHANORE_QUEUE']}\\n")
time.sleep(1)
"""


HOLDING = """sleep(3)
while os.path.exists("hold"):
    time.sleep(0.1)"""


@dataclass(frozen=True)
class Site:
    """A board, and what a test does to its tracker.

    Attributes:
        module, expression: how run.py makes the board.
        adapter: the board for the test itself.
        limit: has the tracker refuse everything for so many seconds.
        rob: takes the token away, and returns what gives it back; None if there is none.
        violations: what was wrong with the requests.
        prefix: what the names of queues begin with.
    """

    module: str
    expression: str
    adapter: Callable[[], AbstractContextManager[QueueAdapter]]
    limit: Callable[[float], None] = lambda _: None
    rob: Callable[[], Callable[[], None] | None] = lambda: None
    violations: Callable[[], list[str]] = list
    prefix: str = ""

    def script(self) -> str:
        """What a user would write."""
        name = self.expression.partition("(")[0]
        return SCRIPT.format(
            module=self.module, name=name, board=self.expression, prefix=self.prefix
        )


@contextmanager
def on_github() -> Generator[Site]:
    labels = [f"agent:{queue}" for queue in QUEUES]
    with github.github_double(labels=labels) as double:
        yield Site(
            "athanore",
            f"GitHubBoard({double.repository!r}, url={double.url!r}, token={github.TOKEN!r})",
            lambda: closing(double.board().create_adapter()),
            double.refuse_for,
            lambda: _robbed(double),
            lambda: double.wire.violations,
        )


@contextmanager
def on_a_github_project() -> Generator[Site]:
    with github.github_double(project=("octo-org", 5)) as double:
        double.project.start_anew([*QUEUES])
        yield Site(
            "athanore",
            f"GitHubProjectBoard('octo-org', 5, repository={double.repository!r}, "
            f"url={double.url!r}, token={github.TOKEN!r})",
            lambda: closing(double.project_board().create_adapter()),
            double.refuse_for,
            lambda: _robbed(double),
            lambda: double.wire.violations,
        )


@contextmanager
def on_gitlab() -> Generator[Site]:
    labels = [f"agent::{queue}" for queue in QUEUES]
    with gitlab.gitlab_double(labels=labels) as double:
        yield Site(
            "athanore",
            f"GitLabBoard({double.state.path!r}, url={double.url!r}, token={gitlab.TOKEN!r})",
            lambda: closing(double.board().create_adapter()),
            double.refuse_for,
            lambda: _robbed(double),
            lambda: double.wire.violations,
        )


@contextmanager
def on_jira() -> Generator[Site]:
    with jira.jira_double(statuses=QUEUES) as double:
        yield Site(
            "athanore",
            f"JiraBoard({double.url!r}, {double.state.key!r}, email={jira.EMAIL!r}, "
            f"token={jira.TOKEN!r})",
            lambda: closing(double.board().create_adapter()),
            double.refuse_for,
            lambda: _robbed(double),
            lambda: double.wire.violations,
        )


@contextmanager
def on_linear() -> Generator[Site]:
    states = dict.fromkeys(QUEUES[:-1], "started") | {"Done": "completed"}
    with linear.linear_double(states=states) as double:
        yield Site(
            "athanore",
            f"LinearBoard({double.state.key!r}, url='{double.url}/graphql', "
            f"token={linear.TOKEN!r})",
            lambda: closing(double.board().create_adapter()),
            double.refuse_for,
            lambda: _robbed(double),
            lambda: double.wire.violations,
        )


@contextmanager
def on_planka() -> Generator[Site]:
    with planka_double(lists=()) as double:
        double.add_board("P", "B", lists=QUEUES)
        yield Site(
            "athanore.queue_adapters.planka",
            f"PlankaBackend({double.url!r}, token={BOT_KEY!r})",
            lambda: closing(double.board().create_adapter()),
            double.refuse_for,
            lambda: _robbed(double),
            prefix="P.B.",
        )


@contextmanager
def on_sqlite() -> Generator[Site]:
    # From its own folder, which is the test's folder as well.
    yield Site(
        "athanore.queue_adapters.sql",
        "SqlBoard('sqlite:///board.db')",
        lambda: closing(SqlBoard("sqlite:///board.db")),
    )


@contextmanager
def on_postgresql() -> Generator[Site]:
    postgres.require()
    with postgres.database() as address:
        address = address.replace("+asyncpg", "+psycopg")
        yield Site(
            "athanore.queue_adapters.sql",
            f"SqlBoard({address!r})",
            lambda: closing(SqlBoard(address)),
        )


BOARDS: dict[str, Callable[[], AbstractContextManager[Site]]] = {
    "github": on_github,
    "github-project": on_a_github_project,
    "gitlab": on_gitlab,
    "jira": on_jira,
    "linear": on_linear,
    "planka": on_planka,
    "sqlite": on_sqlite,
    "postgresql": on_postgresql,
}


class _Double(Protocol):
    def revoke(self) -> Any: ...
    def grant(self, account: Any) -> None: ...


def _robbed(double: _Double) -> Callable[[], None]:
    account = double.revoke()
    return lambda: double.grant(account)


@pytest.fixture(params=BOARDS)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with BOARDS[request.param]() as site:
        yield site


def begun(system: System) -> list[str]:
    """The starts of agents so far, as `task queue`."""
    return (system.folder / "starts.txt").read_text().splitlines()


def go(site: Site, system: System, board: QueueAdapter, tasks: Sequence[str]) -> None:
    """Run the app until all is done, and have everything happen to it."""
    done = f"{site.prefix}Done"
    system.start()
    wait_until("agents are at work", lambda: len(begun(system)) >= 2)
    site.limit(3)
    wait_until("it goes on after the limit", lambda: len(begun(system)) >= 5)
    system.signal(signal.SIGKILL)
    system.wait()
    system.start()
    wait_until("it goes on after the kill", lambda: len(begun(system)) >= 9, 300)
    if (give_back := site.rob()) is not None:
        said = "nothing is dispatched until"
        wait_until("the app notices it", lambda: said in system.log.read_text(), 120)
        give_back()
    for task in tasks:
        wait_until(f"{task} is done", lambda t=task: board.get_task(t).queue_name == done, 300)
    system.signal(signal.SIGTERM)
    assert system.wait() == 0


@pytest.mark.nightly
def test_a_pipeline_goes_on_after_a_kill_a_limit_and_a_revoked_token(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = System(tmp_path / "site", site.script())
    monkeypatch.chdir(system.folder)
    (system.folder / "agent.py").write_text(AGENT)
    (system.folder / "starts.txt").touch()

    try:
        with site.adapter() as board:
            if isinstance(board, SqlBoard):
                board.prepare(QUEUES)
            tasks = [board.create_task(f"{site.prefix}Todo", f"Task {n}").id for n in range(TASKS)]
            go(site, system, board, tasks)
        counts = Counter(begun(system))
        assert set(counts) == {f"{task} {site.prefix}{stage}" for task in tasks for stage in STAGES}
        # Two agents were at work when the app was killed, and are started again.
        assert sum(counts.values()) <= len(counts) + 2, counts
        assert site.violations() == []
        assert system.processes() == []
    finally:
        system.kill()


class Worker:
    """A second worker of a system's app, as `athanore worker` starts it."""

    def __init__(self, system: System, name: str) -> None:
        self._log = (system.folder / name).open("wb")
        env = system.environment | OF_WORKERS
        env["PREFECT_API_URL"] = f"http://127.0.0.1:{system.prefect_port}/api"
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLI, "worker", "run.py:dispatcher"],
            cwd=system.folder, env=env, stdin=subprocess.DEVNULL, stdout=self._log,
            stderr=self._log, start_new_session=True,
        )  # fmt: skip

    def end(self, sign: signal.Signals) -> int:
        """Send a signal, and wait for the end."""
        self.process.send_signal(sign)
        code = self.process.wait(60)
        self._log.close()
        return code


def agents_of(system: System) -> Counter[int]:
    """How many living agents each worker has, by the worker's process."""
    found: Counter[int] = Counter()
    for process in psutil.process_iter():
        try:
            if process.environ().get("PREFECT_HOME") == str(system.home) and (
                "agent.py" in process.cmdline()
            ):
                found.update(parent.pid for parent in process.parents()[:3])
        except psutil.Error:
            continue
    return found


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_two_workers_share_a_pipeline_and_each_is_killed(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded = 'if __name__ == "__main__":\n    dispatcher.run()'
    system = System(tmp_path / "site", site.script().replace("dispatcher.run()", guarded))
    monkeypatch.chdir(system.folder)
    (system.folder / "agent.py").write_text(AGENT.replace("sleep(1)", HOLDING))
    (system.folder / "starts.txt").touch()
    try:
        with site.adapter() as board:
            if isinstance(board, SqlBoard):
                board.prepare(QUEUES)
            tasks = [board.create_task(f"{site.prefix}Todo", f"Task {n}").id for n in range(TASKS)]
            share(site, system, board, tasks)
        counts = Counter(begun(system))
        assert set(counts) == {f"{task} {site.prefix}{stage}" for task in tasks for stage in STAGES}
        # One agent of each that was killed, and perhaps that of the other, is started again.
        assert sum(counts.values()) <= len(counts) + 4, counts
        assert site.violations() == []
        assert system.processes() == []
    finally:
        system.kill()


def share(site: Site, system: System, board: QueueAdapter, tasks: Sequence[str]) -> None:
    """Have two workers do all, while each is killed once and the tracker refuses."""
    done = f"{site.prefix}Done"
    system.start(**OF_WORKERS)
    second = Worker(system, "second.log")
    assert system.process is not None
    both = {system.process.pid, second.process.pid}
    wait_until("both workers have agents", lambda: both <= agents_of(system).keys(), 120)
    second.end(signal.SIGKILL)
    site.limit(3)
    count = len(begun(system))
    wait_until("it goes on without it", lambda: len(begun(system)) >= count + 2, 300)
    hold = system.folder / "hold"
    hold.touch()  # else all may be done before the next one has started
    third = Worker(system, "third.log")
    wait_until("the next one helps", lambda: third.process.pid in agents_of(system), 120)
    hold.unlink()
    system.signal(signal.SIGKILL)
    system.wait()
    system.start(**OF_WORKERS)
    if (give_back := site.rob()) is not None:
        said = "nothing is dispatched until"
        wait_until("it is noticed", lambda: said in system.log.read_text(), 120)
        give_back()
    for task in tasks:
        wait_until(f"{task} is done", lambda t=task: board.get_task(t).queue_name == done, 600)
    assert third.end(signal.SIGTERM) == 0
    system.signal(signal.SIGTERM)
    assert system.wait() == 0
