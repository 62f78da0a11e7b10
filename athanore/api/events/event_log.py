"""Agents' events in Prefect: what one is, and how those of a task are read."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from prefect.events import Event
from pydantic import BaseModel, Field

from athanore.api.prefect.link import PrefectLink
from athanore.models import EventKind
from athanore.runs.events import shapes
from athanore.runs.events.shapes import PREFIX

_RUN = "prefect.flow-run."
_PAGE = 50


class AgentEventModel(BaseModel):
    """Something that happened in an agent's life."""

    id: str
    kind: str = Field(description=f"One of {', '.join(EventKind)}; more may come.")
    at: datetime
    run_id: str | None = Field(description="The agent run, where the sender knew it.")
    data: dict[str, Any] = Field(
        description="What may be in it, by the kind; more may come. The `lines` of an `output` are "
        "objects with `stream` and `text`, gathered over a moment, and with `styles` (`start`, "
        f"`length`, `style`) where the agent has written colours. {shapes.in_words()}."
    )


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event as Prefect keeps it. Events of one source are numbered from 1 without gaps."""

    model: AgentEventModel
    source: str | None
    number: int
    task_id: str | None = None

    @classmethod
    def read(cls, event: Event) -> LoggedEvent:
        """Understand an event of Prefect's."""
        payload = dict(event.payload)
        number, source = payload.pop("seq", None), payload.pop("src", None)
        run = event.resource_in_role.get("flow-run")
        run_id = run.id.removeprefix(_RUN) if run is not None else None
        start = event.resource.get("athanore.start")
        if source is None and run_id is not None and start is not None:
            source = f"{run_id[:13]}.{start}"
        numbered = isinstance(number, int) and source is not None
        return cls(
            AgentEventModel(
                id=str(event.id),
                kind=event.event.removeprefix(PREFIX),
                at=event.occurred,
                run_id=run_id,
                data=payload,
            ),
            str(source) if numbered else None,
            number if isinstance(number, int) else 0,
            event.resource.get("athanore.task-id"),
        )


async def read_events(
    prefect: PrefectLink,
    resource: str,
    since: datetime,
    order: Literal["ASC", "DESC"] = "ASC",
    *,
    of_all: bool = False,
) -> AsyncGenerator[list[LoggedEvent]]:
    """Read what Prefect's database has of a task's events, page by page.

    Events get there up to 5 s after they were sent.

    Args:
        of_all: of all tasks whose resources begin so.

    Raises:
        PrefectUnavailableError: Prefect did not answer.
    """
    query = {
        "occurred": {
            "since": since.isoformat(),
            "until": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
        },
        "event": {"prefix": [PREFIX]},
        "resource": {"id_prefix" if of_all else "id": [resource]},
        "order": order,
    }
    async with prefect.client() as client:
        response = await client.request(
            "POST", "/events/filter", json={"filter": query, "limit": _PAGE}
        )
    while True:
        page = response.json()
        found = [LoggedEvent.read(Event.model_validate(e)) for e in page["events"]]
        if found:
            yield found
        next_page = page.get("next_page")
        if not next_page or not found:
            return
        token = parse_qs(urlsplit(str(next_page)).query)["page-token"][0]
        async with prefect.client() as client:
            response = await client.request(
                "GET", "/events/filter/next", params={"page-token": token}
            )


async def newest_events(
    prefect: PrefectLink, resource: str, since: datetime, count: int
) -> list[AgentEventModel]:
    """Return the newest events of a task since a moment, the oldest of them first."""
    found: list[AgentEventModel] = []
    async for page in read_events(prefect, resource, since, "DESC"):
        found += [e.model for e in page]
        if len(found) >= count:
            break
    return sorted(found[:count], key=lambda e: e.at)
