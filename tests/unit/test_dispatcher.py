"""The app object: its defaults, its routes, its board and its agents."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from athanore import (
    NO_DEAD_LETTER,
    AgentDispatcher,
    ConfigurationError,
    MemoryAdapter,
    QueueAdapter,
    Route,
    ScriptedAgent,
    SubprocessAgentAdapter,
)
from athanore.errors import RouteError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty folder: a `.env` of somebody's clone must not count."""
    monkeypatch.chdir(tmp_path)
    yield


def prompt(task_id: str, task_name: str) -> str:
    return f"{task_id}: {task_name}"


def only_route(dispatcher: AgentDispatcher) -> Route:
    (route,) = dispatcher.routes.values()
    return route


def test_the_defaults_are_those_of_the_reference() -> None:
    dispatcher = AgentDispatcher()
    dispatcher.route("Todo")(prompt)
    settings, route = dispatcher.settings, only_route(dispatcher)
    assert settings.command == ""
    assert settings.max_concurrent_agents == 3
    assert (settings.api_host, settings.api_port) == ("127.0.0.1", 8000)
    assert settings.enable_queue_management is False
    assert route.in_progress_queue == "In Progress"
    assert route.poll_interval == timedelta(seconds=30)
    assert route.timeout is None
    assert route.priority is None
    assert route.retry.max_retries == 0
    assert route.dead_letter_queue is None
    assert route.args == ()


def test_arguments_may_be_given_in_the_order_of_the_reference() -> None:
    board, agent = MemoryAdapter(), ScriptedAgent()
    dispatcher = AgentDispatcher(
        "claude", 10, 60, 2, "127.0.0.1", 9000, board, agent, 1, "Failed", True
    )
    settings = dispatcher.settings
    assert settings.command == "claude"
    assert (settings.poll_interval, settings.agent_timeout) == (10, 60)
    assert settings.max_concurrent_agents == 2
    assert settings.api_port == 9000
    assert dispatcher.board is board
    assert dispatcher.default_agent is agent
    assert (settings.max_retries, settings.dead_letter_queue) == (1, "Failed")
    assert settings.enable_queue_management is True


def test_the_decorated_function_stays_callable() -> None:
    dispatcher = AgentDispatcher()
    assert dispatcher.route("Todo")(prompt) is prompt


def test_a_route_takes_what_it_does_not_say_from_the_dispatcher() -> None:
    dispatcher = AgentDispatcher(
        command="claude --fast",
        poll_interval=timedelta(minutes=1),
        agent_timeout=600,
        max_retries=2,
        dead_letter_queue="Failed",
        max_crashes=1,
    )
    dispatcher.route("Todo")(prompt)
    route = only_route(dispatcher)
    assert route.format_command("p") == ["claude", "--fast", "p"]
    assert route.poll_interval == timedelta(minutes=1)
    assert route.timeout == timedelta(minutes=10)
    assert (route.retry.max_retries, route.retry.max_crashes) == (2, 1)
    assert route.dead_letter_queue == "Failed"


def test_what_a_route_says_wins() -> None:
    dispatcher = AgentDispatcher(
        command="claude", poll_interval=60, agent_timeout=600, max_retries=2, dead_letter_queue="F"
    )
    dispatcher.route(
        "Todo",
        command="codex",
        poll_interval=10,
        timeout=None,
        max_retries=0,
        dead_letter_queue=NO_DEAD_LETTER,
        cwd="/work",
        env={"A": "b"},
    )(prompt)
    route = only_route(dispatcher)
    assert route.command == "codex"
    assert route.poll_interval == timedelta(seconds=10)
    assert route.timeout is None
    assert route.retry.max_retries == 0
    assert route.dead_letter_queue is None
    assert (route.cwd, route.env) == (Path("/work"), {"A": "b"})


def test_none_as_dead_letter_queue_means_the_dispatchers_as_in_the_reference() -> None:
    dispatcher = AgentDispatcher(dead_letter_queue="Failed")
    dispatcher.route("Todo", dead_letter_queue=None)(prompt)
    assert only_route(dispatcher).dead_letter_queue == "Failed"


def test_routes_rank_by_priority_and_then_by_registration() -> None:
    dispatcher = AgentDispatcher()
    for name, priority in [("a", None), ("b", 2), ("c", 0), ("d", None), ("e", 2), ("f", -1)]:
        dispatcher.route(name, priority=priority)(prompt)
    assert [r.queue_name for r in dispatcher.ranked_routes()] == ["f", "c", "b", "e", "a", "d"]
    assert list(dispatcher.routes) == ["a", "b", "c", "d", "e", "f"]


def test_all_queues_are_named_once_and_in_pipeline_order() -> None:
    dispatcher = AgentDispatcher(dead_letter_queue="Failed")
    dispatcher.route("Todo", done_queue="Review")(prompt)
    dispatcher.route("Review", done_queue="Done", on_cancel="Todo")(prompt)
    assert dispatcher.queue_names() == ["Todo", "In Progress", "Review", "Failed", "Done"]


