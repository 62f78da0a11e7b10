"""Tasks as people type them on the command line."""

from __future__ import annotations

import pytest

from athanore.cli.tasks.typed import meant, typed_task
from athanore.errors import ConfigurationError, TaskNotFoundError

TASKS = {"9d676e": "Fix the crash", "9d1111": "Fix login", "12": "Write the docs", "1": "Say hello"}


@pytest.mark.parametrize(
    ("typed", "task_id"),
    [
        ("9d67", "9d676e"),
        ("9D67", "9d676e"),
        ("login", "9d1111"),
        ("THE DOCS", "12"),
        ("12", None),  # an id is never anything else, also where it begins others
        ("1", None),
        ("nothing", None),
        (" ", None),
    ],
)
def test_the_only_one_that_fits_is_meant(typed: str, task_id: str | None) -> None:
    assert meant(typed, TASKS) == task_id


@pytest.mark.parametrize("typed", ["9d", "fix"])
def test_of_several_none_is_taken(typed: str) -> None:
    with pytest.raises(ConfigurationError, match=r"'9d676e' \(Fix the crash\), '9d1111'"):
        meant(typed, TASKS)


def test_a_command_is_given_the_id_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []

    @typed_task
    def command(task: str, /, *, app: str | None = None) -> str:
        asked.append(task)
        if task not in TASKS:
            raise TaskNotFoundError(task, TASKS)
        return f"{task} of {app}"

    assert command("crash", app="run.py") == "9d676e of run.py"
    assert command("12") == "12 of None"
    assert asked == ["crash", "9d676e", "12"]
    assert "Task '9d676e' (Fix the crash)." in capsys.readouterr().err
    with pytest.raises(TaskNotFoundError):
        command("nothing")


def test_a_number_is_no_beginning_of_another() -> None:
    assert meant("4", {"41": "Fix crash", "5": "Add dark mode"}) is None
    assert meant("4", {"12": "Fix error 404"}) is None
    assert meant("404", {"ab-1": "Fix error 404"}) == "ab-1"
    assert meant("4a", {"4a1b-2": "Fix crash"}) == "4a1b-2"
    assert meant("41", {"41a0-7": "Fix crash"}) == "41a0-7"
