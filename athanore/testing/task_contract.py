"""The first half of the contract of `QueueAdapter`: what is done with tasks, one call at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import pytest

from athanore.errors import InvalidTaskError, QueueNotFoundError, TaskNotFoundError
from athanore.models import Task
from athanore.queue_adapters.base import QueueAdapter


class TaskContract:
    """Reading, creating, moving, commenting and updating, and what the board can take of it."""

    assignees: ClassVar[tuple[str, str]] = ("ada", "grace")
    labels: ClassVar[tuple[str, str]] = ("bug", "urgent")
    missing_id: ClassVar[str] = "no-such-task"
    odd_names: ClassVar[tuple[str, ...]] = (
        "a.b.c",
        "in/out",
        "50% done?",
        "Überprüfung 東京 🚀",
        'say "hi" \\ #1 & <b>',
        "two  spaces",
    )
    long_name: ClassVar[str] = "n" * 1_000
    long_text: ClassVar[str] = "Ein langer Text, 長い. " * 5_000
    labels_ordered: ClassVar[bool] = True
    queues_ordered: ClassVar[bool] = True
    one_assignee: ClassVar[bool] = False

    def queue_name(self, name: str) -> str:
        """The name under which the adapter knows a queue of the suite (`P.B.Todo`, say)."""
        return name

    def same(self, actual: tuple[str, ...], expected: list[str]) -> bool:
        """Compare labels or assignees, in order where the board keeps it."""
        return (
            list(actual) == expected if self.labels_ordered else sorted(actual) == sorted(expected)
        )

    def name_of(self, task: Task) -> str:
        """The name that a task was given; a board may show more of it (`ENG-12 Fix crash`)."""
        return task.name

    def names_of(self, tasks: Sequence[Task]) -> list[str]:
        """The names that tasks were given."""
        return [self.name_of(task) for task in tasks]

    def same_text(self, actual: str, expected: str) -> bool:
        """Tell whether a text came back; a board may write Markdown in another way."""
        return actual == expected

    def same_texts(self, actual: Sequence[str], expected: Sequence[str]) -> bool:
        """Tell whether texts came back, in their order."""
        return len(actual) == len(expected) and all(map(self.same_text, actual, expected))

    def people(self) -> list[str]:
        """As many assignees as a task of the board can have, two at most."""
        return list(self.assignees[: 1 if self.one_assignee else 2])

    def in_order(self, *names: str, made: Sequence[str]) -> list[str]:
        """The names of the tasks of a queue in board order.

        Args:
            names: as they are where a board keeps the order in which tasks came into the queue.
            made: as they were made, which is the order of all other boards.
        """
        return list(names) if self.queues_ordered else sorted(names, key=made.index)

    # --- reading ---

    def test_new_board_is_empty(self, adapter: QueueAdapter) -> None:
        names = [self.queue_name(n) for n in ("Todo", "In Progress", "Done")]
        queues = adapter.list_queues()
        assert [q.name for q in queues] == names
        assert [q.task_count for q in queues] == [0, 0, 0]
        assert adapter.get_ready_tasks(names) == []
        assert adapter.get_ready_tasks([]) == []

    def test_ready_tasks_come_queue_by_queue_as_given_in_board_order(
        self, adapter: QueueAdapter
    ) -> None:
        todo, done = self.queue_name("Todo"), self.queue_name("Done")
        for queue, name in ((todo, "1"), (done, "2"), (todo, "3"), (done, "4"), (todo, "5")):
            adapter.create_task(queue, name)
        assert self.names_of(adapter.get_ready_tasks([done, todo])) == ["2", "4", "1", "3", "5"]
        assert self.names_of(adapter.get_ready_tasks([todo])) == ["1", "3", "5"]

    def test_ready_tasks_say_what_the_board_knows_of_them(self, adapter: QueueAdapter) -> None:
        todo = self.queue_name("Todo")
        created = adapter.create_task(todo, "Fix crash", "It crashes.")
        adapter.update_task(created.id, labels=[self.labels[0]], assignees=[self.assignees[0]])
        (task,) = adapter.get_ready_tasks([todo])
        assert (task.id, self.name_of(task)) == (created.id, "Fix crash")
        assert task.queue_name == todo
        assert task.description == "It crashes."
        assert task.labels == (self.labels[0],)
        assert task.assignees == (self.assignees[0],)
        looked = adapter.get_task(task.id)
        told, said = ((t.url, t.author, t.priority, t.created_at) for t in (task, looked))
        assert told == said
        times = (task.created_at, task.updated_at, looked.updated_at)
        assert all(time is None or time.tzinfo is not None for time in times)

    def test_ready_tasks_of_an_unknown_queue_are_an_error_that_names_the_queues(
        self, adapter: QueueAdapter
    ) -> None:
        missing = self.queue_name("Nowhere")
        with pytest.raises(QueueNotFoundError) as caught:
            adapter.get_ready_tasks([self.queue_name("Todo"), missing])
        assert caught.value.queue_name == missing
        assert self.queue_name("In Progress") in str(caught.value)

    def test_get_queue_counts_its_tasks(self, adapter: QueueAdapter) -> None:
        todo = self.queue_name("Todo")
        adapter.create_task(todo, "one")
        adapter.create_task(todo, "two")
        assert adapter.get_queue(todo).name == todo
        assert adapter.get_queue(todo).task_count == 2
        assert adapter.get_queue(self.queue_name("Done")).task_count == 0

    # --- creating ---

    def test_created_task_is_found_with_what_it_was_given(self, adapter: QueueAdapter) -> None:
        todo = self.queue_name("Todo")
        created = adapter.create_task(todo, "Fix crash", "Line 1\n\nLine 3")
        assert created.id
        assert adapter.get_task(created.id) == created
        assert self.name_of(created) == "Fix crash"
        assert self.same_text(created.description, "Line 1\n\nLine 3")
        assert created.queue_name == todo
        assert (created.labels, created.assignees, created.comments, created.tasks) == (
            (),
            (),
            (),
            (),
        )

    def test_created_task_needs_no_description(self, adapter: QueueAdapter) -> None:
        assert adapter.create_task(self.queue_name("Todo"), "bare").description == ""

    def test_ids_are_unique_over_the_board(self, adapter: QueueAdapter) -> None:
        queues = [self.queue_name(n) for n in ("Todo", "Done", "Todo", "In Progress")]
        assert len({adapter.create_task(q, "same name").id for q in queues}) == len(queues)

    def test_odd_names_and_long_texts_come_back_as_they_are(self, adapter: QueueAdapter) -> None:
        todo = self.queue_name("Todo")
        for name in (*self.odd_names, self.long_name):
            created = adapter.create_task(todo, name, self.long_text)
            task = adapter.get_task(created.id)
            assert self.name_of(task) == name
            assert self.same_text(task.description, self.long_text)
        assert self.names_of(adapter.get_ready_tasks([todo])) == [*self.odd_names, self.long_name]

    @pytest.mark.parametrize("name", ["", "  \n"])
    def test_task_without_a_name_is_refused(self, adapter: QueueAdapter, name: str) -> None:
        with pytest.raises(InvalidTaskError):
            adapter.create_task(self.queue_name("Todo"), name)
        assert adapter.get_queue(self.queue_name("Todo")).task_count == 0

    # --- moving ---

    def test_move_puts_the_task_at_the_end_of_the_other_queue(self, adapter: QueueAdapter) -> None:
        todo, done = self.queue_name("Todo"), self.queue_name("Done")
        first, second, third = (adapter.create_task(todo, n) for n in ("first", "second", "third"))
        adapter.create_task(done, "old")
        adapter.move_task(second.id, done)
        adapter.move_task(first.id, done)
        assert self.names_of(adapter.get_ready_tasks([todo])) == ["third"]
        assert self.names_of(adapter.get_ready_tasks([done])) == self.in_order(
            "old", "second", "first", made=["first", "second", "third", "old"]
        )
        assert adapter.get_task(second.id).queue_name == done
        assert adapter.get_task(third.id).queue_name == todo

    def test_move_keeps_the_rest_of_the_task(self, adapter: QueueAdapter) -> None:
        todo, done = self.queue_name("Todo"), self.queue_name("Done")
        task_id = adapter.create_task(todo, "Fix crash", "It crashes.").id
        adapter.update_task(task_id, labels=[self.labels[0]], assignees=[self.assignees[0]])
        adapter.add_comment(task_id, "Seen.")
        adapter.move_task(task_id, done)
        task = adapter.get_task(task_id)
        assert (self.name_of(task), task.description) == ("Fix crash", "It crashes.")
        assert (task.labels, task.assignees) == ((self.labels[0],), (self.assignees[0],))
        assert texts_of(task) == ["Seen."]

    def test_move_to_where_the_task_is_changes_nothing(self, adapter: QueueAdapter) -> None:
        todo = self.queue_name("Todo")
        first = adapter.create_task(todo, "first")
        adapter.create_task(todo, "second")
        adapter.move_task(first.id, todo)
        assert self.names_of(adapter.get_ready_tasks([todo])) == ["first", "second"]

    def test_move_to_an_unknown_queue_leaves_the_task(self, adapter: QueueAdapter) -> None:
        todo = self.queue_name("Todo")
        task = adapter.create_task(todo, "stays")
        with pytest.raises(QueueNotFoundError) as caught:
            adapter.move_task(task.id, self.queue_name("Nowhere"))
        assert self.queue_name("Done") in str(caught.value)
        assert adapter.get_task(task.id).queue_name == todo

    # --- commenting ---

    def test_comments_come_oldest_first_each_once(self, adapter: QueueAdapter) -> None:
        texts = ["one", "two\nlines", "one", "Größe: 3 µm, 完了", " indented"]
        task = adapter.create_task(self.queue_name("Todo"), "talk")
        for text in texts:
            adapter.add_comment(task.id, text)
        read = adapter.get_task(task.id)
        assert self.same_texts(texts_of(read), texts)
        ids = [comment.id for comment in read.comments if comment.id is not None]
        assert len(set(ids)) == len(ids), "two comments have one id"

    def test_long_comment_comes_back_as_it_is(self, adapter: QueueAdapter) -> None:
        task = adapter.create_task(self.queue_name("Todo"), "talk")
        adapter.add_comment(task.id, self.long_text)
        (comment,) = adapter.get_task(task.id).comments
        assert self.same_text(comment.text, self.long_text)
        assert comment.created_at is None or comment.created_at.tzinfo is not None

    @pytest.mark.parametrize("text", ["", " \n"])
    def test_empty_comment_is_refused(self, adapter: QueueAdapter, text: str) -> None:
        task = adapter.create_task(self.queue_name("Todo"), "talk")
        with pytest.raises(InvalidTaskError):
            adapter.add_comment(task.id, text)
        assert adapter.get_task(task.id).comments == ()

    # --- updating ---

    def test_update_sets_what_is_given_and_returns_the_task(self, adapter: QueueAdapter) -> None:
        task = adapter.create_task(self.queue_name("Todo"), "old", "old text")
        updated = adapter.update_task(
            task.id,
            name="new",
            description="new text",
            labels=list(self.labels),
            assignees=self.people(),
        )
        assert (updated.id, self.name_of(updated)) == (task.id, "new")
        assert updated.description == "new text"
        assert self.same(updated.labels, list(self.labels))
        assert self.same(updated.assignees, self.people())
        assert adapter.get_task(task.id) == updated

    def test_update_leaves_what_is_not_given(self, adapter: QueueAdapter) -> None:
        task = adapter.create_task(self.queue_name("Todo"), "name", "text")
        adapter.update_task(task.id, labels=[self.labels[0]])
        adapter.update_task(task.id, assignees=[self.assignees[0]])
        updated = adapter.update_task(task.id, name="other")
        assert (self.name_of(updated), updated.description) == ("other", "text")
        assert updated.labels == (self.labels[0],)
        assert updated.assignees == (self.assignees[0],)
        assert adapter.update_task(task.id) == updated

    def test_update_replaces_whole_lists_and_empty_values_clear(
        self, adapter: QueueAdapter
    ) -> None:
        task_id = adapter.create_task(self.queue_name("Todo"), "name", "text").id
        adapter.update_task(task_id, labels=list(self.labels), assignees=self.people())
        updated = adapter.update_task(
            task_id, labels=[self.labels[1]], assignees=[self.assignees[1]]
        )
        assert (updated.labels, updated.assignees) == ((self.labels[1],), (self.assignees[1],))
        updated = adapter.update_task(task_id, labels=[], assignees=[], description="")
        assert (updated.labels, updated.assignees, updated.description) == ((), (), "")
        assert adapter.get_task(task_id) == updated

    def test_update_keeps_the_place_of_the_task(self, adapter: QueueAdapter) -> None:
        todo = self.queue_name("Todo")
        first = adapter.create_task(todo, "first")
        adapter.create_task(todo, "second")
        adapter.update_task(first.id, name="renamed")
        assert self.names_of(adapter.get_ready_tasks([todo])) == ["renamed", "second"]

    @pytest.mark.parametrize("name", ["", " "])
    def test_empty_name_is_refused_and_nothing_changes(
        self, adapter: QueueAdapter, name: str
    ) -> None:
        task = adapter.create_task(self.queue_name("Todo"), "name", "text")
        with pytest.raises(InvalidTaskError):
            adapter.update_task(task.id, name=name, description="other")
        assert adapter.get_task(task.id) == task

    # --- what is not there ---

    def test_unknown_task_is_an_error_that_names_it(self, adapter: QueueAdapter) -> None:
        calls: list[Callable[[], object]] = [
            lambda: adapter.get_task(self.missing_id),
            lambda: adapter.move_task(self.missing_id, self.queue_name("Done")),
            lambda: adapter.add_comment(self.missing_id, "hello"),
            lambda: adapter.update_task(self.missing_id, name="x"),
        ]
        for call in calls:
            with pytest.raises(TaskNotFoundError) as caught:
                call()
            assert caught.value.task_id == self.missing_id
            assert self.missing_id in str(caught.value)

    def test_unknown_queue_is_an_error_that_names_the_queues(self, adapter: QueueAdapter) -> None:
        missing = self.queue_name("Nowhere")
        calls: list[Callable[[], object]] = [
            lambda: adapter.create_task(missing, "task"),
            lambda: adapter.get_queue(missing),
            lambda: adapter.update_queue(missing, new_name=self.queue_name("X")),
            lambda: adapter.delete_queue(missing),
        ]
        for call in calls:
            with pytest.raises(QueueNotFoundError) as caught:
                call()
            assert caught.value.queue_name == missing
            assert self.queue_name("Todo") in str(caught.value)

    def test_values_that_were_returned_do_not_change(self, adapter: QueueAdapter) -> None:
        task = adapter.create_task(self.queue_name("Todo"), "before")
        queue = adapter.get_queue(self.queue_name("Todo"))
        adapter.update_task(task.id, name="after")
        adapter.create_task(self.queue_name("Todo"), "another")
        assert (self.name_of(task), queue.task_count) == ("before", 1)


def texts_of(task: Task) -> list[str]:
    return [c.text for c in task.comments]
