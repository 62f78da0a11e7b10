"""A site for tests of the rules whose agent has asked a person something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import Abort
from prefect.states import Pending, Running

from athanore.flows import asking
from athanore.models import RetryPolicy
from athanore.processes import identity
from athanore.runs.kept import questions
from athanore.runs.kept.questions import Fate, Question
from athanore.runs.records.record import Holder, Start, record_of
from athanore.runs.records.run_log import RunLog
from athanore.runtime.leases.local_runs import RunControl
from athanore.services.people import questions as use_cases
from athanore.services.people.questions import Asked
from tests.rules_site import LOG, Site


class Access:
    """The store, as use cases take it."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def client(self) -> Any:
        return self

    async def __aenter__(self) -> Any:
        return self._site.client

    async def __aexit__(self, *_: object) -> None:
        pass


class Asking(Site):
    """A site with a run whose agent has asked something."""

    run: FlowRun
    question: Question

    @classmethod
    async def made(cls, phase: str = "suspended", **options: Any) -> Asking:
        site = cls(**options)
        run = await site.put(await site.dispatched(), Pending(), Running())
        site.board.move_task(site.task_id, "In Progress")
        site.app.local_runs.hold(run.id, "here")
        site.run = await site.noted(run, Holder("here", identity.process()))
        site.question = await site.asked("Which colour?")
        if phase == "suspended":
            await site.suspended()
        return site

    async def asked(
        self, text: str, *choices: str, schema: Mapping[str, Any] | None = None
    ) -> Question:
        run = await self.client.read_run(self.run.id)
        asked = Asked(text, choices, schema)
        return await use_cases.ask(Access(self), self.app, self.route, run, asked)

    def open_log(self, run: FlowRun) -> RunLog:
        log = RunLog(self.client, run, RetryPolicy(2))
        record = record_of(run)
        log.start = Start(record.start_id, record.starts, record.process)
        return log

    async def suspended(self) -> None:
        run = await self.client.read_run(self.run.id)
        handle = RunControl(run.id, self.task_id, run)
        parts = (self.client, self.app, self.route, self.open_log(run), self.question)
        with pytest.raises(Abort):
            await asking.suspend(*parts, handle, {}, LOG)
        self.app.local_runs.forget(run.id)

    async def answered(self, text: str = "red", by: str = "eve") -> Question:
        found = await use_cases.find(self.client, self.app, self.question.id)
        return await use_cases.answer(self.client, self.app, found, text, by)

    async def fate(self) -> Fate:
        found = await questions.of_run(self.client, self.run.id)
        return next(q.fate for q in found if q.id == self.question.id)

    async def now(self) -> FlowRun:
        return await self.client.read_run(self.run.id)

    async def listed(self) -> bool:
        return bool(await questions.all_listed(self.client, self.app.name))

    async def next_start(self) -> FlowRun:
        """The next start of the run says who it is, with its task claimed."""
        run = await self.put(await self.now(), Running())
        self.board.move_task(self.task_id, "In Progress")
        return await self.noted(run)

    async def begins(self) -> Any:
        return await self.before_agent(await self.next_start())

    async def before_agent(self, run: FlowRun) -> Any:
        parts = (self.client, self.app, self.route, self.open_log(run))
        return await asking.before_agent(*parts, RunControl(run.id, self.task_id, run), LOG)
