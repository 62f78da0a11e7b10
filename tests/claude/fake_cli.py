"""A program that talks like the Claude CLI, for what the real one does only on a bad day.

Its last argument is the word for what it does after the prompt has come.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

RESULT = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "duration_ms": 1,
    "duration_api_ms": 1,
    "num_turns": 1,
    "session_id": "s",
    "total_cost_usd": 0.5,
    "usage": {"input_tokens": 1, "output_tokens": 2},
    "result": "done",
}


def tell(message: object) -> None:
    """Put out one line, whole and at once."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def say_odd_things() -> None:
    """Everything that a careless reader would die of, and then a good end."""
    tell({"type": "system", "subtype": "init", "session_id": "s"})
    tell({"type": "tool_progress", "elapsed_time_seconds": 30})
    tell({"type": "assistant", "message": {"id": "1", "content": [{"type": "thinking"}]}})
    tell({"type": "user", "message": {"content": [{"type": "tool_result"}, "text", None]}})
    tell({"type": "assistant", "message": None})
    sys.stdout.write("a warning of the runtime\n{not json}\n")
    tell({"type": "assistant", "message": {"content": "x" * 17 * 1024 * 1024}})
    text = "y" * 70_000 + "\nthe end"
    tell({"type": "assistant", "message": {"id": "2", "content": [{"type": "text", "text": text}]}})
    tell(RESULT)


def fall_silent() -> None:
    """Close standard output and stay."""
    os.close(1)
    signal.pause()


def work_without_a_word() -> None:
    """Use a tool that takes a moment and says nothing, as the real CLI does."""
    tell({"type": "system", "subtype": "init", "session_id": "s"})
    time.sleep(1)
    tell(RESULT)


def stay_after_the_result() -> None:
    """Give a result and do not end."""
    tell({"type": "system", "subtype": "init", "session_id": "s"})
    tell(RESULT)
    signal.pause()


def spend_until_interrupted() -> None:
    """Work without end, and say what was spent when the turn is interrupted."""
    try:
        tell({"type": "system", "subtype": "init", "session_id": "s"})
        signal.pause()
    except KeyboardInterrupt:
        tell(RESULT | {"subtype": "error_during_execution", "is_error": True})


def leave_a_child_after_the_result() -> None:
    """Give a result and end, while a child holds standard output."""
    tell(RESULT)
    subprocess.Popen(["sleep", "1000"])


def die_and_leave_a_child() -> None:
    """Crash, while a child holds standard output."""
    subprocess.Popen(["sleep", "1000"])
    sys.exit(3)


def take_another_turn() -> None:
    """Give a result, wait for a command in the background, and take another turn that is slow."""
    tell({"type": "system", "subtype": "init", "session_id": "s"})
    task = {"type": "system", "task_id": "b", "uuid": "u", "session_id": "s", "description": "d"}
    tell(task | {"subtype": "task_started", "task_type": "local_bash"})
    tell(RESULT)
    time.sleep(1.5)
    end = {"status": "completed", "output_file": "", "summary": ""}
    tell(task | end | {"subtype": "task_notification"})
    tell({"type": "system", "subtype": "init", "session_id": "s"})
    time.sleep(1.5)
    tell({"type": "assistant", "message": {"id": "4", "content": [{"type": "text", "text": "2"}]}})
    tell(RESULT | {"total_cost_usd": 0.75})


def end_too_early() -> None:
    """End well, but without a result."""


def say_more_and_die() -> None:
    """Give a result, begin a further turn, and crash."""
    tell({"type": "system", "subtype": "init", "session_id": "s"})
    tell(RESULT)
    tell({"type": "assistant", "message": {"id": "3", "content": [{"type": "text", "text": "hm"}]}})
    sys.exit(3)


def ask_for_permission() -> None:
    """Ask whether a command may be run, and do what is said; the command is always the same."""
    tell({"type": "system", "subtype": "init", "session_id": "s"})
    wish = {"subtype": "can_use_tool", "tool_name": "Bash", "input": {"command": "make"}}
    tell({"type": "control_request", "request_id": "p1", "request": wish})
    said = json.loads(sys.stdin.readline())["response"]["response"]
    call = {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "make"}}
    tell({"type": "assistant", "message": {"id": "5", "content": [call]}})
    is_error, text = said["behavior"] != "allow", said.get("message", "made")
    answer = {"type": "tool_result", "tool_use_id": "t", "content": text, "is_error": is_error}
    tell({"type": "user", "message": {"content": [answer]}})
    tell(RESULT)


def end_in_an_error() -> None:
    """Report an error of the agent itself."""
    tell(RESULT | {"subtype": "error_during_execution", "is_error": True, "errors": ["a bug"]})


ACTS: dict[str, Callable[[], None]] = {
    act.__name__: act
    for act in (
        say_odd_things,
        fall_silent,
        work_without_a_word,
        stay_after_the_result,
        leave_a_child_after_the_result,
        spend_until_interrupted,
        die_and_leave_a_child,
        take_another_turn,
        end_too_early,
        say_more_and_die,
        end_in_an_error,
        ask_for_permission,
    )
}


def main() -> None:
    while line := sys.stdin.readline():
        message = json.loads(line)
        if message["type"] == "control_request":
            tell(
                {
                    "type": "control_response",
                    "response": {"subtype": "success", "request_id": message["request_id"]},
                }
            )
        else:
            ACTS[sys.argv[-1].removeprefix("--")]()
            return


if __name__ == "__main__":
    main()
