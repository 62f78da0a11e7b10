"""A board of each kind, on a double that fails as a test wants it; one table for all such tests."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from athanore.queue_adapters.base import QueueAdapter
from athanore.testing.doubles.github import GitHubDouble, github_double
from athanore.testing.doubles.gitlab import gitlab_double
from athanore.testing.doubles.jira import JiraDouble, jira_double
from athanore.testing.doubles.linear import linear_double
from athanore.testing.doubles.planka import planka_double
from athanore.testing.doubles.wire import Kind

QUEUES = ("Todo", "In Progress", "Done")

type What = Literal["task", "comment"]


class Closable(QueueAdapter, Protocol):
    """An adapter that keeps connections."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Site:
    """An empty board on a server that loses answers.

    Attributes:
        another: makes another process's adapter on the same board.
        new: makes a task in a queue, as a person does; returns its id.
        place: in which queue the server has a task.
        fail: what becomes of so many of the next tasks, or comments, that the adapter makes.
        blind: has the next look for a task, or a comment, fail.
        count: how many tasks, or comments, the server has.
        prefix: what the names of queues begin with.
        made_in: where tests have the adapter make tasks: a queue in which they do not begin, if a
            board has such.
        block: has the writes fail that take a new task to its queue, until what it returns is
            called; None where a task is made in its queue.
        repeats: whether the board sends a task once more that it does not find.
    """

    adapter: QueueAdapter
    another: Callable[[], Closable]
    new: Callable[[str], str]
    place: Callable[[str], str]
    fail: Callable[[What, Kind, int], None]
    blind: Callable[[What], None]
    count: Callable[[What], int]
    prefix: str = ""
    made_in: str = "Todo"
    block: Callable[[], Callable[[], None]] | None = None
    repeats: bool = True


def _blocked(double: GitHubDouble | JiraDouble, path: str) -> Callable[[], None]:
    double.fail("POST", path, 503, 1_000)
    double.fail("GET", "/issues", "page", 1_000)
    double.fail("POST", "/search", "page", 1_000)
    return double.wire.faults.clear


def _github_site(
    double: GitHubDouble,
    adapter: QueueAdapter,
    another: Callable[[], Closable],
    new: Callable[[str], str],
    place: Callable[[str], str],
) -> Site:
    paths: dict[What, str] = {"task": "/issues", "comment": "/comments"}
    state = double.state
    return Site(
        adapter,
        another,
        new,
        place,
        lambda what, kind, times: double.fail("POST", paths[what], kind, times),
        lambda what: double.fail("GET", paths[what], "page"),
        lambda what: (
            len(state.issues) if what == "task" else sum(map(len, state.comments.values()))
        ),
    )


def _labelled(double: GitHubDouble, task: str) -> str:
    """The first queue whose label an issue has; one that has lost its label is in progress."""
    labels = double.labels(int(task.rpartition("-")[2]))
    return next((queue for queue in QUEUES if f"agent:{queue}" in labels), "In Progress")


@contextmanager
def on_github() -> Generator[Site]:
    with github_double() as double, closing(double.board().create_adapter()) as adapter:
        yield _github_site(
            double,
            adapter,
            double.board().create_adapter,
            lambda queue: str(double.issue("Fix crash", f"agent:{queue}")["number"]),
            lambda task: _labelled(double, task),
        )


@contextmanager
def on_several_repositories() -> Generator[Site]:
    with (
        github_double(others=["octo-org/api"]) as double,
        closing(double.board("octo-org/api").create_adapter()) as adapter,
    ):
        yield _github_site(
            double,
            adapter,
            double.board("octo-org/api").create_adapter,
            lambda queue: f"website-{double.issue('Fix crash', f'agent:{queue}')['number']}",
            lambda task: _labelled(double, task),
        )


@contextmanager
def on_a_github_project() -> Generator[Site]:
    with github_double(project=("octo-org", 5)) as double:
        double.project.start_anew([*QUEUES])

        def new(queue: str) -> str:
            row = double.issue("Fix crash")
            double.project.add(row, queue)
            return f"website-{row['number']}"

        def place(task: str) -> str:
            row = double.state.issue(int(task.rpartition("-")[2]))
            return str(double.project.column(row))

        with closing(double.project_board().create_adapter()) as adapter:
            another = double.project_board().create_adapter
            site = _github_site(double, adapter, another, new, place)
            yield replace(site, block=lambda: _blocked(double, "/graphql"))


