"""The agent of a route, or its model, is a function of the task."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from athanore import (
    AgentDispatcher,
    AgentOutcome,
    AgentResult,
    CliAgentAdapter,
    MemoryAdapter,
    Task,
)
from athanore.agent_adapters.base import AgentJob, Meter
from athanore.errors import AgentChoiceError, ConfigurationError, NotFoundError, RouteError
from athanore.flows import provider_limits
from athanore.flows.agent_choice import is_by_task, with_agent
from athanore.launch.inspection.checks import check_agent
from athanore.launch.renewal.code import differences
from athanore.models import Fault, FaultKind
from athanore.routing.routes import Route
from athanore.runtime.accounts import account_of, meter_of
from athanore.runtime.apps import App
from athanore.runtime.versions import app_version
from tests.harness import prompt
from tests.memory_store import MemoryRunStore, no_events

__all__ = ["no_events"]


class Named:
    """An agent with an account and a meter."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def run(self, job: AgentJob) -> AgentResult:
        return AgentResult(AgentOutcome.SUCCEEDED)

    def account(self, env: object) -> str:
        return self.name

    @property
    def meter(self) -> Meter:
        return Meter(self.name, cost=self.name == "counted", tokens=True)


ONE, OTHER = Named("one"), Named("other")


def by_label(task: Task) -> Named:
    return ONE if "easy" in task.labels else OTHER


def site(default: Any = None, **options: Any) -> App:
    board = MemoryAdapter(["Todo", "In Progress"])
    dispatcher = AgentDispatcher("true", queue_backend=board, name="by-task", default_agent=default)
    dispatcher.route("Todo", **options)(prompt)
    board.create_task("Todo", "Easy")
    board.update_task("1", labels=("easy",))
    board.create_task("Todo", "Hard")
    return App("run.py:dispatcher", dispatcher)


async def chosen(app: App, task_id: str) -> Route:
    return await with_agent(app, app.dispatcher.routes["Todo"], lambda: app.board.task(task_id))


async def agent_of(app: App, task_id: str) -> Any:
    return app.dispatcher.agent_for(await chosen(app, task_id))


async def test_the_default_and_the_fallback_agent_may_be_functions_too() -> None:
    app = site(by_label)
    assert [await agent_of(app, t) for t in ("1", "2")] == [ONE, OTHER]
    app = site(agent=returning(ONE), fallback_agent=by_label)
    assert [len((await chosen(app, t)).by_turns()) for t in ("1", "2")] == [1, 2]
    assert app.dispatcher.agent_for((await chosen(app, "2")).by_turns()[1]) is OTHER
    assert is_by_task(app.dispatcher, app.dispatcher.routes["Todo"])
    check_agent(app.dispatcher, app.dispatcher.routes["Todo"])


async def test_one_that_takes_over_for_a_task_leaves_the_task_to_go_on() -> None:
    app, client = site(agent=by_label, fallback_agent=returning(Named("third"))), MemoryRunStore()
    route = await chosen(app, "1")
    first, third = (account_of(app, turn) for turn in route.by_turns())
    fault = Fault(FaultKind.PROVIDER, retry_at=app.clock.now() + timedelta(hours=1))
    said = await provider_limits.reached(client, app, route, fault)
    assert first != third and said.due <= app.clock.now(), "the fallback agent is free"
    said = await provider_limits.reached(client, app, route.by_turns()[1], fault)
    assert said.due > app.clock.now()


async def test_the_function_says_which_agent_works_on_a_task() -> None:
    app = site(agent=by_label)
    assert [await agent_of(app, t) for t in ("1", "2")] == [ONE, OTHER]
    app.board.adapter.update_task("2", labels=("easy",))
    assert await agent_of(app, "2") is ONE, "the next start asks again"


@pytest.mark.parametrize("place", ["agent", "default", "of the function", "fallback"])
async def test_the_function_says_which_model_works_on_a_task(place: str) -> None:
    codex = CliAgentAdapter("codex", model=lambda t: "small" if "easy" in t.labels else None)
    app = {
        "agent": lambda: site(agent=codex),
        "default": lambda: site(codex),
        "of the function": lambda: site(agent=returning(codex)),
        "fallback": lambda: site(agent=ONE, fallback_agent=codex),
    }[place]()
    route = app.dispatcher.routes["Todo"]
    assert is_by_task(app.dispatcher, route)
    for task_id, model in (("1", "small"), ("2", None)):
        found = (await chosen(app, task_id)).by_turns()[-1]
        assert meter_of(app, found) == Meter("codex", tokens=True, model=model)
    assert codex.meter.model is None, "the adapter of all tasks stays as it is"


