"""`athanore demo`: three tasks go through a two-stage pipeline while you watch.

It uses Athanore as you would: `python run.py` in a folder with a board.json. The agents only
pretend, everything else is real: a Prefect server, its database, the task API.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from athanore.launch.demo import repository
from athanore.launch.demo.files import BOARD, QUEUES, script

_START_SECONDS = 180
_WORK_SECONDS = 180
_STOP_SECONDS = 60

type _TaskData = dict[str, Any]

_WRITTEN = (
    "__pycache__",
    "board.json",
    "demo.log",
    "prefect",
    "run.py",
    "spaces",
    repository.NAME,
)
"""What a demo leaves in its folder, beside what stands next to every JSON board."""


class DemoError(Exception):
    """The demo did not go as it should; the message says what was different."""


def run_demo(folder: Path, *, keep: bool = False) -> int:
    """Run the demo in a folder and return its exit code.

    Args:
        folder: made for it; an earlier demo's is emptied, unless its app was changed.
        keep: go on until Ctrl-C at the end.
    """
    console = Console(emoji=False, highlight=False)
    try:
        _prepare(folder)
        with _app(folder, console) as (process, api):
            tasks = _watch(process, api, console)
            _show_end(api, tasks, folder, console, keep)
            _check(tasks, repository.branches(folder))
            if keep:
                console.print("\nEverything keeps running until you press Ctrl-C.")
                process.wait()
    except DemoError as error:
        log = folder / "demo.log"
        console.print(f"\n[red]The demo failed:[/] {escape(str(error))}")
        if log.exists():
            console.print(f"The last lines of {log}:")
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            console.print("\n".join(lines[-15:]), markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("\nStopped.")
        return 0 if keep else 130
    console.print("\n[green]The demo went as it should[/]; nothing of it is running any more.")
    return 0


def _prepare(folder: Path) -> None:
    """Make the folder and put the app and its board there; of an earlier demo nothing is left.

    Raises:
        DemoError: something in it is not the demo's, or was changed.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for entry in sorted(folder.iterdir()):
            if entry.name not in _WRITTEN and not entry.name.startswith(".board.json."):
                raise DemoError(
                    f"{folder} has {entry.name!r}, which is not the demo's. Name a folder that is "
                    "new or empty: athanore demo FOLDER"
                )
        run = folder / "run.py"
        ours = [script(with_git=known) for known in (True, False)]
        if run.exists() and run.read_text(encoding="utf-8", errors="replace") not in ours:
            raise DemoError(
                f"{run} is not as the demo wrote it, and would be lost. Name another folder: "
                "athanore demo FOLDER"
            )
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        has_git = repository.is_possible()
        run.write_text(script(with_git=has_git), encoding="utf-8")
        if has_git:
            repository.make(folder)
        board = json.dumps(BOARD, indent=2) + "\n"
        (folder / "board.json").write_text(board, encoding="utf-8")
    except OSError as exc:
        raise DemoError(f"{folder} cannot be used: {exc.strerror or exc}") from exc


@contextmanager
def _app(folder: Path, console: Console) -> Generator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """Run `python run.py` in the folder; see to it that nothing of it is left at the end."""
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "ATHANORE_"))},
        "PREFECT_HOME": str(folder.resolve() / "prefect"),
        "PREFECT_SERVER_API_PORT": str(_free_port()),
        "ATHANORE_API_PORT": str(api_port := _free_port()),
    }
    with (folder / "demo.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "run.py"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{api_port}", timeout=30, trust_env=False
        ) as api:
            _wait_for_start(process, api, console)
            yield process, api
    finally:
        with _busy(console, "Stopping ..."):
            left = _stop(process)
    if left:
        raise DemoError(f"these processes were left: {', '.join(left)}")
    if process.returncode != 0:
        raise DemoError(f"run.py ended with exit code {process.returncode}")


def _wait_for_start(process: subprocess.Popen[bytes], api: httpx.Client, console: Console) -> None:
    """Wait until the task API answers, which is when everything is up; the board is up before."""
    deadline = time.monotonic() + _START_SECONDS
    with _busy(console, "Starting ..."):
        _until(process, deadline, lambda: _answer(api, "/board") is not None)
    console.print(f"Board page: {api.base_url}")
    if console.is_terminal and has_desktop():
        threading.Thread(target=webbrowser.open, args=(str(api.base_url),), daemon=True).start()
    with _busy(console, "Starting Prefect (a new database takes 10 to 30 s) ..."):
        _until(process, deadline, lambda: _answer(api, "/status") == 200)
    status = api.get("/status").raise_for_status().json()
    console.print(f"Prefect UI: {status['prefect']['ui_url']}\n")


def has_desktop() -> bool:
    """Whether a browser that is opened here is one that somebody sees."""
    if os.environ.get("CI") or os.environ.get("SSH_CONNECTION"):
        return False
    return sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


def _until(
    process: subprocess.Popen[bytes], deadline: float, condition: Callable[[], bool]
) -> None:
    while not condition():
        if process.poll() is not None:
            raise DemoError(f"run.py ended with exit code {process.returncode}")
        if time.monotonic() > deadline:
            raise DemoError(f"nothing answers after {_START_SECONDS} s")
        time.sleep(0.1)


