"""The values that every layer shares, and the public names."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

import athanore
from athanore import AgentOutcome, AgentResult, Task
from athanore import errors as tree


def test_values_are_frozen() -> None:
    task = Task(id="1", name="Fix crash", queue_name="Todo")
    with pytest.raises(FrozenInstanceError):
        task.name = "Other"  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("outcome", list(AgentOutcome))
def test_only_one_outcome_is_a_success(outcome: AgentOutcome) -> None:
    assert AgentResult(outcome).succeeded == (outcome is AgentOutcome.SUCCEEDED)


def test_every_public_name_is_there_and_has_a_docstring() -> None:
    for name in athanore.__all__:
        value = getattr(athanore, name)
        assert name == "NO_DEAD_LETTER" or value.__doc__, name


def test_every_error_has_the_one_root_and_stands_in_the_drawing() -> None:
    classes = [v for v in vars(tree).values() if isinstance(v, type) and issubclass(v, Exception)]
    assert len(classes) > 10
    for error in classes:
        assert issubclass(error, athanore.AthanoreError)
        assert error.__name__ in str(tree.__doc__)
        assert error.__doc__


def test_an_unknown_queue_is_named_with_those_that_exist_and_the_likeliest() -> None:
    error = tree.QueueNotFoundError("Tood", ["Done", "Todo"])
    assert str(error) == (
        "No queue is called 'Tood'. Did you mean 'Todo'? There are: 'Done', 'Todo'."
    )


def test_an_unknown_queue_of_an_empty_board() -> None:
    assert str(tree.QueueNotFoundError("Todo")) == "No queue is called 'Todo'. There are none."
