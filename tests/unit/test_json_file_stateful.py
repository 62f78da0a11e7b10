"""The JSON board against a model: random calls, processes that take turns, and a person's edits."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from athanore.errors import (
    QueueExistsError,
    QueueNotEmptyError,
    QueueNotFoundError,
    TaskMovedError,
    TaskNotFoundError,
)
from athanore.models import Queue
from athanore.queue_adapters.json_file.adapter import JsonFileAdapter

pytestmark = pytest.mark.nightly

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = texts.filter(lambda text: bool(text.strip()))
queue_names = st.sampled_from(["Todo", "In Progress", "Done", "a.b/c", "Über"])
numbers = st.integers(min_value=0, max_value=10_000)
word_lists = st.lists(names, max_size=3)


@dataclass(frozen=True)
class ModelTask:
    id: str
    name: str
    description: str = ""
    labels: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()
    comments: tuple[str, ...] = ()
    secret: int | None = None


@dataclass
class Model:
    queues: dict[str, list[ModelTask]] = field(default_factory=dict[str, list[ModelTask]])

    def tasks(self) -> list[tuple[str, ModelTask]]:
        return [(name, task) for name, tasks in self.queues.items() for task in tasks]

    def put(self, old: ModelTask, new: ModelTask) -> None:
        for tasks in self.queues.values():
            tasks[:] = [new if t == old else t for t in tasks]

    def move(self, task: ModelTask, target: str) -> None:
        for tasks in self.queues.values():
            if task in tasks:
                tasks.remove(task)
        self.queues[target].append(task)


class JsonFileMachine(RuleBasedStateMachine):
    """Two boards over one file, each with a cache of its own, and whoever edits the file."""

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name, "board.json")
        self.boards = [JsonFileAdapter(self.path, user=None) for _ in range(2)]
        self.boards[0].prepare(["Todo", "Done"])
        self.model = Model({"Todo": [], "Done": []})
        self.next_secret = 0

    def teardown(self) -> None:
        self.folder.cleanup()

    def pick(self, number: int) -> tuple[str, ModelTask]:
        tasks = self.model.tasks()
        return tasks[number % len(tasks)]

    def has_tasks(self) -> bool:
        return bool(self.model.tasks())

    @rule(which=numbers, queue=queue_names, name=names, description=texts)
    def create_task(self, which: int, queue: str, name: str, description: str) -> None:
        try:
            task = self.boards[which % 2].create_task(queue, name, description)
        except QueueNotFoundError:
            assert queue not in self.model.queues
            return
        assert task.id not in [t.id for _, t in self.model.tasks()]
        self.model.queues[queue].append(ModelTask(task.id, name, description))

    @precondition(has_tasks)
    @rule(which=numbers, number=numbers, goal=queue_names)
    def move_task(self, which: int, number: int, goal: str) -> None:
        queue, task = self.pick(number)
        try:
            self.boards[which % 2].move_task(task.id, goal)
        except QueueNotFoundError:
            assert goal not in self.model.queues
            return
        if goal != queue:
            self.model.move(task, goal)

    @precondition(has_tasks)
    @rule(which=numbers, number=numbers, source=queue_names, goal=queue_names, user=names)
    def claim_task(self, which: int, number: int, source: str, goal: str, user: str) -> None:
        queue, task = self.pick(number)
        try:
            claimed = self.boards[which % 2].claim_task(
                task.id, source_queue=source, target_queue=goal, assignee=user
            )
        except TaskMovedError:
            assert source != queue
            return
        except QueueNotFoundError:
            assert goal not in self.model.queues
            return
        assert source == queue
        added = () if user in task.assignees else (user,)
        new = replace(task, assignees=(*task.assignees, *added))
        assert claimed.assignees == new.assignees
        self.model.put(task, new)
        if goal != queue:
            self.model.move(new, goal)

    @precondition(has_tasks)
    @rule(which=numbers, number=numbers, text=names)
    def add_comment(self, which: int, number: int, text: str) -> None:
        _, task = self.pick(number)
        self.boards[which % 2].add_comment(task.id, text)
        self.model.put(task, replace(task, comments=(*task.comments, text)))

    @precondition(has_tasks)
    @rule(
        which=numbers,
        number=numbers,
        name=st.none() | names,
        description=st.none() | texts,
        labels=st.none() | word_lists,
        assignees=st.none() | word_lists,
    )
    def update_task(
        self,
        which: int,
        number: int,
        name: str | None,
        description: str | None,
        labels: list[str] | None,
        assignees: list[str] | None,
    ) -> None:
        _, task = self.pick(number)
        self.boards[which % 2].update_task(
            task.id, name=name, description=description, labels=labels, assignees=assignees
        )
        new = replace(
            task,
            name=task.name if name is None else name,
            description=task.description if description is None else description,
            labels=task.labels if labels is None else tuple(labels),
            assignees=task.assignees if assignees is None else tuple(assignees),
        )
        self.model.put(task, new)

    @rule(which=numbers, name=queue_names)
    def create_queue(self, which: int, name: str) -> None:
        try:
            self.boards[which % 2].create_queue(name)
        except QueueExistsError:
            assert name in self.model.queues
            return
        assert name not in self.model.queues
        self.model.queues[name] = []

    @rule(which=numbers, name=queue_names, new_name=queue_names)
    def rename_queue(self, which: int, name: str, new_name: str) -> None:
        try:
            self.boards[which % 2].update_queue(name, new_name=new_name)
        except QueueNotFoundError:
            assert name not in self.model.queues
            return
        except QueueExistsError:
            assert new_name in self.model.queues and new_name != name
            return
        self.model.queues = {
            new_name if q == name else q: tasks for q, tasks in self.model.queues.items()
        }

    @rule(which=numbers, name=queue_names)
    def delete_queue(self, which: int, name: str) -> None:
        try:
            self.boards[which % 2].delete_queue(name)
        except QueueNotFoundError:
            assert name not in self.model.queues
            return
        except QueueNotEmptyError as exc:
            assert exc.task_count == len(self.model.queues[name])
            return
        assert self.model.queues.pop(name) == []

    @rule(which=numbers)
    def restart(self, which: int) -> None:
        self.boards[which % 2] = JsonFileAdapter(self.path, user=None)

    @precondition(has_tasks)
    @rule(
        number=numbers, delete=st.booleans(), rename=st.booleans(), indent=st.sampled_from([2, 4])
    )
    def person_edits(self, number: int, delete: bool, rename: bool, indent: int) -> None:
        """Somebody deletes a task, or adds a field that nobody here knows."""
        queue, task = self.pick(number)
        data = json.loads(self.path.read_text())
        (raw,) = [t for t in data["queues"][queue] if str(t["id"]) == task.id]
        if delete:
            data["queues"][queue].remove(raw)
            self.model.queues[queue].remove(task)
        else:
            self.next_secret += 1
            raw["secret"] = self.next_secret
            self.model.put(task, replace(task, secret=self.next_secret))
        place = self.path.with_name("edited") if rename else self.path
        place.write_text(json.dumps(data, indent=indent))
        place.replace(self.path)

    @invariant()
    def file_is_as_the_model_says(self) -> None:
        queues: dict[str, list[dict[str, Any]]] = json.loads(self.path.read_text())["queues"]
        assert list(queues) == list(self.model.queues)
        for name, raws in queues.items():
            assert [_as_model(raw) for raw in raws] == self.model.queues[name]

    @invariant()
    def boards_read_what_is_in_the_file(self) -> None:
        for board in self.boards:
            assert board.list_queues() == [
                Queue(name, len(tasks)) for name, tasks in self.model.queues.items()
            ]
            read = board.get_ready_tasks(list(self.model.queues))
            assert [(t.queue_name, t.id, t.name) for t in read] == [
                (name, t.id, t.name) for name, t in self.model.tasks()
            ]
            for name, task in self.model.tasks()[:3]:
                whole = board.get_task(task.id)
                assert (whole.queue_name, whole.description) == (name, task.description)
                assert tuple(c.text for c in whole.comments) == task.comments
            try:
                board.get_task("no such id")
            except TaskNotFoundError:
                pass
            else:
                raise AssertionError("found a task that does not exist")


def _as_model(raw: dict[str, Any]) -> ModelTask:
    return ModelTask(
        id=raw["id"],
        name=raw["name"],
        description=raw["description"],
        labels=tuple(raw["labels"]),
        assignees=tuple(raw["assignees"]),
        comments=tuple(c["text"] for c in raw["comments"]),
        secret=raw.get("secret"),
    )


JsonFileMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestJsonFile = JsonFileMachine.TestCase
