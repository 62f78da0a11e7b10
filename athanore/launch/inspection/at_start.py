"""What `athanore doctor` finds besides the mistake that ended a start, told at a terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta

from athanore.texts import shown

_PATIENCE = timedelta(seconds=30)
_DOCTOR = "from athanore.cli import main; main()"


def tell_what_else(reference: str, said: str) -> None:
    """Have everything looked at that the app needs, and tell what else would end the next start.

    Where nobody looks, as in the log of a service, one line is enough, and nothing is told.

    Args:
        reference: the app, as `run.py:dispatcher`.
        said: the mistake that was told already.
    """
    if not sys.stderr.isatty():
        return
    sys.stderr.write("Looking at the rest, as `athanore doctor` does; Ctrl-C ends that.\n")
    # In a process of its own: a board that does not answer keeps it, and not us.
    command = [sys.executable, "-c", _DOCTOR, "doctor", reference, "--json"]
    with suppress(KeyboardInterrupt, subprocess.SubprocessError, OSError, ValueError, LookupError):
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE.total_seconds(),
            check=False,
        )
        for finding in json.loads(done.stdout):
            if finding["level"] == "fail" and not _is_told(finding["says"], said):
                sys.stderr.write(f"fail  {finding['what']}: {shown(finding['says'])}\n")
                if finding["mend"]:
                    sys.stderr.write(f"      {shown(finding['mend'])}\n")


def _is_told(finding: str, said: str) -> bool:
    _place, _, says = finding.partition(": ")  # an agent's begins with the line of its route
    return any(part and part in said for part in (finding, says))
