"""What Prefect remembers of an app, so that another one of the same name is noticed in time.

It is kept in a variable of Prefect for each name, and looked at before anything else is changed. An
app with `name=` is known by its board. One that is named after its folder is known by its home, the
folder and the host: while it is at work nobody else can have the name, afterwards anybody can.

The variable is taken by creating it, which of several only one can do, and given up by deleting it
under its id; so two that start at once cannot both have it.
"""

from __future__ import annotations

import hashlib
import logging
import re
import socket
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, cast
from uuid import UUID

import psutil
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.client.schemas.filters import WorkerFilter, WorkerFilterStatus
from prefect.client.schemas.objects import StateType, Variable
from prefect.exceptions import ObjectAlreadyExists, PrefectHTTPStatusError
from prefect.states import Cancelled
from pydantic import TypeAdapter, ValidationError

from athanore import names
from athanore.errors import AppTakenError, BoardError
from athanore.models import BoardIdentity, RetryPolicy
from athanore.processes import identity
from athanore.runs import store
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.records.record import record_of
from athanore.runs.records.run_log import RunLog
from athanore.runs.states import StateName
from athanore.runtime.apps import App

logger = logging.getLogger("athanore")

_MARKS = 20
_NOT_FOUND = 404
_OWN_WORKER = re.compile(r"(.+)-(\d{1,9})-[0-9a-f]{4}( .*)?")


@dataclass(frozen=True, slots=True)
class Record:
    """An app as it was deployed or started last.

    Attributes:
        marks, place, lasting: its board; see `BoardIdentity`. No marks: the board has no identity.
        folder, host: its home.
        process: what serves it, for as long as that lives; "" after a deploy.
    """

    name: str
    marks: tuple[str, ...]
    place: str
    lasting: bool
    folder: str
    host: str
    process: str = ""

    @classmethod
    def of(cls, app: App, board: BoardIdentity | None, process: str) -> Record:
        """The record of an app here and now."""
        board = board or BoardIdentity((), "")
        folder, host = str(app.folder), socket.gethostname()
        return cls(app.name, board.marks, board.place, board.lasting, folder, host, process)

    def value(self) -> dict[str, Any]:
        """The record as JSON."""
        return {**asdict(self), "marks": list(self.marks)}

    @property
    def home(self) -> tuple[str, str]:
        """Where an app without a name is at home."""
        return self.folder, self.host

    def other_board(self, other: Record) -> bool:
        """Tell whether two apps are on different boards, as far as these can be told apart."""
        return bool(self.marks and other.marks) and not set(self.marks) & set(other.marks)


_RECORD = TypeAdapter(Record)


async def check_app_record(client: PrefectRunStore, app: App) -> None:
    """See that the app of this name in Prefect, if there is one, is this one. Changes nothing.

    Raises:
        AppTakenError: it is another.
    """
    if (variable := await client.read_variable_by_name(_variable(app.name))) is None:
        return
    known = _read(variable)
    if known is not None:
        mine = Record.of(app, await _board(app), "")
        await _refuse_another(client, app, known, mine, variable)


async def claim_app(
    client: PrefectRunStore, app: App, *, serves: bool = False, new_board: bool = False
) -> None:
    """Note that this is the app of its name.

    Args:
        serves: this process is to serve it; otherwise it only deploys it.
        new_board: the app leaves the board that it had; its open runs there are cancelled.

    Raises:
        AppTakenError: another app has the name; nothing was changed.
    """
    process = identity.process() if serves else ""
    mine = Record.of(app, await _board(app), process)
    while True:
        variable = await client.read_variable_by_name(_variable(app.name))
        if variable is None:
            try:
                await client.create_variable(
                    VariableCreate(name=_variable(app.name), value=mine.value())
                )
            except ObjectAlreadyExists:
                continue  # somebody else was faster
            return
        known = _read(variable)
        if known is None:
            await _delete(client, variable.id)
            continue
        if new_board and await _lives(client, app, known, variable):
            raise AppTakenError(
                f"The app {app.name!r} is at work on the board {known.place}; stop it first, and "
                "then give it its new board."
            )
        if not new_board:
            await _refuse_another(client, app, known, mine, variable)
        same_home = app.dispatcher.is_named or known.home == mine.home
        if same_home and not known.other_board(mine):
            await _renew(client, variable, known, mine)
            return
        if known.other_board(mine):
            logger.warning(
                "The app %r leaves the board %s for %s.",
                app.name,
                known.place,
                mine.place,
                extra={"action": "board_changed"},
            )
            await _leave_board(client, app.name)
        await _delete(client, variable.id)


