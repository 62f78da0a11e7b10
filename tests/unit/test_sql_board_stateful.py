"""The board in a database does what the board in memory does, whatever is called in which order."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from athanore.errors import BoardError
from athanore.models import Task
from athanore.queue_adapters.memory import MemoryAdapter
from athanore.queue_adapters.sql import SqlBoard

pytestmark = pytest.mark.nightly

type Board = MemoryAdapter | SqlBoard

# U+0000 is replaced in a database, and only there.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
queue_names = st.sampled_from(["Todo", "In Progress", "Done", "a.b/c", "Über", " "])
task_ids = st.integers(min_value=1, max_value=12).map(str)
word_lists = st.lists(texts, max_size=3)


class SqlBoardMachine(RuleBasedStateMachine):
    """Two boards over one database, each with connections of its own, beside one in memory."""

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        file = Path(self.folder.name, "board.db")
        self.boards = [SqlBoard(file, user="ada") for _ in range(2)]
        self.boards[0].prepare(["Todo", "Done"])
        self.model = MemoryAdapter(["Todo", "Done"], user="ada")
        self.calls = 0

    def teardown(self) -> None:
        for board in self.boards:
            board.close()
        self.folder.cleanup()

    def both(self, call: Callable[[Board], object]) -> None:
        """Call the model and, in turns, one of the boards: they return or refuse the same."""
        self.calls += 1
        assert outcome(call, self.boards[self.calls % 2]) == outcome(call, self.model)

    @rule(queue=queue_names, name=texts, description=texts)
    def create_task(self, queue: str, name: str, description: str) -> None:
        self.both(lambda board: board.create_task(queue, name, description))

    @rule(task_id=task_ids, goal=queue_names)
    def move_task(self, task_id: str, goal: str) -> None:
        self.both(lambda board: board.move_task(task_id, goal))

    @rule(task_id=task_ids, source=queue_names, goal=queue_names, user=st.none() | texts)
    def claim_task(self, task_id: str, source: str, goal: str, user: str | None) -> None:
        user = user if user and user.strip() else None
        self.both(
            lambda board: board.claim_task(
                task_id, source_queue=source, target_queue=goal, assignee=user
            )
        )

    @rule(task_id=task_ids, text=texts)
    def add_comment(self, task_id: str, text: str) -> None:
        self.both(lambda board: board.add_comment(task_id, text))

    @rule(
        task_id=task_ids,
        name=st.none() | texts,
        description=st.none() | texts,
        labels=st.none() | word_lists,
        assignees=st.none() | word_lists,
    )
    def update_task(
        self,
        task_id: str,
        name: str | None,
        description: str | None,
        labels: list[str] | None,
        assignees: list[str] | None,
    ) -> None:
        self.both(
            lambda board: board.update_task(
                task_id, name=name, description=description, labels=labels, assignees=assignees
            )
        )

    @rule(name=queue_names)
    def create_queue(self, name: str) -> None:
        self.both(lambda board: board.create_queue(name))

    @rule(name=queue_names, new_name=queue_names)
    def rename_queue(self, name: str, new_name: str) -> None:
        self.both(lambda board: board.update_queue(name, new_name=new_name))

    @rule(name=queue_names)
    def delete_queue(self, name: str) -> None:
        self.both(lambda board: board.delete_queue(name))

    @invariant()
    def boards_are_alike(self) -> None:
        queues = self.model.list_queues()
        names = [queue.name for queue in queues]
        ready = self.model.get_ready_tasks(names)
        for board in self.boards:
            assert board.list_queues() == queues
            assert board.get_ready_tasks(names) == ready
            for task in ready[:3]:
                assert timeless(board.get_task(task.id)) == timeless(self.model.get_task(task.id))


def outcome(call: Callable[[Board], object], board: Board) -> object:
    """What comes of a call: the value, or the kind and the words of the refusal."""
    try:
        value = call(board)
    except BoardError as exc:
        return type(exc), str(exc)
    return timeless(value) if isinstance(value, Task) else value


def timeless(task: Task) -> Task:
    """The task without the times of its comments, and their ids, of which memory has none."""
    comments = tuple(replace(c, created_at=None, id=None) for c in task.comments)
    return replace(task, comments=comments)


SqlBoardMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
TestSqlBoard = SqlBoardMachine.TestCase
