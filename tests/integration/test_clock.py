"""The clock of a worker's host is set by hours while agents work and a retry waits.

Only the clock of that process is set: Prefect's stays, as that of another host would.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from athanore import JsonFileAdapter
from tests.harness import Prefect, app_name
from tests.support import clean_environment, free_port, stop_group, wait_until

HOURS = 3

SCRIPT = """\
from athanore import AgentDispatcher, JsonFileAdapter

dispatcher = AgentDispatcher(
    name={name!r}, command="sh", poll_interval=2, api_port={port}, shutdown_grace=0,
    queue_backend=JsonFileAdapter("board.json"), max_concurrent_agents=8,
)

def prompt(task_id: str, task_name: str) -> str:
    return task_name

def route(queue, script, **options):
    dispatcher.route(queue, args=["-c", script], **options)(prompt)

route("Long", "echo $ATHANORE_ATTEMPT >> long; while ! [ -e go ]; do sleep 0.1; done",
      timeout=3600, stall_timeout=3600, max_retries=3, done_queue="Done")
route("Hangs", "sleep 600", timeout=3, dead_letter_queue="Failed")
route("Retried", "[ $ATHANORE_ATTEMPT -gt 1 ]", max_retries=1, retry_delay=8, done_queue="Done")

if __name__ == "__main__":
    dispatcher.run()
"""


def clock_library(folder: Path) -> str:
    """Build the library that gives a process a clock of its own."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        # Where everything must be tested, a compiler must be there.
        if os.environ.get("CI") == "true":
            pytest.fail("there is no C compiler (apt-get install gcc libc6-dev)")
        pytest.skip("a clock of its own needs Linux and a C compiler")
    library = folder / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return str(library)


class Site:
    """A script at work in a process whose clock the test sets."""

    def __init__(self, folder: Path, prefect_api: str) -> None:
        self.folder = folder
        self.name = app_name("clock")
        self.prefect = Prefect(prefect_api, self.name)
        (folder / "run.py").write_text(SCRIPT.format(name=self.name, port=free_port()))
        queues = ["Long", "Hangs", "Retried", "In Progress", "Done", "Failed"]
        (folder / "board.json").write_text(json.dumps({"queues": {q: [] for q in queues}}))
        self.board = JsonFileAdapter(folder / "board.json")
        self.env = {
            **clean_environment(folder / "home"),
            "PREFECT_API_URL": prefect_api,
            "LD_PRELOAD": clock_library(folder),
            "CLOCK_AHEAD": str(folder / "clock"),
        }
        (folder / "clock").write_bytes(bytes(8))

    def set_clock(self, hours: int) -> None:
        """Set the clock of the process to so many hours from now."""
        with open(self.folder / "clock", "r+b") as file:  # the same file: it is mapped
            file.write(struct.pack("=q", hours * 3600))

    @contextmanager
    def at_work(self) -> Generator[None]:
        """Run the script meanwhile."""
        with (self.folder / "log.txt").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "run.py"], cwd=self.folder, env=self.env,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            yield
        finally:
            stop_group(process)

    def put(self, queue: str) -> str:
        """Create a task and return its id."""
        return self.board.create_task(queue, "A task").id

    def place(self, task_id: str) -> str:
        """The queue that a task is in."""
        return self.board.get_task(task_id).queue_name

    def comments(self, task_id: str) -> list[str]:
        """The texts of a task's comments."""
        return [c.text for c in self.board.get_task(task_id).comments]

    def states(self, task_id: str) -> list[str]:
        """What Prefect calls the states of a task's runs."""
        return [run["state_name"] for run in self.prefect.runs(task_id)]

    def ends_in(self, queue: str, task_id: str) -> None:
        """Wait until a task is in its last queue."""
        wait_until(f"task {task_id} is in {queue!r}", lambda: self.place(task_id) == queue)

    def long_runs(self) -> list[str]:
        """The attempts of the agent that works all the time."""
        record = self.folder / "long"
        return record.read_text().split() if record.exists() else []


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_agents_retries_and_polls_do_not_care_for_the_workers_clock(
    prefect_api: str, tmp_path: Path
) -> None:
    site = Site(tmp_path, prefect_api)
    with site.at_work():
        long = site.put("Long")
        wait_until("the agent works", site.long_runs)
        for hours in (HOURS, -HOURS):
            goes_on_when_the_clock_is_set(site, hours)
        assert site.place(long) == "In Progress"
        (tmp_path / "go").touch()
        site.ends_in("Done", long)
        assert site.long_runs() == ["1"], "it was neither stopped nor started again"
        assert site.comments(long) == []
        assert site.prefect.ended(long)["state_name"] == "Completed"


def goes_on_when_the_clock_is_set(site: Site, hours: int) -> None:
    """See that a retry that waits, an agent that hangs and the polls end and go on as usual."""
    waiting = site.put("Retried")
    wait_until("a retry waits", lambda: "AwaitingRetry" in site.states(waiting))
    polls = site.prefect.polls_ended()
    site.set_clock(hours)
    hangs = site.put("Hangs")
    site.ends_in("Failed", hangs)
    site.ends_in("Done", waiting)
    assert [c.partition(":")[0] for c in site.comments(waiting)] == ["Retry 1/1"]
    wait_until("polls go on", lambda: site.prefect.polls_ended() > polls + 4)
