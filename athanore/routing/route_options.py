"""The options of a route: the one place where they are written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from athanore.agent_adapters.common.by_task import AN_AGENT, AgentFunction, is_agent
from athanore.errors import RouteError
from athanore.models import Task
from athanore.routing.options import (
    INHERIT,
    NO_DEAD_LETTER,
    QUEUE,
    Inherit,
    NoDeadLetter,
    Option,
    Options,
    Seconds,
    amount,
    choice,
    commands,
    count,
    duration,
    folder,
    label,
    limits,
    number,
    options_of,
    queue,
    rank,
    switch,
    text,
    thing,
    variables,
    word,
    words,
)
from athanore.routing.options.choices import (
    MAX_CRASHES,
    MOST_TOKENS,
    NEEDS,
    REACTIONS,
    ApproveBefore,
    Expects,
    Publish,
)
from athanore.routing.outputs import Output, is_output
from athanore.workspaces.base import is_provider

if TYPE_CHECKING:
    from athanore.agent_adapters.base import AgentAdapter
    from athanore.workspaces.base import WorkspaceProvider

type MatchFunction = Callable[[Task], bool]


@dataclass(frozen=True)
class RouteOptions:
    """What `@dispatcher.route(...)` takes: the one place where the options are written down.

    Durations are seconds or `timedelta`, and kept as `timedelta`. Where an option inherits, the
    dispatcher's argument counts, and behind it the setting of that name, if there is one. An option
    with a wrong value raises `RouteError`, which names the route, the option, the value and the
    rule.
    """

    queue_name: str
    """The queue to watch. Several routes may watch one, if they take different tasks of it."""

    _: KW_ONLY

    name: Option[str | None, str] = label(column="route")
    """What the route is called in Prefect, over HTTP and in commands; by default as its queue.

    A text that says something; no two routes of an app have the same. Default: `queue_name`."""

    was: Option[Sequence[str], tuple[str, ...]] = words()
    """Former names of the route; what runs and waits under them goes on under the new name.

    A list of names that no other route has. Default: none."""

    labels: Option[Sequence[str], tuple[str, ...]] = words()
    """The route takes only tasks that have all of these labels.

    A list of labels, as the board writes them. Default: none, tasks with and without labels."""

    without_labels: Option[Sequence[str], tuple[str, ...]] = words()
    """The route takes no task that has any of these labels.

    A list of labels, as the board writes them. Default: none."""

    assignees: Option[Sequence[str], tuple[str, ...]] = words()
    """The route takes only tasks that are assigned to one of these people; the user of Athanore
    itself is nobody's assignee.

    A list of names, as the board writes them. Default: none, tasks of anybody and nobody."""

    match: Option[MatchFunction | None, MatchFunction | None] = thing("a function of a task")
    """A function that is given the task, and says whether the route takes it. If it raises, nobody
    works on the task until it raises no more.

    It is called in a thread, for each poll that finds the task, and does nothing but look at the
    task. It cannot be said over HTTP. Default: none."""

    needs: Option[Sequence[str], tuple[str, ...]] = words(python_only=True)
    """What `match` looks at beyond what lists of tasks have: `comments`, `tasks` (the checklist).
    The task is then read by itself.

    A list of these words. It cannot be said over HTTP. Default: none."""

    in_progress_queue: Option[str, str] = queue("In Progress", column="in progress")
    """Where a task is while an agent works on it. Several routes may share it.

    Default: `In Progress`. Must not be empty, nor a queue that a route watches."""

    args: Option[Sequence[str], tuple[str, ...]] = words()
    """Words after the command and before the prompt.

    Default: none. Must be a list, not one text."""

    command: Option[str | None, str] = text(inherits="command")
    """Another command than the dispatcher's. Split as a shell would; no shell is run.

    Default: inherits `command`."""

    agent: Option[AgentAdapter | AgentFunction | None, AgentAdapter | AgentFunction | None] = thing(
        AN_AGENT, is_it=is_agent
    )
    """The agent adapter, or a function that is given the task and returns one; else
    `default_agent`, else a subprocess.

    A function is called in a thread at each start of an agent. If it fails, its task waits. It
    cannot be said over HTTP. Default: inherits `default_agent`."""

    fallback_agent: Option[
        AgentAdapter | AgentFunction | None, AgentAdapter | AgentFunction | None
    ] = thing(AN_AGENT, is_it=is_agent)
    """The agent adapter, or a function as of `agent`, that takes over while the account of the
    route's agent has reached a usage limit of its provider. A limit of its own account, beside
    that, holds the route.

    Default: `None`, and the route waits. It cannot be said over HTTP."""

    timeout: Option[Seconds | Inherit | None, timedelta | None] = duration(
        INHERIT, inherits="agent_timeout", none=True, column="timeout", empty="none"
    )
    """How long an attempt may take; `None` means no limit. Then TERM, 5 s, KILL.

    Seconds or a `timedelta`, more than 0. Default: inherits `agent_timeout`."""

    poll_interval: Option[Seconds | None, timedelta] = duration(
        inherits="poll_interval", column="poll"
    )
    """Time between polls of this queue; `None` inherits.

    Seconds or a `timedelta`, more than 0. Default: inherits `poll_interval`."""

    priority: Option[int | None, int | None] = rank()
    """Lower is served first. Ties, and routes without one (they come last), in order of
    registration.

    A whole number. Default: none."""

    host: Option[str | None, str | None] = word()
    """What kind of host the agents need: only workers that were started with this word among their
    `--host-labels` take the route's tasks. Without it any worker does.

    One word, as `macos`. Default: none. The tasks wait while no such worker is there."""

    max_retries: Option[int | None, int] = count(inherits="max_retries", column="retries")
    """Attempts after the first; `None` inherits.

    0 or more. Default: inherits `max_retries`."""

    dead_letter_queue: Option[str | NoDeadLetter | None, str | None] = queue(
        inherits="dead_letter_queue",
        none=True,
        no=NO_DEAD_LETTER,
        column="dead letters",
        empty="left in place",
    )
    """Where an exhausted task goes; `None` inherits, `NO_DEAD_LETTER` switches it off.

    Default: inherits `dead_letter_queue`. Must not be the watched queue."""

    done_queue: Option[str | None, str | None] = queue(none=True)
    """Where a task goes whose agent succeeded without moving it; `None` leaves it, with a comment.

    Default: none. Must not be the watched queue."""

    on_cancel: Option[str | None, str | None] = queue(none=True)
    """Where a task goes whose run a person cancelled; `None` leaves it in progress.

    Default: none. Must not be the watched queue."""

    stall_timeout: Option[Seconds | None, timedelta | None] = duration(none=True)
    """Stops an agent that has produced neither output nor a call of the task API with its token
    for so long: a failure.

    Seconds or a `timedelta`, more than 0. Default: none."""

    max_concurrent: Option[int | None, int | None] = count(least=1, none=True, column="at once")
    """Agents of this route at once, beside the dispatcher's limit.

    At least 1. Default: no limit of its own."""

    label_limits: Option[Mapping[str, int] | None, Mapping[str, int]] = limits()
    """Agents at once on tasks with a label, of all routes that limit it: `{"repo:big": 1}`. A task
    with several of these labels waits for all of them.

    Labels and whole numbers of at least 1. Default: none."""

    retry_delay: Option[Seconds | None, timedelta | None] = duration(zero=True, none=True)
    """Time before a retry; `None` means the route's next poll.

    Seconds or a `timedelta`, 0 or more. Default: none."""

    retry_backoff: Option[float, float] = number(1.0, 1, 1000)
    """Each further delay is the last one times this.

    From 1 to 1000. Default: 1, which is always the same delay."""

    retry_max_delay: Option[Seconds | None, timedelta | None] = duration(none=True)
    """The cap that backoff grows to.

    Seconds or a `timedelta`, more than 0. Default: none."""

    retry_jitter: Option[float, float] = number(0.0, 0, 1)
    """Up to this share of the delay is added at random.

    From 0 to 1; 0.2 is a fifth. Default: 0."""

    max_crashes: Option[int | None, int] = count(inherits="max_crashes", otherwise=MAX_CRASHES)
    """Lost workers that a task survives, apart from its retries; `None` inherits.

    0 or more. Default: inherits `max_crashes`."""

    pause_after_failures: Option[int, int] = count(5, least=1)
    """So many like failures in a row, over as many tasks, pause the route.

    At least 1. Default: 5."""

    max_rounds: Option[int | None, int | None] = count(50, least=1, none=True)
    """How often a task may come to this route within 24 hours. One more time, and it is given up
    instead: agents, or routes, hand it round in a circle. `None` means no limit.

    At least 1. Default: 50."""

    resume_after: Option[Seconds | None, timedelta | None] = duration(900, none=True)
    """A route that paused itself tries again after so many seconds; `None`: only `athanore resume`
    ends it.

    Seconds or a `timedelta`, more than 0. Default: 900."""

    max_cost_usd: Option[float | Inherit | None, float | None] = amount(
        INHERIT, inherits="max_cost_usd", none=True
    )
    """What one attempt may cost, in US dollars. At that the agent is stopped, and the task is given
    up, because another attempt would cost the same again.

    More than 0. `None` means no limit. Default: inherits `max_cost_usd`. An agent of which neither
    cost nor tokens are known is refused."""

    max_tokens: Option[int | Inherit | None, int | None] = count(
        INHERIT, least=1, most=MOST_TOKENS, inherits="max_tokens", none=True
    )
    """How many tokens one attempt may use, those that the model reads and writes together.

    At least 1. `None` means no limit. Default: inherits `max_tokens`."""

    task_max_cost_usd: Option[float | Inherit | None, float | None] = amount(
        INHERIT, inherits="task_max_cost_usd", none=True
    )
    """What a task may cost over all its attempts, on all routes, in US dollars. Then it is given
    up.

    More than 0. `None` means no limit. Default: inherits `task_max_cost_usd`."""

    task_max_tokens: Option[int | Inherit | None, int | None] = count(
        INHERIT, least=1, most=MOST_TOKENS, inherits="task_max_tokens", none=True
    )
    """How many tokens a task may use over all its attempts, on all routes.

    At least 1. `None` means no limit. Default: inherits `task_max_tokens`."""

    day_max_cost_usd: Option[float | Inherit | None, float | None] = amount(
        INHERIT, inherits="day_max_cost_usd", none=True
    )
    """What the agents of this route may cost in a day, in US dollars. Then the route is paused
    until midnight, and its tasks wait.

    More than 0. `None` means no limit. Default: inherits `day_max_cost_usd`. The day is that of
    `budget_time_zone`."""

    day_max_tokens: Option[int | Inherit | None, int | None] = count(
        INHERIT, least=1, most=MOST_TOKENS, inherits="day_max_tokens", none=True
    )
    """How many tokens the agents of this route may use in a day.

    At least 1. `None` means no limit. Default: inherits `day_max_tokens`."""

    respect_blockers: Option[bool, bool] = switch()
    """Whether a task waits for the tasks that block it: those that the board names, and those of a
    line `Blocked by: #12, #13` in its description.

    True or False. A blocker that is gone, or cannot be read, holds nothing. Default: False."""

    unblocking_queues: Option[Sequence[str], tuple[str, ...]] = words()
    """The queues in which a task blocks no other any more, with `respect_blockers`: as `Released`,
    where `Done` is not enough.

    A list of queues. Default: none, and a task blocks no other when it has ended."""

    cwd: Option[str | Path | None, Path | None] = folder()
    """The agent's working folder; the worker's by default.

    A path. Default: none. A route that says one takes no `workspace` of the dispatcher."""

    workspace: Option[WorkspaceProvider | Inherit | None, WorkspaceProvider | None] = thing(
        "a workspace, such as GitWorkspace(...)", INHERIT, inherits="workspace", is_it=is_provider
    )
    """A folder of its own for each task: the agent's working folder. `None` switches it off.

    Default: inherits `workspace`. It cannot be said over HTTP."""

    ask_timeout: Option[Seconds | None, timedelta | None] = duration(none=True)
    """How long a question to people waits; then `ask_default` counts, or the task is given up.

    Seconds or a `timedelta`, more than 0. Default: none, a question waits for ever."""

    ask_default: Option[str | None, str | None] = text(none=True)
    """The answer to a question that nobody has answered within `ask_timeout`.

    A text. Default: none."""

    answer_by_comment: Option[bool, bool] = switch()
    """Whether a comment `/answer TEXT` on the card answers a question, of somebody who may write
    to the board; not of the account that Athanore uses.

    True or False. It needs a board that vouches for authors: GitHub, GitLab, Jira, Linear.
    Default: False."""

    waiting_queue: Option[str | None, str | None] = queue(none=True)
    """Where a task is while its run waits for a person; `None` leaves it in progress.

    Default: none. Must not be a queue that a route watches."""

    approve_before: Option[ApproveBefore | None, ApproveBefore | None] = choice("start", "publish")
    """What an operator has to say yes to (`athanore approve`): `start`, before an agent starts on a
    task; `publish`, before what it has committed is published.

    One of these words; the second needs the option `publish`. Default: none. Refused where agents
    could say yes themselves."""

    approve_insecurely: Option[bool, bool] = switch()
    """Take `approve_before` with an open task API or Prefect.

    True or False. Default: False."""

    rejected_queue: Option[str | None, str | None] = queue(none=True)
    """Where a task goes that an operator has not approved. With `None` it stays where it is; where
    the operator has said what is wrong with what is to be published, an agent goes on.

    Default: none. Must not be the watched queue."""

    check: Option[str | Sequence[str] | None, tuple[str, ...]] = commands()
    """Commands that are run in the agent's folder when it has succeeded. If one fails, the attempt
    has failed, and the next one is told how.

    A command, or a list of them; each is split as a shell would, and no shell is run. Default:
    none."""

    check_timeout: Option[Seconds, timedelta] = duration(600)
    """How long each command of `check` may take.

    Seconds or a `timedelta`, more than 0. Default: 600."""

    expects: Option[Expects | None, Expects | None] = choice("commits", "move", "comment")
    """What an agent that ends well must have left: `commits` on its branch, a `move` of its task to
    another queue, or a `comment` on it. If it has not, the attempt has failed (`nothing happened`),
    and the next one is told.

    One of these words; the first needs a `workspace` with git. Default: none, exit code 0 is a
    success."""

    output: Option[Output | None, Output | None] = thing("a pydantic model", is_it=is_output)
    """What the agent has to hand in before it ends: a pydantic model, which the prompt explains.
    What does not fit is refused while the agent works; without a result the attempt has failed.

    A class that is a `pydantic.BaseModel`. It cannot be said over HTTP. Default: none. Where the
    task goes then is said by a function, `@dispatcher.then(...)`."""

    publish: Option[Publish | None, Publish | None] = choice("branch", "pull-request")
    """What becomes of the branch of a task whose agent has succeeded, and whose work has passed its
    `check`: `branch`, the worker pushes it; `pull-request`, it opens a pull request for it as well.
    No agent is given the credential.

    One of these words; both need a `workspace` with git, and the second its `forge`. Default: none,
    the branch stays on the host."""

    allow_ci_changes: Option[bool, bool] = switch()
    """Whether a branch is published that changes the configuration of a CI, CODEOWNERS or
    submodules. If not, its task waits for a person.

    True or False. Default: False."""

    reactions: Option[Sequence[str], tuple[str, ...]] = words(of=REACTIONS)
    """What puts a task back into its queue after its pull request was opened, with what is wrong in
    the next agent's prompt: `ci_failed`, `changes_requested`, `conflict`.

    A list of these words; it needs `publish="pull-request"`. Default: none."""

    max_reactions: Option[int, int] = count(3, least=1)
    """How often `reactions` put a task back; one more time, and it is left to a person.

    At least 1. Default: 3."""

    merged_queue: Option[str | None, str | None] = queue(none=True)
    """Where a task goes when its pull request is merged. Its folder may go then.

    It needs `publish="pull-request"`. Default: none, the task stays."""

    env: Option[Mapping[str, str] | None, Mapping[str, str]] = variables()
    """Variables that are added to the agent's environment. Those said over HTTP are kept in Prefect
    as they are, so put no secrets there.

    Names and values, both texts. Default: none."""

    def __post_init__(self) -> None:
        if not self.queue_name.strip():
            raise RouteError(f"A route needs a queue to watch; queue_name={self.queue_name!r}.")
        if vars(self)["name"] is None:
            object.__setattr__(self, "name", self.queue_name)
        for option, known in (("needs", NEEDS), ("reactions", REACTIONS)):
            if unknown := set(getattr(self, option)) - set(known):
                raise RouteError(
                    f"Route {self.name!r}: {option}={sorted(unknown)!r} must be of {list(known)!r}."
                )
        for option in QUEUE_OPTIONS:
            if option != "queue_name" and getattr(self, option) == self.queue_name:
                raise RouteError(
                    f"Route {self.name!r}: {option}={self.queue_name!r} is the queue that the "
                    "route watches; its tasks would be dispatched in circles."
                )


OPTIONS: Options = options_of(RouteOptions)
"""All options of a route by name."""

QUEUE_OPTIONS = ("queue_name", *(name for name, o in OPTIONS.items() if o.kind is QUEUE))
"""The options of a route that name queues of the board."""