@contextmanager
def on_gitlab(**options: Any) -> Generator[Site]:
    paths: dict[What, str] = {"task": "/issues", "comment": "/notes"}
    with gitlab_double() as double, closing(double.board(**options).create_adapter()) as adapter:

        def place(task: str) -> str:
            labels = double.labels(int(task))
            return next((q for q in reversed(QUEUES) if f"agent::{q}" in labels), "Todo")

        def count(what: What) -> int:
            if what == "task":
                return len(double.state.issues)
            return sum(
                not note["system"] for notes in double.state.notes.values() for note in notes
            )

        yield Site(
            adapter,
            double.board(**options).create_adapter,
            lambda queue: str(double.issue("Fix crash", f"agent::{queue}", "bug")["iid"]),
            place,
            lambda what, kind, times: double.fail("POST", paths[what], kind, times),
            lambda what: double.fail("GET", paths[what], "page"),
            count,
        )


@contextmanager
def on_jira() -> Generator[Site]:
    made: dict[What, str] = {"task": "/issue", "comment": "/comment"}
    looks: dict[What, tuple[str, str]] = {
        "task": ("POST", "/search"),
        "comment": ("GET", "/comment"),
    }
    with jira_double() as double, closing(double.board().create_adapter()) as adapter:
        state = double.state
        yield Site(
            adapter,
            double.board().create_adapter,
            lambda queue: double.issue("Fix crash", queue)["key"],
            double.status,
            lambda what, kind, times: double.fail("POST", made[what], kind, times),
            lambda what: double.fail(*looks[what], "page"),
            lambda what: (
                len(state.issues) if what == "task" else sum(map(len, state.comments.values()))
            ),
            made_in="In Progress",
            block=lambda: _blocked(double, "/transitions"),
            repeats=False,
        )


@contextmanager
def on_linear() -> Generator[Site]:
    made: dict[What, str] = {"task": "Create", "comment": "AddComment"}
    looks: dict[What, str] = {"task": "Issue", "comment": "Comment"}
    with linear_double() as double, closing(double.board().create_adapter()) as adapter:
        yield Site(
            adapter,
            double.board().create_adapter,
            lambda queue: double.issue("Fix crash", queue)["id"],
            double.queue,
            lambda what, kind, times: double.fail(made[what], kind, times),
            lambda what: double.fail(looks[what], "page"),
            lambda what: len(double.state.issues if what == "task" else double.state.comments),
        )


@contextmanager
def on_planka() -> Generator[Site]:
    made: dict[What, str] = {"task": "/cards", "comment": "/comments"}
    looks: dict[What, str] = {"task": "/boards/", "comment": "/comments"}
    with planka_double() as double, closing(double.board().create_adapter()) as adapter:
        names = {row["id"]: f"Website.Work.{row['name']}" for row in double.state.rows("lists")}
        yield Site(
            adapter,
            double.board().create_adapter,
            lambda queue: double.card(queue, "Fix crash")["id"],
            lambda task: names[double.state.rows("cards", id=task)[0]["listId"]],
            lambda what, kind, times: double.fail("POST", made[what], kind, times),
            lambda what: double.fail("GET", looks[what], "page"),
            lambda what: len(double.state.rows("cards" if what == "task" else "comments")),
            prefix="Website.Work.",
            repeats=False,
        )


class _Plain:
    """A board without `claim_task` of its own, whose claim is a move and a read."""

    def __init__(self, adapter: Any) -> None:
        self._adapter = adapter

    def __getattr__(self, name: str) -> Any:
        if name in ("claim_task", "user"):
            raise AttributeError(name)
        return getattr(self._adapter, name)


@contextmanager
def on_a_plain_board() -> Generator[Site]:
    with on_gitlab() as site:
        yield replace(site, adapter=_Plain(site.adapter))  # pyright: ignore[reportArgumentType]


SITES: dict[str, Callable[[], AbstractContextManager[Site]]] = {
    "github": on_github,
    "github-several": on_several_repositories,
    "github-project": on_a_github_project,
    "gitlab": on_gitlab,
    "gitlab-links": lambda: on_gitlab(blockers=True),
    "jira": on_jira,
    "linear": on_linear,
    "planka": on_planka,
    "plain": on_a_plain_board,
}
