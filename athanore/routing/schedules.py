"""Scheduled work: tasks that are created on the board at the times that a cron expression names."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from athanore.errors import ConfigurationError
from athanore.models import TaskDraft

type DraftFunction = Callable[..., Drafted | Awaitable[Drafted]]
type Drafted = TaskDraft | str | None

_FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a task is created, where, and what is in it.

    Attributes:
        name: names it in Prefect, in commands, and is the title of its tasks.
        cron: minute, hour, day of the month, month, day of the week.
        time_zone: where these are counted.
        queue: the queue that its tasks go to.
        description, labels: of its tasks, where `function` does not say them.
        function: says what is in a task, and may take `slot`, the time that it is for; see
            `draft`. None: a task has the name and the description.

    Raises:
        ConfigurationError: a value is wrong; the message names it.
    """

    name: str
    cron: str
    queue: str
    time_zone: str = "UTC"
    description: str = ""
    labels: tuple[str, ...] = ()
    function: DraftFunction | None = None

    def __post_init__(self) -> None:
        for option in ("name", "queue"):
            value: object = getattr(self, option)
            if not isinstance(value, str) or not value.strip():
                raise ConfigurationError(
                    f"every({self.cron!r}): {option}={value!r} must be a text that is not empty."
                )
        _check_cron(self.name, self.cron)
        _check_zone(self.name, self.time_zone)
        if self.function is not None:
            _check_function(self.name, self.function)

    @classmethod
    def of(
        cls,
        name: str,
        cron: str,
        queue: str,
        time_zone: str,
        description: str,
        labels: Sequence[str],
    ) -> Schedule:
        """A schedule without a function, of what somebody wrote."""
        if isinstance(labels, str):
            raise ConfigurationError(
                f"every(name={name!r}): labels={labels!r} must be a list of labels."
            )
        return cls(name, cron, queue, time_zone, description, tuple(labels))

    @property
    def zone(self) -> ZoneInfo:
        """Where its times are counted."""
        return ZoneInfo(self.time_zone)

    def next_after(self, moment: datetime) -> datetime:
        """The next time after a moment."""
        return next(CronSim(self.cron, moment.astimezone(self.zone))).astimezone(UTC)

    def last_until(self, moment: datetime) -> datetime:
        """The last time until a moment, which may be that moment itself."""
        after = moment.astimezone(self.zone) + timedelta(seconds=1)
        return next(CronSim(self.cron, after, reverse=True)).astimezone(UTC)

    async def draft(self, slot: datetime) -> TaskDraft | None:
        """Say what is in the task of a slot; None: there is no task for it.

        A function may return a `TaskDraft`, a text, which becomes the description, or None. A plain
        function is called in a thread, so that it never stalls the worker.

        Raises:
            Exception: whatever the function raises; TypeError if it returns anything else.
        """
        if self.function is None:
            return TaskDraft(self.name, self.description, self.labels)
        said = await _call(self.function, slot.astimezone(self.zone))
        match said:
            case None | TaskDraft():
                return said
            case str():
                return TaskDraft(self.name, said, self.labels)
            case _:
                raise TypeError(
                    f"the function of schedule {self.name!r} must return a TaskDraft, a text or "
                    f"None, not {type(said).__name__}"
                )


async def _call(function: DraftFunction, slot: datetime) -> object:
    given = {"slot": slot} if "slot" in inspect.signature(function).parameters else {}
    if inspect.iscoroutinefunction(function):
        return await function(**given)
    said: object = await asyncio.to_thread(function, **given)
    return await said if inspect.isawaitable(said) else said


def _check_cron(name: str, cron: object) -> None:
    where = f"every({cron!r}, name={name!r})"
    example = 'such as "0 6 * * 1" for Mondays at six'
    if not isinstance(cron, str) or len(cron.split()) != len(_FIELDS):
        raise ConfigurationError(
            f"{where}: a schedule has five fields ({', '.join(_FIELDS)}), {example}."
        )
    try:
        CronSim(cron, datetime.now(UTC))
    except CronSimError as exc:
        wrong = str(exc).removeprefix("Bad ").replace("-of-", " of the ")
        raise ConfigurationError(
            f"{where}: the {wrong} is none of cron's. The five fields are {', '.join(_FIELDS)}, "
            f"{example}."
        ) from exc


def _check_zone(name: str, zone: object) -> None:
    try:
        if not isinstance(zone, str):
            raise TypeError
        ZoneInfo(zone)
    except (LookupError, OSError, TypeError, ValueError) as exc:
        raise ConfigurationError(
            f"every(name={name!r}): time_zone={zone!r} is not known; "
            'name one as "Europe/Berlin" or "UTC".'
        ) from exc


def _check_function(name: str, function: DraftFunction) -> None:
    required = [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    if unknown := [p for p in required if p != "slot"]:
        raise ConfigurationError(
            f"every(name={name!r}): its function asks for {', '.join(unknown)}; it is given "
            "nothing, or `slot`, the time that the task is for."
        )
