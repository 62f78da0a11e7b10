"""Keep what this process knows from other programs of the same user, agents above all."""

from __future__ import annotations

import ctypes
import logging
import os
import sys

logger = logging.getLogger(__name__)

DEBUGGABLE = "ATHANORE_DEBUGGABLE"
"""Set to 1, it leaves this process open to debuggers, profilers and core dumps."""

_PR_SET_DUMPABLE = 4  # prctl(2)


def hide_memory() -> None:
    """Have Linux refuse other programs of this user our environment, memory and descriptors.

    What is in them (the operators' key, passwords of Prefect and the board) would be readable in
    /proc. Programs that are started later are not affected: `exec` ends it. root is not kept out,
    and other systems have nothing like it.
    """
    if sys.platform != "linux" or os.environ.get(DEBUGGABLE, "").strip() == "1":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        logger.warning(
            "Linux does not hide this process's environment from agents: %s.",
            os.strerror(ctypes.get_errno()),
            extra={"action": "environment_not_hidden"},
        )
