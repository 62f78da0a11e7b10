"""A worker that has ended is recognised, also when its pid was given to another process."""

import errno
import os
import subprocess
import sys
from typing import NoReturn

import psutil
import pytest

from athanore.processes import family, identity


def test_this_process_is_there() -> None:
    assert identity.is_gone(identity.process()) is False


def test_a_process_that_ended_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    where, _, start = identity.process().split(":")
    assert identity.is_gone(f"{where}:{child.pid}:{start}") is True


def test_a_clock_that_is_set_makes_no_process_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = identity.process()
    booted = psutil.boot_time()
    # What Linux says in /proc/stat follows the clock, and so does all that is reckoned from it.
    monkeypatch.setattr("psutil._psplatform.boot_time", lambda: booted + 7200)
    assert psutil.Process().create_time() - booted > 7200
    assert identity.is_gone(mine) is False


def test_nothing_is_claimed_while_no_descriptor_is_left_to_look_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = identity.process()

    def too_many(*_: object) -> NoReturn:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(family, "read_file", too_many)
    assert identity.is_gone(mine) is None


def test_another_process_with_the_same_pid_does_not_count() -> None:
    assert identity.is_gone(f"{identity.host()}:{os.getpid()}:1.00") is True


def test_nothing_is_claimed_about_another_host_or_nonsense() -> None:
    assert identity.is_gone(f"elsewhere:{os.getpid()}:1.00") is None
    assert identity.is_gone("stock-worker") is None
