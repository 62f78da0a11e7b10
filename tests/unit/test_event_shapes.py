"""What is in our events: as `shapes` and docs/formats.md say, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path
from typing import Any, get_type_hints
from uuid import uuid4

import pytest
from prefect.context import FlowRunContext
from prefect.events.clients import AssertingEventsClient
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import ConfigDict, TypeAdapter, with_config

from athanore import AgentEvent, EventKind, names
from athanore.flows.attempts.transcript import Transcript
from athanore.flows.ends import hooks
from athanore.runs.capacity import pausing
from athanore.runs.events import activity, shapes
from athanore.runs.events.announcer import Announcer
from athanore.runtime.secrets.environment import REDACTED
from athanore.runtime.secrets.redaction import Redactor
from tests.rules_site import LOG, Site
from tests.unit.test_cli_presets import STREAMS, read

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("## Events")[2].partition("\n## ")[0]
OF_ONE_ADAPTER = re.compile(r"\w+_tokens")


def keys_of(shape: type) -> set[str]:
    return set(get_type_hints(shape))


def documented() -> dict[str, set[str]]:
    rows = re.findall(r"^\| `([^`]+)` \| (.*?) \|", TABLE, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", keys)) for name, keys in rows}


def test_the_page_has_each_event_with_its_keys() -> None:
    wanted = {f"{shapes.PREFIX}{kind}": keys_of(shape) for kind, shape in shapes.SHAPES.items()}
    wanted |= {shapes.ACTIVITY: set(), shapes.ROUTE_PAUSED: keys_of(shapes.RoutePaused)}
    wanted |= dict.fromkeys((shapes.WORKER_LOST, shapes.WORKER_BACK), keys_of(shapes.WorkerMissed))
    assert documented() == wanted
    assert set(shapes.SHAPES) == set(EventKind)


def check(kind: EventKind, data: dict[str, Any]) -> None:
    """That the data is as the shape says, with no key more."""
    shape = shapes.SHAPES[kind]
    known = {
        k: v for k, v in data.items() if not OF_ONE_ADAPTER.fullmatch(k) or k in keys_of(shape)
    }
    strict = with_config(ConfigDict(extra="forbid", strict=True))(shape)
    TypeAdapter[Any](strict).validate_python(known)


@pytest.fixture
def sent() -> Generator[list[AssertingEventsClient]]:
    """The clients to which events were sent; nothing leaves this process."""
    AssertingEventsClient.reset()
    EventsWorker.set_client_override(AssertingEventsClient)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        yield AssertingEventsClient.all
    EventsWorker.set_client_override(None)
    AssertingEventsClient.reset()


async def test_what_is_sent_has_the_shape_of_its_kind(sent: list[AssertingEventsClient]) -> None:
    site = Site()
    run = await site.at_work()
    resource = names.task_labels(site.app.name, site.task_id, "Fix it")
    transcript = Transcript(LOG, resource, [], Redactor(()))
    claimed = {"queue": "Todo", "attempt": 1}
    transcript.emit(AgentEvent(EventKind.CLAIMED, claimed))
    transcript.emit(AgentEvent(EventKind.OUTPUT, {"stream": "stdout", "text": "Hello"}))
    transcript.emit(AgentEvent(EventKind.FINISHED, {"message": "done"}))
    transcript.close()
    announcer = Announcer(site.app.name)
    told = {"text": "Hello", "by": "agent"}
    announcer.announce(site.task_id, EventKind.COMMENT, told, run.id)
    moved = {"from_queue": "Todo", "to_queue": "Done", "by": "agent"}
    announcer.announce(site.task_id, EventKind.MOVED, moved, None)
    await hooks.bury(site.app, site.route, run, "no", LOG)
    await pausing.pause(site.client, site.app.name, "Todo", reason="no key")
    activity.note_call(site.app.name, uuid4(), site.task_id)
    drained = EventsWorker.drain_all(timeout=30)
    assert not isinstance(drained, tuple)
    await drained
    events = {e.event: e for client in sent for e in client.events}
    for kind in (
        EventKind.CLAIMED,
        EventKind.OUTPUT,
        EventKind.FINISHED,
        EventKind.COMMENT,
        EventKind.MOVED,
        EventKind.DEAD_LETTERED,
    ):
        payload = dict(events[f"{shapes.PREFIX}{kind}"].payload)
        numbers = {k: payload.pop(k) for k in ("seq", "src") if k in payload}
        TypeAdapter(shapes.Numbers).validate_python(numbers, strict=True)
        check(kind, payload)
    assert set(events[shapes.ROUTE_PAUSED].payload) == keys_of(shapes.RoutePaused)
    assert events[shapes.ACTIVITY].payload == {}


async def test_only_the_run_is_related_to_what_is_sent_in_it(
    sent: list[AssertingEventsClient],
) -> None:
    site = Site()
    run = await site.at_work()
    related = [
        {
            "prefect.resource.id": f"prefect.flow-run.{run.id}",
            "prefect.resource.role": "flow-run",
        }
    ]
    resource = names.task_labels(site.app.name, site.task_id, "Fix it")
    in_the_run: Any = FlowRunContext.model_construct(flow_run=run)
    with in_the_run:
        shapes.send(EventKind.FINISHED, {"message": "done"}, {"seq": 1}, resource, related)
        assert FlowRunContext.get() is in_the_run
    drained = EventsWorker.drain_all(timeout=30)
    assert not isinstance(drained, tuple)
    await drained
    (event,) = (event for client in sent for event in client.events)
    assert [dict(each) for each in event.related] == related


@pytest.mark.parametrize("stream", sorted(STREAMS.glob("*.jsonl")), ids=lambda p: p.stem)
def test_what_agents_tell_has_the_shape_of_its_kind(stream: Path) -> None:
    preset = stream.stem.partition("-")[0]
    for event in read(preset, stream.read_text(encoding="utf-8").splitlines(), 0).events:
        if event.kind is EventKind.OUTPUT:  # the transcript gathers lines
            TypeAdapter(shapes.Line).validate_python(dict(event.data), strict=True)
        else:
            check(event.kind, dict(event.data))


async def test_colours_are_beside_the_text_and_go_with_a_secret(
    sent: list[AssertingEventsClient],
) -> None:
    red, off = "\x1b[31m", "\x1b[0m"
    transcript = Transcript(
        LOG, {"prefect.resource.id": "athanore.task.a.1"}, [], Redactor({"s3cret-value"})
    )
    for text in (f"{red}no{off} way", f"{red}s3cret-{off}value", "plain"):
        transcript.emit(AgentEvent(EventKind.OUTPUT, {"stream": "stdout", "text": text}))
    transcript.close()
    drained = EventsWorker.drain_all(timeout=30)
    assert not isinstance(drained, tuple)
    await drained
    (event,) = (event for client in sent for event in client.events)
    check(EventKind.OUTPUT, {"lines": event.payload["lines"]})
    assert event.payload["lines"] == [
        {
            "stream": "stdout",
            "text": "no way",
            "styles": [{"start": 0, "length": 2, "style": "red"}],
        },
        {"stream": "stdout", "text": REDACTED},
        {"stream": "stdout", "text": "plain"},
    ]
