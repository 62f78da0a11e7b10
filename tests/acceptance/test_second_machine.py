"""The steps of docs/fleet.md to a second machine, which reaches the first by a tunnel alone."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from athanore.queue_adapters.sql import SqlBoard
from tests import hosts
from tests.docs.pages import DOCS
from tests.harness import app_name
from tests.repositories import git
from tests.support import clean_environment, free_port, stop_group, wait_until

CLI = "from athanore.cli import main; main()"
SECRET = "a-long-secret-of-ours"

SCRIPT = """\
from athanore import AgentDispatcher
from athanore.queue_adapters.sql import SqlBoard

dispatcher = AgentDispatcher(
    name={name!r}, command="{python} agent.py {hold}", poll_interval=5, max_concurrent_agents=8,
    queue_backend=SqlBoard({board!r}),
)

@dispatcher.route("Todo", done_queue="Done")
def work(task_id: str, task_name: str) -> str:
    return task_name
"""

AGENT = """\
import json, os, pathlib, socket, sys, time
from urllib.request import ProxyHandler, Request, build_opener
request = Request(
    f"{os.environ['ATHANORE_API_URL']}/tasks/{os.environ['ATHANORE_TASK_ID']}/comments",
    method="POST", data=json.dumps({"comment": "from " + socket.gethostname()}).encode(),
    headers={
        "Content-Type": "application/json",
        "Authorization": "Bearer " + os.environ["ATHANORE_TOKEN"],
    },
)
build_opener(ProxyHandler({})).open(request, timeout=30).read()
while pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.1)
"""

# What `ssh -L` does: a port of the second machine's own is one of the first machine's.
TUNNEL = """\
import asyncio, sys
hub, *ports = sys.argv[1:]

async def main():
    async def copy(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    def relay(port):
        async def both(reader, writer):
            there, back = await asyncio.open_connection(hub, port)
            await asyncio.gather(copy(reader, back), copy(there, writer))
        return both

    for port in ports:
        await asyncio.start_server(relay(port), "127.0.0.1", port)
    await asyncio.Event().wait()

asyncio.run(main())
"""

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(400)]


def steps(machine: int, prefect: int, api: int) -> tuple[dict[str, str], list[str]]:
    """What the page has a reader set on a machine, and the command that it ends with."""
    page = (DOCS / "fleet.md").read_text().partition("## A second machine")[2]
    block = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)[machine]
    block = block.replace("...", SECRET).replace(":4200", f":{prefect}").replace(":8000", f":{api}")
    lines = block.splitlines()
    words = [word for line in lines if line.startswith("export ") for word in line.split()[1:]]
    env = dict(word.split("=", 1) for word in words)
    program, *command = lines[-1].split()
    assert program == "athanore"
    return env, command


def test_a_second_machine_takes_its_share_through_a_tunnel(tmp_path: Path) -> None:
    hosts.require()
    prefect, api, hold = free_port(), free_port(), tmp_path / "hold"
    hold.touch()
    board = SqlBoard(tmp_path / "board.db")
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    (first / "agent.py").write_text(AGENT)
    own = {"name": app_name("second"), "python": sys.executable, "hold": hold}
    (first / "run.py").write_text(SCRIPT.format(board=str(tmp_path / "board.db"), **own))
    git(first, "init", "-q", "-b", "main")
    git(first, "add", "run.py", "agent.py")
    git(first, "commit", "-q", "-m", "An app")
    git(tmp_path, "clone", "-q", str(first), str(second))
    (tmp_path / "tunnel.py").write_text(TUNNEL)
    common = {"PREFECT_SERVER_API_PORT": str(prefect), "ATHANORE_API_PORT": str(api)}
    on_first, up = steps(0, prefect, api)
    on_second, worker = steps(1, prefect, api)
    assert urlsplit(on_second["PREFECT_API_URL"]).port == prefect
    env = clean_environment(tmp_path / "home") | common | on_first
    with ExitStack() as stack:
        (host,) = stack.enter_context(hosts.hosts("second"))
        for port in (prefect, api):
            stack.enter_context(hosts.relayed(port, [host.hub]))
        log = stack.enter_context((tmp_path / "first.log").open("wb"))
        app = subprocess.Popen(
            [sys.executable, "-c", CLI, *up], cwd=first, env=env, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        stack.callback(stop_group, app, 60)
        wait_until("the app is up", lambda: b"API" in (tmp_path / "first.log").read_bytes(), 120)
        there = clean_environment(tmp_path / "home-2") | on_second
        ports = (str(prefect), str(api))
        tunnel = (sys.executable, str(tmp_path / "tunnel.py"), host.hub, *ports)
        stack.enter_context(host.running(*tunnel, cwd=second, env=there))
        program = (sys.executable, "-c", CLI, *worker)
        stack.enter_context(host.running(*program, cwd=second, env=there))

        def listed() -> str:
            return subprocess.run(
                [sys.executable, "-c", CLI, "workers"], cwd=first, check=True, timeout=120,
                env=env | {"PREFECT_API_URL": on_second["PREFECT_API_URL"]}, capture_output=True,
                text=True,
            ).stdout  # fmt: skip

        wait_until("both are listed", lambda: "second" in listed())
        tasks = [board.create_task("Todo", "A task").id for _ in range(6)]
        wait_until("all have an agent", lambda: all(board.get_task(t).comments for t in tasks))
        hold.unlink()
        wait_until("all are done", lambda: len(board.get_ready_tasks(["Done"])) == len(tasks))
    said = [board.get_task(task).comments[0].text for task in tasks]
    assert 2 <= said.count("from second") <= 4, said
