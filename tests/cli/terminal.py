"""A process on a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_SIZE = struct.pack("HHHH", 40, 160, 0, 0)  # rows, columns


class Terminal:
    """What a process writes to its terminal, escape sequences and all."""

    def __init__(self, process: subprocess.Popen[bytes], ours: int) -> None:
        self._process = process
        self._ours = ours
        self._written = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def text(self) -> str:
        """All that was written so far."""
        return self._written.decode(errors="replace")

    def type(self, text: str) -> None:
        """Type on the keyboard."""
        os.write(self._ours, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def end(self, seconds: float = 180) -> int:
        """Wait for the process's end and return its exit code."""
        code = self._process.wait(seconds)
        self._reader.join(60)
        return code

    def stop(self) -> None:
        """Leave nothing behind, whatever went wrong."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._reader.join(60)
        os.close(self._ours)

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._ours, 65536)
            except OSError:  # Linux says so when the other end is closed; macOS sends nothing
                return
            if not piece:
                return
            self._written += piece


@contextmanager
def on_a_terminal(
    words: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> Generator[Terminal]:
    """Run a command in a folder on a terminal of 40 lines of 160 characters."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, _SIZE)
    process = subprocess.Popen(
        words, cwd=folder, env={**environment, "TERM": "xterm-256color"},
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    terminal = Terminal(process, ours)
    try:
        yield terminal
    finally:
        terminal.stop()


def command(*arguments: str) -> list[str]:
    """The command line that runs `athanore` with this Python."""
    return [sys.executable, "-c", "from athanore.cli import main; main()", *arguments]
