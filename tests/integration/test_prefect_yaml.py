"""Production with real processes: `prefect.yaml`, `athanore deploy`, three kinds of worker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prefect.flows import load_flow_from_entrypoint

from athanore.deployments.plan import AGENT_ENTRYPOINT, POLL_ENTRYPOINT, plan
from athanore.deployments.prefect_yaml import apps_in, prefect_yaml
from athanore.errors import ConfigurationError
from athanore.runtime import apps
from tests.harness import Prefect, app_name
from tests.support import LOCAL, clean_environment, free_port, stop_group, wait_until

ROOT = Path(__file__).parents[2]
EXAMPLE = "deployments/example_app.py:dispatcher"
BIN = Path(sys.executable).parent


class Site:
    """A folder where people give commands, a board in it, and a Prefect."""

    def __init__(self, folder: Path, home: Path, prefect_api: str) -> None:
        self.folder = folder
        self.board = folder / "board.json"
        self.port = free_port()
        self.prefect_api = prefect_api
        self.env = clean_environment(home) | {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PREFECT_API_URL": prefect_api,
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "ATHANORE_API_PORT": str(self.port),
            "EXAMPLE_BOARD": str(self.board),
        }

    def run(self, *command: str, **env: str) -> str:
        """Give a command that must succeed; returns what it says."""
        result = subprocess.run(
            command, cwd=self.folder, env=self.env | env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert result.returncode == 0, f"{command}\n{result.stdout[-3000:]}"
        return result.stdout

    @contextmanager
    def started(self, *command: str, **env: str) -> Generator[subprocess.Popen[bytes]]:
        """Run a command for as long as the block takes."""
        log = self.folder / f"{command[0]}-{command[1]}-{free_port()}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.env | env, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        try:
            yield process
        except BaseException:
            sys.stderr.write(f"--- {' '.join(command)}\n{log.read_text()[-3000:]}\n")
            raise
        finally:
            stop_group(process)

    def queues(self) -> dict[str, list[str]]:
        """The ids of the tasks in each queue of the board."""
        queues = json.loads(self.board.read_text())["queues"]
        return {name: [t["id"] for t in tasks] for name, tasks in queues.items()}

    def done(self, *tasks: str) -> None:
        """Wait until these tasks are in `Done`."""
        wait_until(f"{tasks} are done", lambda: set(tasks) <= set(self.queues()["Done"]), 150)

    def forget(self, app: str) -> None:
        """Delete all that Prefect has of an app: the next test has its names, and another board."""
        deployments = {"deployments": {"tags": {"all_": [f"app:{app}"]}}}
        agents = {"flow_runs": {"tags": {"all_": [f"app:{app}", "agent-run"]}}}
        for kind, body in (("deployments", deployments), ("flow_runs", agents)):
            url = f"{self.prefect_api}/{kind}/bulk_delete"
            LOCAL.post(url, json=body, timeout=120).raise_for_status()
        for kind in ("agents", "polls"):
            LOCAL.delete(f"{self.prefect_api}/work_pools/{app}-{kind}", timeout=120)
        variables = LOCAL.post(f"{self.prefect_api}/variables/filter", json={}, timeout=120).json()
        for one in variables:
            if one["name"].startswith("athanore_app_") and one["value"]["name"] == app:
                LOCAL.delete(f"{self.prefect_api}/variables/{one['id']}", timeout=120)


@pytest.fixture
def site(tmp_path: Path, prefect_home: Path, prefect_api: str) -> Generator[Site]:
    """What a checkout has of the example, with a board of two tasks."""
    folder = tmp_path / "checkout"
    for part in ("flows", "deployments"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "prefect.yaml", folder)
    site = Site(folder, prefect_home, prefect_api)
    shutil.copy(folder / "deployments/example_board.json", site.board)
    yield site
    site.forget("example")


def test_the_shipped_file_is_what_the_app_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    wanted = prefect_yaml(plan(apps.load(EXAMPLE), EXAMPLE), EXAMPLE)
    assert (ROOT / "prefect.yaml").read_text() == wanted, (
        f"write it again: athanore prefect-yaml {EXAMPLE} -o prefect.yaml"
    )
    assert apps_in(ROOT / "prefect.yaml") == [EXAMPLE]


def test_every_entrypoint_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    content: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    entrypoints = {d["entrypoint"] for d in content["deployments"]}
    assert entrypoints == {"flows/poll_route.py:poll_route", "flows/run_agent.py:run_agent"}
    loaded = {
        e: load_flow_from_entrypoint(e, use_placeholder_flow=False).name
        for e in (*entrypoints, POLL_ENTRYPOINT, AGENT_ENTRYPOINT)
    }
    assert loaded == {
        "flows/poll_route.py:poll_route": "poll-route",
        "flows/run_agent.py:run_agent": "run-agent",
        POLL_ENTRYPOINT: "poll-route",
        AGENT_ENTRYPOINT: "run-agent",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("deployments: [", "cannot be read"),
        ("deployments:\n- name: theirs\n  parameters: {x: 1}\n", "has the parameters app and"),
        ("[]", "has the parameters app and"),
    ],
)
def test_a_prefect_yaml_of_somebody_else(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "prefect.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        apps_in(file)


@pytest.mark.timeout(900)
@pytest.mark.smoke
def test_prefect_deploy_all_and_prefects_own_commands(site: Site) -> None:
    prefect = Prefect(site.prefect_api, "example")
    assert "created work pool 'example-agents' (limit 2)" in site.run("athanore", "pools")
    assert "nothing to change" in site.run("athanore", "pools")
    site.run("prefect", "--no-prompt", "deploy", "--all")
    pool = prefect.get("/work_pools/example-agents")
    assert (pool["type"], pool["concurrency_limit"]) == ("athanore", 2)
    queues = prefect.post("/work_pools/example-agents/queues/filter", {})
    assert {q["name"]: q["priority"] for q in queues} == {
        "Review": 1, "Docs": 2, "Todo": 3, "default": 4,
    }  # fmt: skip
    tags = {"deployments": {"tags": {"all_": ["app:example"]}}}
    assert len(prefect.post("/deployments/filter", tags)) == 6

    worker = ("prefect", "worker", "start", "--type", "athanore", "--pool")
    with ExitStack() as stack:
        stack.enter_context(site.started("athanore", "api", EXAMPLE))
        for pool_name in ("example-agents", "example-polls"):
            stack.enter_context(site.started(*worker, pool_name, ATHANORE_APP=EXAMPLE))
        # As anybody would: with Prefect's own command, by the deployment's name.
        site.run("prefect", "deployment", "run", "run-agent/example:Todo", "--param", "task_id=2")
        site.done("1", "2")
    ended = [r["state_name"] for r in prefect.runs("1")]
    assert ended == ["Completed"] * 3
    versions = {r["deployment_version"] for r in prefect.runs("1")}
    assert versions == {plan(apps.load(str(site.folder / EXAMPLE)), EXAMPLE).version}


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_two_workers_share_a_board(site: Site) -> None:
    site.run("athanore", "deploy", EXAMPLE)
    assert "nothing to change" in site.run("athanore", "deploy", EXAMPLE)
    with ExitStack() as stack:
        api = stack.enter_context(site.started("athanore", "api", EXAMPLE))
        workers = [
            stack.enter_context(site.started("athanore", "worker", EXAMPLE)) for _ in range(2)
        ]
        url = f"http://127.0.0.1:{site.port}"
        wait_until("the task API answers", lambda: _answers(f"{url}/queues"))
        ids = ["1", "2"]
        for number in range(4):
            body = {"queue_name": "Todo", "name": f"Task {number}"}
            ids.append(LOCAL.post(f"{url}/tasks", json=body, timeout=60).json()["id"])
        site.done(*ids)
        prefect = Prefect(site.prefect_api, "example")
        version = plan(apps.load(str(site.folder / EXAMPLE)), EXAMPLE).version
        for task_id in ids:
            assert {r["labels"]["athanore.version"] for r in prefect.runs(task_id)} == {version}
            routes = [r["parameters"]["queue_name"] for r in prefect.runs(task_id)]
            assert sorted(routes) == ["Docs", "Review", "Todo"], "one run a stage"
        for process in (*workers, api):
            process.terminate()
        assert [p.wait(120) for p in (*workers, api)] == [0, 0, 0]


@pytest.mark.nightly
def test_prefect_deploy_has_one_poll_of_a_route_at_a_time_in_process_pools(site: Site) -> None:
    option = ("--pool-type", "process")
    site.run("athanore", "prefect-yaml", EXAMPLE, *option, "-o", "prefect.yaml")
    said = site.run("athanore", "pools", *option)
    assert "starts a Python process for every poll and every agent" in " ".join(said.split())
    site.run("prefect", "--no-prompt", "deploy", "--all")
    prefect = Prefect(site.prefect_api, "example")
    tags = {"deployments": {"tags": {"all_": ["app:example"]}}}
    found: list[dict[str, Any]] = prefect.post("/deployments/filter", tags)
    polls = [d for d in found if "poll_route" in d["entrypoint"]]
    assert len(polls) == 3
    for poll in polls:
        assert poll["global_concurrency_limit"]["limit"] == 1
        assert poll["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert [d["name"] for d in found if d not in polls and d["global_concurrency_limit"]] == []


STOCK = """\
from athanore import AgentDispatcher, JsonFileAdapter

dispatcher = AgentDispatcher(
    "true", name={name!r}, poll_interval=3600, queue_backend=JsonFileAdapter("board.json")
)

@dispatcher.route("Todo", done_queue="Done")
def todo(task_id: str, task_name: str) -> str:
    return task_name
"""


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_prefects_process_worker_runs_the_same_flows(site: Site) -> None:
    name = app_name("stock")
    (site.folder / "run.py").write_text(STOCK.format(name=name))
    said = site.run("athanore", "deploy", "run.py", "--pool-type", "process")
    assert f"created deployment 'run-agent/{name}:Todo'" in said
    assert "Prefect answers without credentials" in said
    try:
        with ExitStack() as stack:
            for kind in ("agents", "polls"):
                worker = ("prefect", "worker", "start", "--pool", f"{name}-{kind}")
                stack.enter_context(site.started(*worker))
            site.run("prefect", "deployment", "run", f"poll-route/{name}:Todo")
            site.done("1", "2")
            prefect = Prefect(site.prefect_api, name)
            assert prefect.ended("1")["state_name"] == "Completed"
            assert len(prefect.runs("1")) == 1
    finally:
        site.forget(name)


def _answers(url: str) -> bool:
    try:
        return LOCAL.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
