"""What routes may not be: in each other's way, with queues that the board has not, and the like."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, cast

from athanore import prices
from athanore.agent_adapters.base import AgentAdapter, Meter, SupportsMeter
from athanore.agent_adapters.common.by_task import depends_on_task
from athanore.agent_adapters.subprocess import SubprocessAgentAdapter
from athanore.errors import ConfigurationError, QueueNotFoundError, RouteConflictError, RouteError
from athanore.models import Queue
from athanore.queue_adapters.base import QueueAdapter
from athanore.routing.route_options import QUEUE_OPTIONS
from athanore.routing.routes import Route, ranked


def check_beside(route: Route, others: Iterable[Route]) -> None:
    """Refuse a route that takes tasks which another one is at work on, or the other way round.

    Raises:
        RouteConflictError: a queue that one watches is where the other puts what it works on, or
            both have a name in common.
    """
    others = list(others)
    for other in others:
        if common := set(route.names) & set(other.names):
            raise RouteConflictError(
                f"Route {route.name!r}: another route is called {common.pop()!r} already, or was; "
                "give one of them another name=."
            )
        for one, two in ((route, other), (other, route)):
            if one.waiting_queue == two.queue_name:
                raise RouteConflictError(
                    f"Route {one.name!r}: waiting_queue={one.waiting_queue!r} is a queue that "
                    "another route watches; an agent would start on a task that waits."
                )
            if one.in_progress_queue == two.queue_name:
                raise RouteConflictError(
                    f"Route {one.name!r}: in_progress_queue={one.in_progress_queue!r} "
                    "is a queue that another route watches; its tasks would be claimed twice."
                )


def check_filters(routes: Iterable[Route]) -> None:
    """Refuse routes of one queue of which one would never be given a task.

    Raises:
        RouteConflictError: two take the same tasks, or one that others come after takes all.
    """
    by_queue: dict[str, list[Route]] = {}
    for route in ranked(routes):
        by_queue.setdefault(route.queue_name, []).append(route)
    for queue_name, beside in by_queue.items():
        for place, route in enumerate(beside):
            for after in beside[place + 1 :]:
                if route.filter is None:
                    raise RouteConflictError(
                        f"Route {route.name!r} takes every task in {queue_name!r}, so none is left "
                        f"for route {after.name!r}. Give the first labels=, without_labels=, "
                        "assignees= or match=, or have it come last, by priority= or by its place."
                    )
                if route.filter == after.filter:
                    raise RouteConflictError(
                        f"Routes {route.name!r} and {after.name!r} take the same tasks in "
                        f"{queue_name!r}; give them different labels=, without_labels=, assignees= "
                        "or match=."
                    )


def checked_notify(notify: object) -> tuple[object, ...]:
    """What `notify=` of the dispatcher names: blocks by `type/name`, or objects that notify.

    Raises:
        ConfigurationError: something else.
    """
    if isinstance(notify, str) or not isinstance(notify, Iterable):
        raise ConfigurationError(f'notify={notify!r} must be a list, as ["slack-webhook/team"].')
    blocks = tuple(cast(Iterable[object], notify))
    for block in blocks:
        named = isinstance(block, str) and all(block.partition("/")) and block.count("/") == 1
        if not named and not callable(getattr(block, "notify", None)):
            raise ConfigurationError(
                f"notify={block!r} is no notification block: name one of Prefect's as "
                '"slack-webhook/team" (`prefect block ls` lists them), or give the block itself.'
            )
    return blocks


def meter(agent: AgentAdapter, route: Route) -> Meter:
    """What is known of what an agent uses; nothing of an adapter that does not say it."""
    if isinstance(agent, SupportsMeter):
        return agent.meter
    words: list[str] = []
    if type(agent) is SubprocessAgentAdapter:
        with suppress(ValueError):  # an open quote is told by who looks at the command
            words = shlex.split(route.command)
    return Meter(Path(words[0]).name if words else type(agent).__name__)


def check_budgets(agent: AgentAdapter, route: Route) -> None:
    """Refuse a budget for an agent of which nobody would know when it is used up.

    Raises:
        RouteError: its tokens, or its cost, are neither told nor can be estimated.
    """
    if depends_on_task(agent):
        return  # it is looked at when a task has its model
    known, said = meter(agent, route), {n: getattr(route, n) for n in _BUDGETS}
    of_tokens = next((n for n in said if n.endswith("tokens") and said[n] is not None), None)
    of_cost = next((n for n in said if n.endswith("usd") and said[n] is not None), None)
    unknown = f"nobody knows what {known.agent!r} uses, so no budget can bind it"
    advice = "Take an agent that tells it (docs/budgets.md), or say None here."
    if of_tokens and not known.tokens:
        begin = f"Route {route.name!r}: {of_tokens}={said[of_tokens]!r}: "
        raise RouteError(f"{begin}{unknown}. {advice}")
    if not of_cost or known.cost:
        return
    begin = f"Route {route.name!r}: {of_cost}={said[of_cost]!r}: "
    if not known.tokens:
        raise RouteError(f"{begin}{unknown}. {advice}")
    only = f"{known.agent!r} tells tokens, and no dollars"
    if not prices.is_installed():
        raise RouteError(
            f"{begin}{only}. To have them estimated install the extra 'prices' (genai-prices)."
        )
    if known.model is None or not prices.is_known(known.model):
        which = "name its model" if known.model is None else f"{known.model!r} has no price there"
        raise RouteError(f"{begin}{only}. They are estimated by a table of prices: {which}.")


_BUDGETS = (
    "max_cost_usd",
    "max_tokens",
    "task_max_cost_usd",
    "task_max_tokens",
    "day_max_cost_usd",
    "day_max_tokens",
)


@dataclass(frozen=True, slots=True)
class WrongQueue:
    """A queue that a route names, and that will not do."""

    option: str
    wanted: str
    why: Literal["missing", "misnamed", "closed"]
    says: str
    is_like_another: bool = False


def wrong_queues(route: object, board: QueueAdapter, queues: Sequence[Queue]) -> list[WrongQueue]:
    """Find the queues that a route names and cannot have; the board must be prepared.

    Args:
        route: whatever has the options of a route; those that are no text are not looked at.
        queues: all that the board lists.

    Raises:
        BoardError: the board cannot be read.
    """
    existing = {q.name: q for q in queues}
    found: list[WrongQueue] = []
    said: list[tuple[str, object]] = [(o, getattr(route, o, None)) for o in QUEUE_OPTIONS]
    several: object = getattr(route, "unblocking_queues", None)
    if isinstance(several, tuple):
        said += [("unblocking_queues", queue) for queue in cast("tuple[object, ...]", several)]
    for option, wanted in said:
        if not isinstance(wanted, str):
            continue
        queue = existing.get(wanted) or _queue(board, wanted)
        if queue is None:
            close = get_close_matches(wanted, existing, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            says = f"the board has no queue {wanted!r} ({option}).{hint}"
            found.append(WrongQueue(option, wanted, "missing", says, bool(close)))
        elif queue.name != wanted:
            says = (
                f"the queue {wanted!r} ({option}) is called {queue.name!r} in another option; call "
                "it the same in all of them."
            )
            found.append(WrongQueue(option, wanted, "misnamed", says))
        elif option == "queue_name" and not queue.is_open:
            says = (
                "the queue is closed on the board, and no task in it is ever ready; open it there "
                "(a list of Planka: make it active)."
            )
            found.append(WrongQueue(option, wanted, "closed", says))
    return found


def _queue(board: QueueAdapter, name: str) -> Queue | None:
    """Ask the board for a queue that it lists under another name, if at all."""
    try:
        return board.get_queue(name)
    except QueueNotFoundError:
        return None
