"""Prefect automations for an app: what people are told of, and the end of runs whose process died.

They are no part of a deploy: who is told, and how soon, is for the people who run the app to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import yaml
from prefect.client.schemas.objects import BlockDocument, StateType
from prefect.client.schemas.sorting import AutomationSort
from prefect.events.actions import ActionTypes, ChangeFlowRunState, DoNothing, SendNotification
from prefect.events.filters import AutomationFilter, AutomationFilterName
from prefect.events.schemas.automations import (
    Automation,
    AutomationCore,
    EventTrigger,
    Posture,
)
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from athanore import names
from athanore.errors import ConfigurationError
from athanore.models import EventKind
from athanore.runs.events.shapes import PREFIX, ROUTE_PAUSED
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.states import PrefectState, event_of

_ID = "prefect.resource.id"
_NAME = "prefect.resource.name"
_ANY_EVENT = "prefect.flow-run.*"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the automations wait.

    Attributes:
        unserved: how long a work pool may be without a worker: a new one is, and at a restart.
        late: how long a run may wait after its time before people are told.
        lost: how long a run that has sent heartbeats may be silent before it is Crashed. It should
            be longer than any time in which Prefect's server is away: heartbeats do not arrive
            meanwhile, and the task of a run that is Crashed is given to another agent.
        missed_heartbeats: so many in a row may be missing at least before a run counts as dead.

    Raises:
        ConfigurationError: `lost` is too short for the heartbeats that Prefect is set to.
    """

    unserved: timedelta = timedelta(minutes=5)
    late: timedelta = timedelta(minutes=30)
    lost: timedelta = timedelta(minutes=30)
    missed_heartbeats: int = 3

    def __post_init__(self) -> None:
        every = get_current_settings().flows.heartbeat_frequency
        least = (every or 0) * self.missed_heartbeats
        if self.lost.total_seconds() < least:
            raise ConfigurationError(
                f"Runs send a heartbeat every {every} s (PREFECT_FLOWS_HEARTBEAT_FREQUENCY), so "
                f"one may be silent for {least} s at least before it is lost, "
                f"not for {self.lost.total_seconds():g} s."
            )


def automations(app: str, patience: Patience, block: BlockDocument | None) -> list[AutomationCore]:
    """Work out the automations of an app; each is known by its name.

    Args:
        block: the notification block that tells people; without one Prefect only notes among its
            events that an automation was triggered.
    """
    unserved, late, lost = map(_minutes, (patience.unserved, patience.late, patience.lost))

    def tell(body: str) -> ActionTypes:
        if block is None:
            return DoNothing(type="do-nothing")
        # What is filled in is text that people and agents wrote; the app's name comes that way too.
        return SendNotification(
            type="send-notification",
            block_document_id=block.id,
            subject="{{ automation.name }}: {{ event.resource.name }}",
            body=body,
        )

    return [
        _automation(
            app,
            "dead letter",
            "Tells that a task was given up.",
            _reaction(app, f"{PREFIX}{EventKind.DEAD_LETTERED}"),
            tell(
                "Task {{ event.resource['athanore.task-id'] }} was given up and is in "
                "{{ event.payload.queue }}: {{ event.payload.reason }}"
            ),
        ),
        _automation(
            app,
            "paused route",
            "Tells that a route paused itself, and why: many like failures, or a budget, say.",
            _reaction(app, ROUTE_PAUSED),
            tell("{{ event.payload.reason }}"),
        ),
        _automation(
            app,
            "no worker",
            f"Tells that no worker has served a work pool for {unserved}.",
            EventTrigger(
                type="event",
                posture=Posture.Proactive,
                after={"prefect.work-pool.not-ready"},
                # With both, a pool that loses its worker once more is watched anew.
                expect={"prefect.work-pool.ready", "prefect.work-pool.not-ready"},
                match=_labels({_NAME: [names.agents_pool(app), names.polls_pool(app)]}),
                for_each={_ID},
                threshold=1,
                within=patience.unserved,
            ),
            tell(f"No worker has served this work pool for {unserved}: no agent starts."),
        ),
        _automation(
            app,
            "late run",
            f"Tells of an agent run that has not started {late} after it became late. Where agents "
            "are busy for longer than that, raise the time or max_concurrent_agents.",
            _silence(app, event_of(PrefectState.LATE), patience.late),
            tell(f"No agent has started on this task for {late}. `athanore doctor` may say why."),
        ),
        _automation(
            app,
            "lost run",
            f"Crashes an agent run that has sent heartbeats and then nothing for {lost}; the next "
            "look after runs gives its task back. It never touches runs of Athanore's own workers: "
            "those send no heartbeats, and the workers look after them by themselves.",
            _silence(app, "prefect.flow-run.heartbeat", patience.lost),
            ChangeFlowRunState(
                type="change-flow-run-state",
                state=StateType.CRASHED,
                force=False,
                name=PrefectState.CRASHED,
                message=f"No heartbeat for {lost}: its process is lost.",
            ),
        ),
    ]


