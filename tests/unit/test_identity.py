"""A worker that has ended is recognised, also when its pid was given to another process."""

import os
import subprocess
import sys

from athanore import identity


def test_this_process_is_there() -> None:
    assert identity.is_gone(identity.process()) is False


def test_a_process_that_ended_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    where, _, start = identity.process().split(":")
    assert identity.is_gone(f"{where}:{child.pid}:{start}") is True


def test_another_process_with_the_same_pid_does_not_count() -> None:
    assert identity.is_gone(f"{identity.host()}:{os.getpid()}:1.00") is True


def test_nothing_is_claimed_about_another_host_or_nonsense() -> None:
    assert identity.is_gone(f"elsewhere:{os.getpid()}:1.00") is None
    assert identity.is_gone("stock-worker") is None