def test_no_two_routes_have_one_name_or_all_tasks_of_one_queue() -> None:
    dispatcher = AgentDispatcher()
    dispatcher.route("Todo", was=["Inbox"])(prompt)
    with pytest.raises(RouteError, match="another route is called 'Todo' already"):
        dispatcher.route("Todo")(prompt)
    with pytest.raises(RouteError, match="another route is called 'Inbox' already, or was"):
        dispatcher.route("Other", name="Inbox")(prompt)
    with pytest.raises(RouteError, match="so none is left for route 'Two'"):
        dispatcher.route("Todo", name="Two")(prompt)


def test_a_route_is_called_as_its_queue_unless_it_has_a_name() -> None:
    dispatcher = AgentDispatcher()
    dispatcher.route("Todo", name="Coder")(prompt)
    dispatcher.route("Review")(prompt)
    assert list(dispatcher.routes) == ["Coder", "Review"]
    assert [r.queue_name for r in dispatcher.routes.values()] == ["Todo", "Review"]
    with pytest.raises(RouteError, match="Route 'Todo': name=' ' must not be empty"):
        dispatcher.route("Todo", name=" ")(prompt)


@pytest.mark.parametrize("first", ["Todo", "In Progress"])
def test_a_queue_in_progress_is_not_watched_whichever_route_comes_first(first: str) -> None:
    dispatcher = AgentDispatcher()
    options = {"Todo": "In Progress", "In Progress": "Other"}
    second = next(n for n in options if n != first)
    dispatcher.route(first, in_progress_queue=options[first])(prompt)
    with pytest.raises(RouteError, match="claimed twice"):
        dispatcher.route(second, in_progress_queue=options[second])(prompt)


def test_the_board_is_made_once_and_only_when_it_is_needed() -> None:
    made: list[QueueAdapter] = []

    class Backend:
        def create_adapter(self) -> QueueAdapter:
            made.append(MemoryAdapter())
            return made[-1]

    dispatcher = AgentDispatcher(queue_backend=Backend())
    assert made == []
    assert dispatcher.board is dispatcher.board
    assert made == [dispatcher.board]


def test_no_board_is_an_error_only_when_it_is_needed() -> None:
    dispatcher = AgentDispatcher()
    with pytest.raises(ConfigurationError, match="pass queue_backend="):
        _ = dispatcher.board


def test_the_agent_is_the_routes_or_the_default_or_a_subprocess() -> None:
    own, default = ScriptedAgent(), ScriptedAgent()
    with_default = AgentDispatcher(default_agent=default)
    plain = AgentDispatcher(command="my-agent")
    for dispatcher in (with_default, plain):
        dispatcher.route("Own", agent=own)(prompt)
        dispatcher.route("None")(prompt)
    assert with_default.agent_for(with_default.routes["Own"]) is own
    assert with_default.agent_for(with_default.routes["None"]) is default
    assert plain.agent_for(plain.routes["Own"]) is own
    assert isinstance(plain.agent_for(plain.routes["None"]), SubprocessAgentAdapter)


def test_neither_command_nor_agent_is_an_error_that_says_what_to_pass() -> None:
    dispatcher = AgentDispatcher()
    dispatcher.route("Todo")(prompt)
    with pytest.raises(ConfigurationError, match="'Todo' has nothing to run: pass command="):
        dispatcher.agent_for(only_route(dispatcher))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"poll_interval": 0}, "poll_interval=0"),
        ({"poll_interval": timedelta(seconds=-1)}, "poll_interval=-1"),
        ({"max_concurrent_agents": 0}, "max_concurrent_agents=0"),
        ({"max_retries": -1}, "max_retries=-1"),
        ({"api_port": 70000}, "api_port=70000"),
        ({"agent_timeout": "soon"}, "agent_timeout='soon'"),
        ({"name": "a/b"}, "name='a/b'"),
        ({"name": " "}, "name=' '"),
    ],
)
def test_a_wrong_argument_is_named_with_its_value(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        AgentDispatcher(**arguments)  # pyright: ignore[reportArgumentType]
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_args_that_are_one_string_are_refused_with_the_list_to_write() -> None:
    with pytest.raises(RouteError, match=r"\['--agent', 'x'\]"):
        AgentDispatcher().route("Todo", args="--agent x")(prompt)


def test_an_unnamed_app_is_named_after_the_folder_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "two words"
    folder.mkdir()
    (folder / "run.py").write_text(
        "from athanore import AgentDispatcher\n"
        "class Mine(AgentDispatcher):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "apps = [AgentDispatcher(), Mine(), AgentDispatcher(name='said')]\n"
    )
    monkeypatch.chdir(tmp_path)  # from where it is started makes no difference
    made = runpy.run_path("two words/run.py")["apps"]
    assert [app.name for app in made] == ["two-words", "two-words", "said"]
    assert [app.is_named for app in made] == [False, False, True]
