"""The contract of `QueueAdapter` as a suite of tests: subclass it, and give it your adapter.

    from athanore.testing import QueueAdapterContract

    class TestMine(QueueAdapterContract):
        @pytest.fixture
        def adapter(self) -> QueueAdapter:
            return MyAdapter(...)  # a fresh board with the empty queues Todo, In Progress, Done

Class attributes and `queue_name` say what the board can take; override them, not the tests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest

from athanore.errors import (
    BoardError,
    InvalidTaskError,
    NotSupportedError,
    QueueExistsError,
    QueueNotEmptyError,
    QueueNotFoundError,
    TaskMovedError,
    TaskNotFoundError,
)
from athanore.models import Task
from athanore.queue_adapters.base import (
    HasUser,
    QueueAdapter,
    SupportsChangeStamp,
    SupportsClaim,
    SupportsPrepare,
    claim_task,
)
from athanore.testing.task_contract import TaskContract, texts_of

THREADS = 8


class QueueAdapterContract(TaskContract):
    """Every obligation of `athanore.queue_adapters.base`; the fixture `adapter` is yours.

    Attributes:
        assignees: two users that the board knows, by the names that it gives back.
        labels: two labels that the board knows or makes when they are used.
        missing_id: a well-formed id that no task has.
        odd_names: names that must come back as they are, of tasks and of queues.
        long_name: the longest name of a task that the board must take.
        long_text: a long description, and a long comment.
        labels_ordered: False where the board keeps labels and assignees as sets.
        queues_ordered: False where tasks of a queue come as they were made, whenever they came into
            it: the board has no order of its own.
        one_assignee: True where a task has one assignee at most.
        manages_queues: False where queues are made, renamed and deleted in the board's own settings
            only; the methods for that then raise `NotSupportedError`.

    `name_of` and `same_text` are for boards that show more of a name, or that rewrite texts.
    """

    manages_queues: ClassVar[bool] = True

    # --- claiming ---

    def test_claim_moves_and_assigns(self, adapter: QueueAdapter) -> None:
        todo, progress = self.queue_name("Todo"), self.queue_name("In Progress")
        task = adapter.create_task(todo, "work", "text")
        adapter.add_comment(task.id, "Please.")
        claimed = claim_task(adapter, task.id, source_queue=todo, target_queue=progress)
        user = adapter.user if isinstance(adapter, HasUser) else None
        assert claimed.queue_name == progress
        assert claimed.assignees == ((user,) if user else ())
        assert texts_of(claimed) == ["Please."]
        assert adapter.get_task(task.id) == claimed
        assert adapter.get_queue(todo).task_count == 0

    def test_claim_keeps_the_assignees_that_are_there(self, adapter: QueueAdapter) -> None:
        todo, progress = self.queue_name("Todo"), self.queue_name("In Progress")
        task = adapter.create_task(todo, "work")
        adapter.update_task(task.id, assignees=[self.assignees[0]])
        claimed = claim_task(adapter, task.id, source_queue=todo, target_queue=progress)
        adapter.move_task(task.id, todo)
        again = claim_task(adapter, task.id, source_queue=todo, target_queue=progress)
        assert self.assignees[0] in claimed.assignees
        assert sorted(again.assignees) == sorted(claimed.assignees)

    def test_claim_of_a_task_that_has_moved_changes_nothing(self, adapter: QueueAdapter) -> None:
        todo, progress = self.queue_name("Todo"), self.queue_name("In Progress")
        task = adapter.create_task(self.queue_name("Done"), "finished")
        with pytest.raises(TaskMovedError) as caught:
            claim_task(adapter, task.id, source_queue=todo, target_queue=progress)
        assert (caught.value.expected, caught.value.actual) == (todo, self.queue_name("Done"))
        assert adapter.get_task(task.id) == task

    def test_claim_into_an_unknown_queue_changes_nothing(self, adapter: QueueAdapter) -> None:
        todo = self.queue_name("Todo")
        task = adapter.create_task(todo, "work")
        with pytest.raises(QueueNotFoundError):
            claim_task(adapter, task.id, source_queue=todo, target_queue=self.queue_name("Nowhere"))
        assert adapter.get_task(task.id) == task

    def test_claim_of_an_unknown_task_is_an_error(self, adapter: QueueAdapter) -> None:
        with pytest.raises(TaskNotFoundError):
            claim_task(
                adapter,
                self.missing_id,
                source_queue=self.queue_name("Todo"),
                target_queue=self.queue_name("In Progress"),
            )

    def test_exactly_one_of_many_claims_at_once_wins(self, adapter: QueueAdapter) -> None:
        if not isinstance(adapter, SupportsClaim):
            pytest.skip("the adapter has no atomic claim")
        todo, progress = self.queue_name("Todo"), self.queue_name("In Progress")
        task_ids = [adapter.create_task(todo, f"task {n}").id for n in range(3)]

        def claim(task_id: str) -> Task | None:
            try:
                return claim_task(adapter, task_id, source_queue=todo, target_queue=progress)
            except TaskMovedError:
                return None

        for task_id in task_ids:
            results = at_once([lambda task_id=task_id: claim(task_id)] * THREADS)
            assert len([r for r in results if r is not None]) == 1
        assert sorted(t.id for t in adapter.get_ready_tasks([progress])) == sorted(task_ids)

    # --- managing queues ---

    def needs_managed_queues(self) -> None:
        """Skip a test of a board whose queues are made elsewhere."""
        if not self.manages_queues:
            pytest.skip("the board's queues are managed in its own settings")

    def test_a_board_that_manages_no_queues_says_so(self, adapter: QueueAdapter) -> None:
        if self.manages_queues:
            pytest.skip("the board manages queues")
        before = adapter.list_queues()
        todo = self.queue_name("Todo")
        calls: list[Callable[[], object]] = [
            lambda: adapter.create_queue(self.queue_name("Review")),
            lambda: adapter.update_queue(todo, new_name=self.queue_name("Ready")),
            lambda: adapter.delete_queue(todo),
        ]
        for call in calls:
            with pytest.raises(NotSupportedError):
                call()
        assert adapter.list_queues() == before

    def test_created_queue_is_empty_and_the_last(self, adapter: QueueAdapter) -> None:
        self.needs_managed_queues()
        name = self.queue_name("Review")
        created = adapter.create_queue(name)
        assert (created.name, created.task_count) == (name, 0)
        assert adapter.list_queues()[-1] == created
        assert adapter.create_task(name, "task").queue_name == name

    def test_odd_queue_names_come_back_as_they_are(self, adapter: QueueAdapter) -> None:
        self.needs_managed_queues()
        names = [self.queue_name(n) for n in self.odd_names]
        for name in names:
            adapter.create_queue(name)
        assert [q.name for q in adapter.list_queues()][3:] == names
        for name in names:
            task = adapter.create_task(name, "task")
            assert adapter.get_queue(name).task_count == 1
            assert [t.id for t in adapter.get_ready_tasks([name])] == [task.id]

    def test_name_of_a_queue_can_be_taken_only_once(self, adapter: QueueAdapter) -> None:
        self.needs_managed_queues()
        task = adapter.create_task(self.queue_name("Todo"), "task")
        before = adapter.list_queues()
        with pytest.raises(QueueExistsError):
            adapter.create_queue(self.queue_name("Todo"))
        with pytest.raises(QueueExistsError):
            adapter.update_queue(self.queue_name("Done"), new_name=self.queue_name("Todo"))
        assert adapter.list_queues() == before
        assert adapter.get_task(task.id) == task

    def test_queue_without_a_name_is_refused(self, adapter: QueueAdapter) -> None:
        self.needs_managed_queues()
        before = adapter.list_queues()
        with pytest.raises(InvalidTaskError):
            adapter.create_queue(" ")
        with pytest.raises(InvalidTaskError):
            adapter.update_queue(self.queue_name("Todo"), new_name=" ")
        assert adapter.list_queues() == before

    def test_renamed_queue_keeps_its_tasks_and_its_place(self, adapter: QueueAdapter) -> None:
        self.needs_managed_queues()
        progress, doing = self.queue_name("In Progress"), self.queue_name("Doing")
        task = adapter.create_task(progress, "task")
        renamed = adapter.update_queue(progress, new_name=doing)
        assert (renamed.name, renamed.task_count) == (doing, 1)
        assert [q.name for q in adapter.list_queues()] == [
            self.queue_name("Todo"),
            doing,
            self.queue_name("Done"),
        ]
        assert adapter.get_task(task.id).queue_name == doing
        with pytest.raises(QueueNotFoundError):
            adapter.get_queue(progress)

    def test_renaming_a_queue_to_its_own_name_changes_nothing(self, adapter: QueueAdapter) -> None:
        self.needs_managed_queues()
        before = adapter.list_queues()
        todo = self.queue_name("Todo")
        assert adapter.update_queue(todo, new_name=todo).name == todo
        assert adapter.list_queues() == before

    def test_only_an_empty_queue_can_be_deleted(self, adapter: QueueAdapter) -> None:
        self.needs_managed_queues()
        done = self.queue_name("Done")
        task = adapter.create_task(done, "kept")
        with pytest.raises(QueueNotEmptyError) as caught:
            adapter.delete_queue(done)
        assert caught.value.task_count == 1
        assert adapter.get_task(task.id) == task
        adapter.move_task(task.id, self.queue_name("Todo"))
        adapter.delete_queue(done)
        assert done not in [q.name for q in adapter.list_queues()]
        assert adapter.get_task(task.id).queue_name == self.queue_name("Todo")

    # --- threads ---

    def test_calls_from_many_threads_lose_nothing(self, adapter: QueueAdapter) -> None:
        todo, done = self.queue_name("Todo"), self.queue_name("Done")

        def work(n: int) -> str:
            task = adapter.create_task(todo, f"task {n}")
            adapter.add_comment(task.id, f"comment {n}")
            adapter.get_ready_tasks([todo, done])
            adapter.update_task(task.id, description=f"text {n}")
            adapter.move_task(task.id, done)
            return task.id

        ids = at_once([lambda n=n: work(n) for n in range(THREADS)])
        for n, task_id in enumerate(ids):
            task = adapter.get_task(task_id)
            assert (self.name_of(task), task.description) == (f"task {n}", f"text {n}")
            assert (task.queue_name, texts_of(task)) == (done, [f"comment {n}"])
        assert sorted(t.id for t in adapter.get_ready_tasks([todo, done])) == sorted(ids)

    def test_comments_of_many_threads_all_arrive_once(self, adapter: QueueAdapter) -> None:
        task_id = adapter.create_task(self.queue_name("Todo"), "talk").id
        at_once([lambda n=n: adapter.add_comment(task_id, f"{n}") for n in range(THREADS)])
        assert sorted(texts_of(adapter.get_task(task_id))) == sorted(f"{n}" for n in range(THREADS))

    # --- the optional extras ---

    def test_user_is_a_name_or_nobody(self, adapter: QueueAdapter) -> None:
        if not isinstance(adapter, HasUser):
            pytest.skip("the adapter knows no user")
        assert adapter.user is None or adapter.user.strip()

    def test_prepare_leaves_a_board_that_exists(self, adapter: QueueAdapter) -> None:
        if not isinstance(adapter, SupportsPrepare):
            pytest.skip("the adapter has nothing to prepare")
        task = adapter.create_task(self.queue_name("Todo"), "task")
        before = adapter.list_queues()
        adapter.prepare([self.queue_name("Todo"), self.queue_name("Done")])
        assert adapter.list_queues() == before
        assert adapter.get_task(task.id) == task

    def test_change_stamp_differs_after_every_change(self, adapter: QueueAdapter) -> None:
        if not isinstance(adapter, SupportsChangeStamp):
            pytest.skip("the adapter has no change stamp")
        todo, done = self.queue_name("Todo"), self.queue_name("Done")
        task_id = adapter.create_task(todo, "task").id
        changes: list[Callable[[], object]] = [
            lambda: adapter.add_comment(task_id, "a"),
            lambda: adapter.add_comment(task_id, "a"),
            lambda: adapter.update_task(task_id, name="b"),
            lambda: adapter.update_task(task_id, name="c"),
            lambda: adapter.move_task(task_id, done),
            lambda: adapter.move_task(task_id, todo),
            lambda: adapter.create_task(done, "other"),
        ]
        for change in changes:
            before = adapter.change_stamp()
            change()
            after = adapter.change_stamp()
            assert before is None or after is None or before != after

    def test_every_refusal_is_an_error_of_the_board(self, adapter: QueueAdapter) -> None:
        calls: list[Callable[[], object]] = [
            lambda: adapter.get_task(""),
            lambda: adapter.get_task("../../etc/passwd"),
            lambda: adapter.get_queue(""),
            lambda: adapter.get_ready_tasks(["\x00"]),
        ]
        for call in calls:
            with pytest.raises(BoardError):
                call()


def at_once[T](calls: list[Callable[[], T]]) -> list[T]:
    """Run each call in a thread of its own, all released together; results in their order."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        barrier.wait(timeout=30)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [f.result() for f in [pool.submit(run, c) for c in calls]]