def returning(value: Any) -> Callable[[Task], Any]:
    return lambda _: value


def raises(_: Task) -> Named:
    raise KeyError("size")


@pytest.mark.parametrize(
    ("agent", "says"),
    [
        (raises, r"KeyError: 'size'"),
        (returning(None), r"TypeError: the lambda returned None, which is no agent adapter"),
        (returning("codex"), r"the lambda returned 'codex', which is no agent adapter"),
        (returning(Named), r"which is a class; call it"),
        (returning(CliAgentAdapter("codex", model=returning(3))), r"returned 3, which is the name"),
        (returning(CliAgentAdapter("codex", model=returning(" "))), r"returned ' ', which is the"),
    ],
)
async def test_a_function_that_fails_holds_its_task_and_says_so(agent: Any, says: str) -> None:
    app = site(agent=agent)
    with pytest.raises(AgentChoiceError, match=rf"Task '2' is held: route 'Todo' .*{says}"):
        await agent_of(app, "2")


async def test_a_budget_that_cannot_bind_the_chosen_agent_holds_the_task() -> None:
    def choose(task: Task) -> Named:
        return Named("counted") if task.id == "1" else OTHER

    app = site(agent=choose, max_cost_usd=1)
    assert (await agent_of(app, "1")).name == "counted"
    with pytest.raises(AgentChoiceError, match=r"RouteError: Route 'Todo': max_cost_usd=1: "):
        await agent_of(app, "2")


async def test_a_task_that_is_gone_has_no_agent() -> None:
    with pytest.raises(NotFoundError):
        await agent_of(site(agent=by_label), "99")


def test_what_is_neither_an_agent_nor_a_function_is_refused() -> None:
    for wrong in ("codex", Named, 3):
        with pytest.raises(RouteError, match="must be an agent adapter, or a function of a task"):
            site(agent=wrong)
        with pytest.raises(RouteError, match="must be an agent adapter, or a function of a task"):
            site(fallback_agent=wrong)
        with pytest.raises(ConfigurationError, match="must be an agent adapter, or a function of"):
            site(wrong)


def test_nothing_of_an_unknown_agent_is_checked_before(tmp_path: Any) -> None:
    app = site(agent=by_label)
    check_agent(app.dispatcher, app.dispatcher.routes["Todo"])
    assert app.dispatcher.routes["Todo"].describe() == "chosen by by_label()"
    with pytest.raises(ConfigurationError, match="another agent for each task"):
        app.dispatcher.agent_for(app.dispatcher.routes["Todo"])


def other_function(task: Task) -> Named:
    return OTHER if task.id == "1" else ONE


def test_another_function_is_another_version_and_is_announced() -> None:
    versions, apps = set[str](), list[Any]()
    functions: list[Callable[[Task], Named]] = [by_label, other_function, by_label]
    for function in functions:
        apps.append(site(agent=function).dispatcher)
        versions.add(app_version(apps[-1]))
    assert len(versions) == 2
    (said,) = differences(apps[0].routes, apps[1].routes)
    assert said == "route 'Todo': agent chosen by by_label() -> chosen by other_function()"
    assert differences(apps[0].routes, apps[2].routes) == []
    one: Callable[[Task], Named] = lambda _: ONE  # noqa: E731
    other: Callable[[Task], Named] = lambda _: OTHER  # noqa: E731
    by_lambda = [site(agent=f).dispatcher.routes for f in (one, other)]
    assert differences(by_lambda[0], by_lambda[1]) == ["route 'Todo': another function of agent="]


async def test_an_adapter_that_is_called_by_itself_chooses_its_model(tmp_path: Any) -> None:
    script = tmp_path / "codex"
    script.write_text('#!/bin/sh\necho "$@" > said\n')
    script.chmod(0o755)
    adapter = CliAgentAdapter("codex", model=lambda t: f"for-{t.id}", program=script)
    app = site()
    route: Any = app.dispatcher.routes["Todo"]
    env = {"PATH": "/usr/bin:/bin"}
    await adapter.run(AgentJob(Task("7", "x", "Todo"), route, "hi", env=env, cwd=tmp_path))
    assert "-m for-7" in (tmp_path / "said").read_text()
