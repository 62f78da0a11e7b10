"""A route: which queue is watched, what is started for its tasks, and what happens then."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from athanore.agent_adapters.base import SupportsMeter
from athanore.agent_adapters.common.by_task import is_agent_function, name_of
from athanore.errors import RouteError
from athanore.models import RetryPolicy, Task
from athanore.routing.options import INHERIT
from athanore.routing.outputs import ThenFunction, check_output
from athanore.routing.prompt_functions import PromptFunction, call_prompt_function
from athanore.routing.route_options import OPTIONS, RouteOptions
from athanore.texts import operand
from athanore.workspaces.base import ShowsWork, cannot_publish

if TYPE_CHECKING:
    from athanore.agent_adapters.base import RouteView
    from athanore.workspaces.base import Workspace
else:
    RouteView = object


@dataclass(frozen=True)
# That a descriptor is as good as a property is not seen by the type checker.
class Route(RouteOptions, RouteView):  # pyright: ignore[reportIncompatibleVariableOverride]
    """One watched queue, what is done with its tasks, and who writes the prompt.

    Made by `AgentDispatcher.route`, with the dispatcher's values where its options inherit. One
    that is made by hand inherits the defaults of the settings.

    Attributes:
        prompt: the function that writes the prompt; see `make_prompt`.
        then: the function that says where a task goes, of the task and what its agent handed in.

    Raises:
        RouteError: an option is wrong; the message names the route, the option and the value.
    """

    prompt: PromptFunction
    then: ThenFunction | None = None

    @classmethod
    def of(
        cls, options: RouteOptions, prompt: PromptFunction, inherited: Callable[[str], object]
    ) -> Route:
        """A route with given options.

        Args:
            inherited: the dispatcher's value for the name of one of its arguments.
        """
        given = dict(vars(options))
        if options.cwd is not None and given["workspace"] is INHERIT:
            given["workspace"] = None
        elif options.cwd is not None and given["workspace"] is not None:
            raise RouteError(
                f"Route {options.name!r}: cwd={str(options.cwd)!r} and workspace= both say where "
                "the agent works; give one of them."
            )
        for name, option in OPTIONS.items():
            if option.is_inherited(given[name]):
                given[name] = inherited(option.inherits)
        route = cls(prompt=prompt, **given)
        route.check_together()
        if route.output is not None:
            check_output(route.name, route.output)
        return route

    def check_together(self) -> None:
        """Refuse options that need others beside them, whoever has given each.

        Raises:
            RouteError: one lacks what it needs; the message names both.
        """
        if self.publish is not None and (wrong := cannot_publish(self.workspace, self.publish)):
            raise RouteError(f"Route {self.name!r}: publish={self.publish!r} {wrong}.")
        if self.expects == "commits" and (wrong := cannot_publish(self.workspace, "branch")):
            raise RouteError(f"Route {self.name!r}: expects='commits' {wrong}.")
        for name in ("reactions", "merged_queue"):
            if getattr(self, name) and self.publish != "pull-request":
                raise RouteError(
                    f"Route {self.name!r}: {name}={getattr(self, name)!r} needs "
                    'publish="pull-request": there is no other pull request to look at.'
                )
        if self.approve_before == "publish" and (wrong := _cannot_be_shown(self)):
            raise RouteError(f"Route {self.name!r}: approve_before='publish' {wrong}.")

    @property
    def filter(self) -> tuple[object, ...] | None:
        """Which tasks of its queue the route takes; None: all of them."""
        rules = (set(self.labels), set(self.without_labels), set(self.assignees), self.match)
        return rules if any(rules) else None

    @property
    def names(self) -> tuple[str, ...]:
        """What the route is called, and then what it was called before."""
        return (self.name, *self.was)

    @property
    def retry(self) -> RetryPolicy:
        """How often a failed attempt is repeated, and when."""
        return RetryPolicy(
            max_retries=self.max_retries,
            delay=self.retry_delay,
            backoff=self.retry_backoff,
            max_delay=self.retry_max_delay,
            jitter=self.retry_jitter,
            max_crashes=self.max_crashes,
        )

    def is_for_host(self, labels: Collection[str]) -> bool:
        """Whether workers on a host with these labels take the route's tasks."""
        return self.host is None or self.host in labels

    def format_command(self, prompt: str) -> list[str]:
        """Build the argument list of the agent's program: command, args, prompt. No shell is used.

        A command of several words is split as a shell would split it. A prompt that begins with a
        dash gets a newline before it, so that it is no option, unless the word before it is `--`.
        """
        words = self.words()
        return [*words, prompt if words[-1:] == ("--",) else operand(prompt)]

    def words(self) -> tuple[str, ...]:
        """The agent's program and its arguments, without the prompt; empty without a command.

        Raises:
            ValueError: the command has a quote that is not closed.
        """
        program = shlex.split(self.command)
        return (*program, *self.args) if program else ()

    async def make_prompt(
        self, task: Task, attempt: int, workspace: Workspace | None = None
    ) -> str:
        """Have the prompt function write the prompt; see `call_prompt_function`.

        Args:
            workspace: where the agent works; None without one.
        """
        extras = {"task": task, "attempt": attempt, "workspace": workspace}
        return await call_prompt_function(self.name, self.prompt, task.id, task.name, extras)

    def by_turns(self) -> tuple[Route, ...]:
        """The route with its agent, and then with the one that takes over, if it has one."""
        fallback = self.fallback_agent
        if fallback is None or fallback is self.agent:
            return (self,)
        return (self, replace(self, agent=fallback))

    def describe(self, default: object = None) -> str:
        """Say in a line what the route starts, for descriptions and tables.

        Args:
            default: the agent of routes that name none; see `AgentDispatcher.default_agent`.
        """
        agent = default if self.agent is None else self.agent
        if is_agent_function(agent):
            return f"chosen by {name_of(agent)}"
        if agent is not None:
            kind = type(agent).__name__
            called = agent.meter.agent if isinstance(agent, SupportsMeter) else kind
            return kind if called == kind else f"{kind} ({called})"
        return shlex.join([*shlex.split(self.command), *self.args]) or "no command"


def _cannot_be_shown(route: Route) -> str:
    """Say why nobody could approve what a route publishes, in a few words; "" if somebody can."""
    if route.publish is None:
        return 'needs publish="branch" or publish="pull-request": nothing else is published'
    if not isinstance(route.workspace, ShowsWork):
        return "needs a workspace that shows what is published, such as GitWorkspace(...)"
    return ""


def ranked(routes: Iterable[Route]) -> list[Route]:
    """Put routes in the order in which slots are given to them: by priority, then as they came.

    Routes without a priority come after those with one.
    """
    return sorted(routes, key=lambda r: (r.priority is None, r.priority or 0))