def _answer(api: httpx.Client, path: str) -> int | None:
    """The status with which the app answers; None if it does not."""
    try:
        return api.get(path, timeout=5).status_code
    except httpx.TransportError:
        return None


def _watch(
    process: subprocess.Popen[bytes], api: httpx.Client, console: Console
) -> list[_TaskData]:
    """Show how the tasks move until all are done; return them whole."""
    started = time.monotonic()
    known: dict[str, _TaskData] = {}
    for task in BOARD["queues"]["Todo"]:
        known[task["id"]] = {**task, "queue_name": "Todo", "comments": []}
    live = Live(_board(known), console=console, refresh_per_second=8)
    with live if console.is_terminal else nullcontext():
        while any(t["queue_name"] != "Done" or t.get("active_run") for t in known.values()):
            if process.poll() is not None:
                raise DemoError(f"run.py ended with exit code {process.returncode}")
            if time.monotonic() > started + _WORK_SECONDS:
                raise DemoError(f"the tasks are not done after {_WORK_SECONDS} s")
            for summary in api.get("/tasks").raise_for_status().json():
                task = known[summary["id"]]
                if summary["queue_name"] != task["queue_name"] or task.get("active_run"):
                    new = api.get(f"/tasks/{task['id']}").raise_for_status().json()
                    _tell(console, time.monotonic() - started, task, new)
                    known[task["id"]] = new
            live.update(_board(known))
            time.sleep(0.3)
    return list(known.values())


def _tell(console: Console, seconds: float, old: _TaskData, new: _TaskData) -> None:
    """Print what happened to a task: new comments, and where it went."""
    for comment in new["comments"][len(old["comments"]) :]:
        text = comment["text"].splitlines()[0]
        console.print(f"{seconds:5.1f} s  {new['name']:<20} [dim]{escape(text)}[/]", soft_wrap=True)
    if new["queue_name"] != old["queue_name"]:
        where = f"{old['queue_name']} -> [bold]{new['queue_name']}[/]"
        console.print(f"{seconds:5.1f} s  {new['name']:<20} {where}", soft_wrap=True)


def _board(tasks: dict[str, _TaskData]) -> Table:
    """Draw the board: a column for each queue."""
    table = Table(*QUEUES, expand=True)
    columns = [
        "\n".join(t["name"] for t in tasks.values() if t["queue_name"] == name) for name in QUEUES
    ]
    table.add_row(*columns)
    return table


def _show_end(
    api: httpx.Client, tasks: list[_TaskData], folder: Path, console: Console, keep: bool
) -> None:
    """Print the board at the end, and where to look further."""
    console.print()
    table = Table("Task", "Queue", "What its comments say", expand=True)
    for task in tasks:
        said = "\n".join(c["text"].splitlines()[0] for c in task["comments"])
        table.add_row(task["name"], task["queue_name"], escape(said))
    console.print(table)
    if made := repository.branches(folder):
        console.print(f"\nBranches of {folder / repository.NAME}:", markup=False, soft_wrap=True)
        for branch in made:
            console.print(f"  {branch}", markup=False, soft_wrap=True)
    ui = api.get("/status").json()["prefect"]["ui_url"]
    console.print(f"\nPrefect UI: {ui}   (runs, logs, schedules)")
    console.print(f"Board page: {api.base_url}   (API docs: {api.base_url}/docs)")
    console.print(f"The app:    {folder / 'run.py'}", markup=False, soft_wrap=True)
    if not keep:
        console.print("[dim]`athanore demo --keep` leaves them running, to look around.[/]")


def _check(tasks: list[_TaskData], branches: list[str]) -> None:
    """Compare the board and the branches at the end with what has to have happened."""
    has_git = repository.is_possible()
    if len(branches) != (len(tasks) if has_git else 0):
        raise DemoError(f"{repository.NAME} has other branches than one for each task: {branches}")
    for task in tasks:
        comments = [c["text"] for c in task["comments"]]
        expected = ["engineer:", *(["Published:"] if has_git else []), "reviewer:"]
        if "flaky" in task.get("labels", []):
            expected.insert(0, "Retry 1/1:")
        fits = len(comments) == len(expected)
        if not fits or not all(map(str.startswith, comments, expected)):
            raise DemoError(f"{task['name']!r} has other comments than {expected}: {comments}")


def _stop(process: subprocess.Popen[bytes]) -> list[str]:
    """Stop the app as Ctrl-C would, and return what is left of it (and kill that)."""
    try:
        started = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        started = []
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _, alive = psutil.wait_procs(started, timeout=5)
    left = [f"{p.name()} ({p.pid})" for p in alive]
    for child in alive:
        child.kill()
    return left


@contextmanager
def _busy(console: Console, what: str) -> Generator[None]:
    """Say what is waited for: with a spinner on a terminal, as a line elsewhere."""
    if console.is_terminal:
        with console.status(what):
            yield
    else:
        console.print(what, soft_wrap=True)
        yield


def _free_port() -> int:
    """Find a port that nobody uses."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
