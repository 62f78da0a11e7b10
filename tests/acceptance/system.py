"""The product as a user runs it: `python run.py` in a folder of its own, watched from outside."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.support import LOCAL, clean_environment, free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def readme_block(language: str, containing: str) -> str:
    """The one code block of the README in this language with this text in it."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    found = [b for b in blocks if containing in b]
    assert len(found) == 1, f"{len(found)} {language} blocks of the README contain {containing!r}"
    return found[0]


class System:
    """A folder with a script and a board, and the process that serves them."""

    def __init__(self, folder: Path, script: str, board: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.home = folder / "prefect"
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        self.log = folder / "run.log"
        self.board_file = folder / "board.json"
        self.prefect_port, self.api_port = free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "run.py").write_text(script)
        if board is not None:
            self.board_file.write_text(json.dumps(board))

    @property
    def prefect_url(self) -> str:
        """The API of the Prefect server that the script starts."""
        return f"http://127.0.0.1:{self.prefect_port}/api"

    @property
    def environment(self) -> dict[str, str]:
        """Where this system's home and ports are, and its programs before all others."""
        env = clean_environment(self.home)
        env["PATH"] = f"{self.bin}{os.pathsep}{env['PATH']}"
        env["PREFECT_SERVER_API_PORT"] = str(self.prefect_port)
        env["ATHANORE_API_PORT"] = str(self.api_port)
        return env

    def add_program(self, name: str, *command: str | Path) -> None:
        """Put a program on PATH that runs a command with its own arguments after it."""
        program = self.bin / name
        program.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, command))} "$@"\n')
        program.chmod(0o755)

    def start(self, python: str | Path = sys.executable, **environment: str) -> None:
        """Run the script and wait until the task API answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(python), "run.py"],
                cwd=self.folder, env={**self.environment, **environment},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_until("the task API answers", self._answers, 240, every=0.2)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"run.py ended:\n{self.log.read_text()[-3000:]}"
        try:
            return self.get("/queues").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str) -> httpx.Response:
        """Ask the task API."""
        return LOCAL.get(f"http://127.0.0.1:{self.api_port}{path}", timeout=60)

    def post(self, path: str, body: object) -> httpx.Response:
        """Tell the task API."""
        url = f"http://127.0.0.1:{self.api_port}{path}"
        return LOCAL.post(url, json=body, timeout=60)

    def board(self) -> dict[str, list[dict[str, Any]]]:
        """The tasks in the file, by queue."""
        return json.loads(self.board_file.read_text())["queues"]

    def ids_in(self, queue: str) -> list[str]:
        """The ids of the tasks in a queue, sorted."""
        return sorted(t["id"] for t in self.board()[queue])

    def task(self, task_id: str) -> dict[str, Any]:
        """A task as the file has it."""
        return next(t for tasks in self.board().values() for t in tasks if t["id"] == task_id)

    def signal(self, sign: signal.Signals) -> None:
        """Send a signal to the process of the script, and only to that."""
        assert self.process is not None
        self.process.send_signal(sign)

    def wait(self, seconds: float = 180) -> int:
        """Wait for the script's end and return its exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def processes(self) -> list[str]:
        """Everything that runs with this system's environment, whoever its parent is now."""
        found: list[str] = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("PREFECT_HOME") == str(self.home):
                    found.append(f"{process.pid}: {shlex.join(process.cmdline())}")
            except psutil.Error:
                continue
        return found

    def environment_of(self, program: str) -> dict[str, str]:
        """The environment of this system's process that has this among its arguments."""
        (pid,) = (int(p.partition(":")[0]) for p in self.processes() if program in p)
        return psutil.Process(pid).environ()

    def kill(self) -> None:
        """Leave nothing behind, whatever went wrong."""
        for line in self.processes():
            pid = int(line.partition(":")[0])
            try:
                psutil.Process(pid).kill()
            except psutil.Error:
                continue
        if self.process is not None:
            self.process.wait(60)
