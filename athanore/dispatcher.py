"""`AgentDispatcher`: the app object that a user's script makes, and its routes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, Never

from pydantic import ValidationError

from athanore import names
from athanore.agent_adapters.base import AgentAdapter
from athanore.agent_adapters.common.by_task import AN_AGENT, AgentFunction, is_adapter, is_agent
from athanore.errors import ConfigurationError, RouteError, unknown_option
from athanore.forges.base import Forge
from athanore.queue_adapters.base import QueueAdapter, QueueBackend
from athanore.routing.options import INHERIT, Inherit, Seconds, takes
from athanore.routing.outputs import ThenFunction, check_then
from athanore.routing.prompt_functions import PromptFunction, check_prompt_function
from athanore.routing.route_options import MAX_CRASHES, QUEUE_OPTIONS, RouteOptions
from athanore.routing.route_rules import check_beside, check_budgets, check_filters, checked_notify
from athanore.routing.routes import Route, ranked
from athanore.routing.schedules import DraftFunction, Schedule
from athanore.routing.scripts import folder_of_caller, tell_mistakes_in_one_line
from athanore.settings import Settings, explain
from athanore.workspaces.base import PublishesWork, WorkspaceProvider, is_provider

_OPTIONS = ("default_agent", "max_crashes", "name", "notify", "queue_backend", "workspace")


class AgentDispatcher:
    """The app: a board, the routes over its queues, and how agents are run.

    An argument whose default is `INHERIT` comes from the settings (ATHANORE_*), and from the
    default named here when they do not say it either. Durations are seconds or `timedelta`.

    Args:
        command: base command of all routes (`"claude"`), split as a shell would. Default "".
        poll_interval: time between polls of a queue. Default 30.
        agent_timeout: how long an agent may run; None means no limit. Default None.
        max_concurrent_agents: agents at once, over all routes and workers. Default 3.
        api_host: address that the task API binds. Default "127.0.0.1".
        api_port: port of the task API. Default 8000.
        queue_backend: the board: an adapter, or an object with `create_adapter()`, which is called
            at run time. None is legal until `run()`.
        default_agent: runs the agents of routes that name none: an adapter, or a function of the
            task that returns one. Default `SubprocessAgentAdapter()`.
        max_retries: attempts after the first one that failed. Default 0.
        dead_letter_queue: where a task goes when no attempt is left. Default None: it stays.
        enable_queue_management: allow the API to change queues and routes. Default False.
        name: namespaces everything in Prefect: what has one name is one app, wherever its workers
            are. By default that of the folder of the file that makes the dispatcher.
        max_crashes: lost workers that a task survives before it counts as failed. Default 3.
        shutdown_grace: how long running agents may finish at a shutdown. Default 30.
        max_cost_usd: what an attempt may cost, in US dollars. Default None: no limit.
        max_tokens: how many tokens an attempt may use. Default None: no limit.
        task_max_cost_usd: what a task may cost over all attempts and routes. Default None.
        task_max_tokens: how many tokens a task may use so. Default None.
        day_max_cost_usd: what the agents of a route may cost in a day. Default None.
        day_max_tokens: how many tokens they may use in a day. Default None.
        budget_time_zone: where a day ends at midnight (`"Europe/Berlin"`). Default "UTC".
        workspace: gives each task a folder of its own, on routes that say neither `workspace` nor
            `cwd`. Default None: agents start in the worker's folder.
        notify: Prefect's notification blocks that tell people: `["slack-webhook/team"]`.

    Raises:
        ConfigurationError: a value is out of its range; the message names it.
    """

    def __init__(
        self,
        command: str | Inherit = INHERIT,
        poll_interval: Seconds | Inherit = INHERIT,
        agent_timeout: Seconds | Inherit | None = INHERIT,
        max_concurrent_agents: int | Inherit = INHERIT,
        api_host: str | Inherit = INHERIT,
        api_port: int | Inherit = INHERIT,
        queue_backend: QueueAdapter | QueueBackend | None = None,
        default_agent: AgentAdapter | AgentFunction | None = None,
        max_retries: int | Inherit = INHERIT,
        dead_letter_queue: str | Inherit | None = INHERIT,
        enable_queue_management: bool | Inherit = INHERIT,
        *,
        name: str | None = None,
        max_crashes: int = MAX_CRASHES,
        shutdown_grace: Seconds | Inherit = INHERIT,
        workspace: WorkspaceProvider | None = None,
        max_cost_usd: float | Inherit | None = INHERIT,
        max_tokens: int | Inherit | None = INHERIT,
        task_max_cost_usd: float | Inherit | None = INHERIT,
        task_max_tokens: int | Inherit | None = INHERIT,
        day_max_cost_usd: float | Inherit | None = INHERIT,
        day_max_tokens: int | Inherit | None = INHERIT,
        budget_time_zone: str | Inherit = INHERIT,
        notify: Sequence[object] = (),
        **unknown: Never,
    ) -> None:
        given: dict[str, object] = {
            "command": command,
            "poll_interval": _number(poll_interval),
            "agent_timeout": _number(agent_timeout),
            "max_concurrent_agents": max_concurrent_agents,
            "api_host": api_host,
            "api_port": api_port,
            "max_retries": max_retries,
            "dead_letter_queue": dead_letter_queue,
            "enable_queue_management": enable_queue_management,
            "shutdown_grace": _number(shutdown_grace),
            "max_cost_usd": max_cost_usd,
            "max_tokens": max_tokens,
            "task_max_cost_usd": task_max_cost_usd,
            "task_max_tokens": task_max_tokens,
            "day_max_cost_usd": day_max_cost_usd,
            "day_max_tokens": day_max_tokens,
            "budget_time_zone": budget_time_zone,
        }
        tell_mistakes_in_one_line()
        for option in unknown:
            raise unknown_option("AgentDispatcher", option, (*given, *_OPTIONS))
        given = {option: value for option, value in given.items() if value is not INHERIT}
        try:
            self.settings = Settings(**given)  # pyright: ignore[reportArgumentType]
        except ValidationError as exc:
            raise ConfigurationError(explain(exc, given)) from None
        self.is_named = name is not None
        if name is None:
            name = names.folder_name(folder_of_caller())
        if not name.strip() or any(c in name for c in "/%&<>?#:"):
            raise ConfigurationError(
                f"name={name!r} must not be empty nor contain any of / % & < > ? # : ; "
                "it becomes part of names in Prefect."
            )
        if name.lower().startswith("prefect"):
            raise ConfigurationError(
                f"name={name!r} must not begin with 'prefect': Prefect reserves such work pools."
            )
        if default_agent is not None and not is_agent(default_agent):
            raise ConfigurationError(f"default_agent={default_agent!r} must be {AN_AGENT}.")
        self.name = name
        self.default_agent = default_agent
        self.max_crashes = max_crashes
        if workspace is not None and not is_provider(workspace):
            raise ConfigurationError(
                f"workspace={workspace!r} must be a workspace, such as GitWorkspace(...)."
            )
        self.workspace = workspace
        self.notify = checked_notify(notify)
        self._queue_backend = queue_backend
        self._routes: dict[str, Route] = {}
        self._schedules: dict[str, Schedule] = {}
        self._board: QueueAdapter | None = None
        self._board_lock = threading.Lock()

    @takes(RouteOptions)
    def route(self, options: RouteOptions) -> Callable[[PromptFunction], PromptFunction]:
        """Watch a queue; the decorated function writes the prompt for each of its tasks.

        The function takes `(task_id, task_name)`, and may take `task`, `attempt` and `workspace`
        beside them; it may be async. It stays callable as it was. `RouteOptions` and
        `docs/routes.md` explain every option; only the first, `queue_name`, is required.

        Raises:
            RouteError: an option is wrong, another route has the name or is in its way otherwise,
                or one of the two would never be given a task.
        """

        def register(function: PromptFunction) -> PromptFunction:
            route = Route.of(options, function, self._inherited)
            check_prompt_function(route.name, function)
            self.add_route(route)
            return function

        return register

    def then(self, name: str) -> Callable[[ThenFunction], ThenFunction]:
        """Say where the tasks of a route go, by what their agents have handed in (`output=`).

        The decorated function takes the task and the result, and returns the name of the queue
        that the task goes to, or None to leave it where it is; it may be async. It is called when
        the agent has succeeded, possibly more than once, so it only decides.

        Args:
            name: the route, which is defined before.

        Raises:
            RouteError: there is no such route; it has no `output`, or says already where its tasks
                go; or the function takes something else.
        """
        route = self._routes.get(name)
        if route is None:
            close = get_close_matches(name, self._routes, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {list(self._routes)!r}."
            raise RouteError(f"then({name!r}): no route is called so above it; {hint}")
        if route.output is None:
            raise RouteError(
                f"then({name!r}): the route has no output=, so there is no result to decide by."
            )
        if route.done_queue is not None or route.then is not None:
            other = "another then" if route.then else f"done_queue={route.done_queue!r}"
            raise RouteError(f"then({name!r}): {other} says already where its tasks go.")

        def register(function: ThenFunction) -> ThenFunction:
            check_then(name, function)
            self._routes[name] = replace(route, then=function)
            return function

        return register

    def every[F: DraftFunction](
        self,
        cron: str,
        *,
        queue: str,
        name: str,
        time_zone: str = "UTC",
        description: str = "",
        labels: Sequence[str] = (),
    ) -> Callable[[F], F]:
        """Have a task created on the board at the times that a cron expression names.

        Called by itself, it is complete. As a decorator, the function says what is in each task:
        it returns a `TaskDraft`, a text (the description), or None for no task this time; it may
        be async, and may take `slot`, the time that the task is for.

        Args:
            cron: minute, hour, day of the month, month, day of the week: `"0 6 * * 1"`.
            queue: where the tasks go; a route that watches it starts an agent at once.
            name: names it in Prefect and in commands; the title of its tasks.
            time_zone: where the times are counted, as `"Europe/Berlin"`.
            description: of its tasks.
            labels: of its tasks.

        Raises:
            ConfigurationError: a value is wrong, or something is called so already.
        """
        schedule = Schedule.of(name, cron, queue, time_zone, description, labels)
        if name in self._schedules or name in self._routes:
            raise ConfigurationError(
                f"every(name={name!r}): a schedule or a route is called so already; "
                "give one of them another name=."
            )
        self._schedules[name] = schedule

        def register(function: F) -> F:
            self._schedules[name] = replace(schedule, function=function)
            return function

        return register

    @property
    def schedules(self) -> Mapping[str, Schedule]:
        """What is created by the clock, by name, in the order of its registration."""
        return self._schedules

    def default_route(self, queue_name: str, prompt: PromptFunction, **queues: Any) -> Route:
        """A route that names queues, and has no other options of its own."""
        return Route.of(RouteOptions(queue_name, **queues), prompt, self._inherited)

    def _inherited(self, argument: str) -> object:
        """What a route inherits of the dispatcher."""
        return getattr(self.settings if argument in Settings.model_fields else self, argument)

    def add_route(self, route: Route) -> None:
        """Register a route that was made by hand.

        Raises:
            RouteError: another route has its name or is in its way otherwise, or one of the two
                would never be given a task; or it has a budget that cannot bind its agent.
        """
        if route.name in self._schedules:
            raise RouteError(
                f"Route {route.name!r}: a schedule is called so already; give it another name=."
            )
        check_beside(route, self._routes.values())
        check_filters([*self._routes.values(), route])
        self.check_budgets(route)
        self._routes[route.name] = route

    def check_budgets(self, route: Route) -> None:
        """Refuse a budget that cannot bind the agent of a route.

        Raises:
            RouteError: nobody would know when it is used up.
        """
        for with_agent in route.by_turns():
            try:
                agent = self.agent_for(with_agent)
            except ConfigurationError:
                continue  # nothing to run, which is said elsewhere, or another one for each task
            check_budgets(agent, route)

    @property
    def routes(self) -> Mapping[str, Route]:
        """The routes by name, in the order of their registration."""
        return self._routes

    def ranked_routes(self) -> list[Route]:
        """The routes as slots are given to them: by priority, then in registration order.

        Routes without a priority come after those with one.
        """
        return ranked(self._routes.values())

    def queue_names(self) -> list[str]:
        """Every queue that the routes name, in pipeline order, each once."""
        found = [
            getattr(route, option)
            for options in (QUEUE_OPTIONS[:2], QUEUE_OPTIONS[2:])
            for route in self._routes.values()
            for option in options
        ]
        found += [schedule.queue for schedule in self._schedules.values()]
        found += [queue for route in self._routes.values() for queue in route.unblocking_queues]
        return list(dict.fromkeys(queue for queue in found if queue))

    @property
    def board(self) -> QueueAdapter:
        """The board's adapter, made on first use.

        Raises:
            ConfigurationError: no `queue_backend` was given.
        """
        with self._board_lock:
            if self._board is None:
                backend = self._queue_backend
                if backend is None:
                    raise ConfigurationError(
                        "The dispatcher has no board: pass queue_backend=, for example "
                        'AgentDispatcher(queue_backend=JsonFileAdapter("board.json")).'
                    )
                self._board = (
                    backend.create_adapter() if isinstance(backend, QueueBackend) else backend
                )
            return self._board

    @property
    def queue_backend(self) -> QueueAdapter | QueueBackend | None:
        """What the board was said to be."""
        return self._queue_backend

    def use_board_of(self, other: AgentDispatcher) -> None:
        """Have the same adapter as another one, instead of one that would be made."""
        self._board = other.board

    def without_routes(self) -> AgentDispatcher:
        """The same app without routes and schedules, as one that is to be no more."""
        other = copy(self)
        other._routes, other._schedules = {}, {}
        return other

    def take_over(self, newer: AgentDispatcher, held: Iterable[Route], settings: Settings) -> None:
        """Have the routes, the schedules and the defaults of a newer version of the code.

        What runs already keeps the route that it was given. The board and the name stay.

        Args:
            held: routes that are not in the newer version, and stay.
            settings: those that count from now on.
        """
        self._routes = {**newer._routes, **{route.name: route for route in held}}
        self._schedules = dict(newer._schedules)
        self.default_agent, self.workspace = newer.default_agent, newer.workspace
        self.max_crashes, self.notify = newer.max_crashes, newer.notify
        self.settings = settings

    @property
    def forges(self) -> list[Forge]:
        """Where the routes publish, each forge once; their credentials are no agent's."""
        providers = [self.workspace, *(route.workspace for route in self._routes.values())]
        found = [p.forge for p in providers if isinstance(p, PublishesWork)]
        return list({id(forge): forge for forge in found if forge is not None}.values())

    def agent_for(self, route: Route) -> AgentAdapter:
        """The adapter that runs a route's agents: the route's, the default one, a subprocess.

        Raises:
            ConfigurationError: the route has neither an agent nor a command to start, or it is
                known only of a task which agent works on it.
        """
        agent = route.agent or self.default_agent
        if agent is None:
            from athanore.agent_adapters.subprocess import SubprocessAgentAdapter

            agent = SubprocessAgentAdapter()
            if not route.command:
                raise ConfigurationError(
                    f"Route {route.name!r} has nothing to run: pass command= to the "
                    "dispatcher or the route, or agent= to the route."
                )
        if not is_adapter(agent):
            raise ConfigurationError(f"Route {route.name!r} has another agent for each task.")
        return agent


def _number(value: Seconds | Inherit | None) -> float | Inherit | None:
    return value.total_seconds() if isinstance(value, timedelta) else value