async def create(client: PrefectRunStore, app: str, wanted: list[AutomationCore]) -> list[str]:
    """Create or renew an app's automations, and return a line for each.

    One that was switched off stays so. Where nobody is told, what was chosen in Prefect's UI stays.
    """
    there = {a.name: a for a in await _existing(client, app, [w.name for w in wanted])}
    changes: list[str] = []
    for automation in wanted:
        found = there.get(automation.name)
        if found is None:
            await client.create_automation(automation)
            changes.append(f"created {automation.name!r}")
            continue
        keep = all(isinstance(a, DoNothing) for a in automation.actions)
        renewed = automation.model_copy(
            update={
                "enabled": found.enabled,
                "actions": found.actions if keep else automation.actions,
            }
        )
        await client.update_automation(found.id, renewed)
        changes.append(f"renewed {automation.name!r}{'' if found.enabled else ' (switched off)'}")
    return changes


async def delete(client: PrefectRunStore, app: str, wanted: list[AutomationCore]) -> list[str]:
    """Delete an app's automations, and return a line for each."""
    found = await _existing(client, app, [w.name for w in wanted])
    for automation in found:
        await client.delete_automation(automation.id)
    return [f"deleted {a.name!r}" for a in found]


def as_yaml(wanted: list[AutomationCore]) -> str:
    """Write automations for a person, or for `prefect automation create --from-file`."""
    fields = {"name", "description", "tags", "trigger", "actions"}
    content = {"automations": [w.model_dump(mode="json", include=fields) for w in wanted]}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


async def notification_block(client: PrefectRunStore, name: str) -> BlockDocument:
    """Look up a notification block by `type/name`, as `slack-webhook/ops`.

    Raises:
        ConfigurationError: there is none, or it does not notify.
    """
    slug, _, document = name.partition("/")
    try:
        block = await client.read_block_document_by_name(document, slug)
    except ObjectNotFound as exc:
        raise ConfigurationError(
            f"Prefect has no block {name!r}; `prefect block ls` lists those that there are, and "
            "its UI makes new ones. Name one as slack-webhook/ops."
        ) from exc
    schema = block.block_schema
    if schema is None or "notify" not in schema.capabilities:
        raise ConfigurationError(f"The block {name!r} sends no notifications.")
    return block


async def _existing(client: PrefectRunStore, app: str, wanted: list[str]) -> list[Automation]:
    found = await client.read_automations(
        automations=AutomationFilter(name=AutomationFilterName(any_=wanted)),
        sort=AutomationSort.NAME_ASC,
    )
    return [a for a in found if names.app_tag(app) in a.tags]


def _automation(
    app: str, kind: str, description: str, trigger: EventTrigger, action: ActionTypes
) -> AutomationCore:
    return AutomationCore(
        name=f"{app}: {kind}",
        description=description,
        enabled=True,
        tags=["athanore", names.app_tag(app)],
        trigger=trigger,
        actions=[action],
    )


def _reaction(app: str, event: str) -> EventTrigger:
    """Fires for each event of a kind that the app sends."""
    return EventTrigger(
        type="event",
        posture=Posture.Reactive,
        expect={event},
        match=_labels({"athanore.app": app}),
        for_each={_ID},
        threshold=1,
        within=timedelta(0),
    )


def _silence(app: str, after: str, within: timedelta) -> EventTrigger:
    """Fires for each agent run of which nothing is heard for so long after an event."""
    return EventTrigger(
        type="event",
        posture=Posture.Proactive,
        after={after},
        # Any state will do: a run that waits for its retry sends no heartbeat either.
        expect={_ANY_EVENT},
        match=_labels({_ID: "prefect.flow-run.*"}),
        match_related=[_tag(names.app_tag(app)), _tag(names.AGENT_TAG)],
        for_each={_ID},
        threshold=1,
        within=within,
    )


def _minutes(time: timedelta) -> str:
    count = time.total_seconds() / 60
    return "a minute" if count == 1 else f"{count:g} minutes"


def _tag(tag: str) -> ResourceSpecification:
    return _labels({"prefect.resource.role": "tag", _ID: f"prefect.tag.{tag}"})


def _labels(labels: dict[str, str | list[str]]) -> ResourceSpecification:
    return ResourceSpecification.model_validate(labels)