async def _refuse_another(
    client: PrefectRunStore, app: App, known: Record, mine: Record, variable: Variable
) -> None:
    if app.dispatcher.is_named:
        if known.other_board(mine) and (
            known.lasting or await _lives(client, app, known, variable)
        ):
            raise AppTakenError(
                f"Prefect has an app {app.name!r} already, on the board {known.place}; this one is "
                f"on {mine.place}. Give one of them another name=. If it is the same app, and "
                "shall leave its old board for good: athanore deploy --new-board"
            )
        return
    elsewhere = known.home != mine.home
    if (elsewhere or known.other_board(mine)) and await _lives(client, app, known, variable):
        where = f"{known.folder} on {known.host}" if elsewhere else f"the board {known.place}"
        raise AppTakenError(
            f"Prefect has an app {app.name!r} already, which is at work from {where}; this one is "
            f"from {mine.folder} on {mine.host}. Give this one a name of its own, name= in "
            "AgentDispatcher(...), or both the same if they are one app."
        )


async def is_at_work(client: PrefectRunStore, app: App) -> bool:
    """Tell whether the app of this name is at work somewhere, as far as Prefect knows."""
    variable = await client.read_variable_by_name(_variable(app.name))
    known = _read(variable) if variable else None
    return await _lives(client, app, known or Record(app.name, (), "", False, "", ""), variable)


async def forget_app(client: PrefectRunStore, name: str) -> None:
    """Let the name go: the next app that has it is taken for a new one."""
    if (variable := await client.read_variable_by_name(_variable(name))) is not None:
        await _delete(client, variable.id)


async def _board(app: App) -> BoardIdentity | None:
    try:
        return await app.board.identity()
    except BoardError as exc:
        logger.debug("The board does not say which it is: %s", exc)
        return None


async def _lives(
    client: PrefectRunStore, app: App, known: Record, variable: Variable | None
) -> bool:
    """Tell whether anything of an app is at work: what noted itself last, or a worker."""
    gone = identity.is_gone(known.process) if known.process else True
    if gone is False:
        return True
    noted = (variable.updated or variable.created) if variable else None
    if gone is None and noted is not None and app.clock.now() - noted < app.margins.starting:
        return True
    online = WorkerFilter(status=WorkerFilterStatus(any_=["ONLINE"]))
    for pool in (names.agents_pool(known.name), names.polls_pool(known.name)):
        with _missing_is_fine():
            workers = await client.read_workers_for_work_pool(
                pool, worker_filter=online, offset=0, limit=200
            )
            if not all(_has_ended(worker.name, known) for worker in workers):
                return True
    return False


def _has_ended(worker: str, known: Record) -> bool:
    """Tell whether a worker has ended of which Prefect does not know yet, if we can see that."""
    match = _OWN_WORKER.fullmatch(worker)
    here = known.process.startswith(f"{identity.host()}:")
    if match is None or not here or match[1] != socket.gethostname():
        return False
    return not psutil.pid_exists(int(match[2]))


async def _renew(client: PrefectRunStore, variable: Variable, known: Record, mine: Record) -> None:
    """Add what is known by now: another way to the board, the process that serves the app."""
    marks = tuple(dict.fromkeys((*mine.marks, *known.marks)))[:_MARKS]
    place = mine.place or known.place
    new = replace(mine, marks=marks, place=place, process=mine.process or known.process)
    if new != known:
        await client.update_variable(VariableUpdate(name=variable.name, value=new.value()))


async def _leave_board(client: PrefectRunStore, name: str) -> None:
    """Settle an app's runs: the tasks of its new board are others, even with equal ids."""
    message = "The app has left the board of this task."
    unfinished = (StateType.FAILED, StateType.CRASHED, StateType.CANCELLED)
    for run in await store.find_runs(client, name, (*store.WAITING, *store.WORKING, *unfinished)):
        if record_of(run).is_closed:
            continue
        await RunLog(client, run, RetryPolicy()).close()
        if run.state_type not in unfinished:
            left = Cancelled(name=StateName.BOARD_LEFT, message=message)
            await client.set_flow_run_state(run.id, left, force=True)


def _variable(name: str) -> str:
    """The variable of an app; only letters and digits may be in it."""
    return f"athanore_app_{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _read(variable: Variable) -> Record | None:
    """What a variable says; None if it is nothing of ours, or of another version."""
    try:
        return _RECORD.validate_python(variable.value)
    except ValidationError:
        return None


async def _delete(client: PrefectRunStore, variable_id: UUID) -> None:
    """Delete a variable as it was read: one that was made anew meanwhile has another id."""
    with _missing_is_fine():
        await client.request("DELETE", cast(Any, f"/variables/{variable_id}"))


@contextmanager
def _missing_is_fine() -> Generator[None]:
    """Do nothing about what Prefect does not have (any more)."""
    try:
        yield
    except PrefectHTTPStatusError as exc:
        if exc.response.status_code != _NOT_FOUND:
            raise
