"""What the board refuses for good is told from what passes, and is said where people look."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import override
from uuid import uuid4

import pytest

from athanore import AgentDispatcher, JsonFileAdapter, MemoryAdapter
from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardError,
    BoardNotWritableError,
    BoardUnavailableError,
)
from athanore.flows.refusals import claim_refused
from athanore.flows.retry import PatientBoard
from athanore.runtime.apps import App
from athanore.runtime.margins import Margins
from tests.harness import prompt

LOG = logging.getLogger("test")

LASTING = {
    "no right": (errno.EACCES, "right to read and write"),
    "not permitted": (errno.EPERM, "right to read and write"),
    "read-only": (errno.EROFS, "mount it for writing"),
    "a mount of its own": (errno.EBUSY, "mount its folder instead"),
    "another file system": (errno.EXDEV, "mount its folder instead"),
    "full disk": (errno.ENOSPC, "make room"),
    "quota": (errno.EDQUOT, "make room"),
    "larger than allowed": (errno.EFBIG, "ulimit -f"),
}
PASSING = [errno.EIO, errno.EINTR, errno.EAGAIN, errno.EMFILE, errno.ESTALE]


def cannot_be_written(folder: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> BoardError:
    path = folder / "board.json"
    path.write_text(json.dumps({"queues": {"Todo": [{"id": "1", "name": "Fix it"}]}}))
    before = path.read_bytes()
    board = JsonFileAdapter(path)

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch, pytest.raises(BoardError) as caught:
        patch.setattr(os, "fsync", fail)
        board.add_comment("1", "x")
    assert path.read_bytes() == before
    assert os.strerror(number) in str(caught.value)
    return caught.value


@pytest.mark.parametrize("fault", LASTING)
def test_an_error_that_does_not_pass_says_what_a_person_has_to_do(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, mend = LASTING[fault]
    error = cannot_be_written(tmp_path, number, monkeypatch)
    assert isinstance(error, BoardNotWritableError)
    assert mend in str(error)


@pytest.mark.parametrize("number", PASSING, ids=lambda n: errno.errorcode[n])
def test_an_error_that_may_pass_is_waited_for(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = cannot_be_written(tmp_path, number, monkeypatch)
    assert isinstance(error, BoardUnavailableError)


class Refusing(MemoryAdapter):
    """A board that can be read, or not, and answers every move with an error."""

    def __init__(self) -> None:
        super().__init__({"Todo": ["x"], "In Progress": []})
        self.is_away = False

    error: BoardError = BoardUnavailableError("status 500")

    @override
    def move_task(self, task_id: str, target_queue: str) -> None:
        raise self.error


@pytest.fixture
def app() -> App:
    dispatcher = AgentDispatcher("true", queue_backend=Refusing(), name=f"r-{uuid4().hex[:8]}")
    dispatcher.route("Todo")(prompt)
    return App("run.py:dispatcher", dispatcher)


def patient(app: App) -> PatientBoard:
    first, access = timedelta(milliseconds=1), timedelta(milliseconds=50)
    return PatientBoard(app.board, Margins(first_pause=first, board_access=access), LOG)


@pytest.mark.parametrize("error", [BoardUnavailableError, AnswerLostError])
def test_a_move_that_is_refused_by_a_board_that_reads_is_not_waited_for_for_ever(
    app: App, error: type[BoardError]
) -> None:
    assert isinstance(app.board.adapter, Refusing)
    app.board.adapter.error = error("status 500")

    async def move() -> None:
        await patient(app).until_it_answers(
            lambda: app.board.move("1", "In Progress"), look=lambda: app.board.task("1")
        )

    with pytest.raises(BoardNotWritableError, match="and refuses this: status 500"):
        asyncio.run(asyncio.wait_for(move(), 60))


def test_a_move_waits_for_a_board_that_is_away_altogether(app: App) -> None:
    async def away() -> None:
        raise BoardUnavailableError("away")

    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(patient(app).until_it_answers(away, look=away), 0.5))


REFUSED: dict[str, tuple[Callable[[], BoardError], bool]] = {
    "the board takes no change": (lambda: BoardNotWritableError("disk full"), True),
    "access is revoked": (lambda: BoardAccessError("no key"), True),
    "the board reads and answers the claim with 500": (lambda: BoardUnavailableError("500"), True),
    "the board is away": (lambda: BoardUnavailableError("away"), False),
    "a refusal of this task": (lambda: BoardError("no"), False),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_claim_that_is_refused_for_good_pauses_the_route(
    case: str, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    make, pauses = REFUSED[case]
    error = make()
    now = 1000.0
    app.noted.monotonic = lambda: now

    async def look() -> None:
        if str(error) == "away":
            raise error

    route = app.dispatcher.routes["Todo"]
    paused: list[BoardAccessError] = []
    for _ in range(12):
        if (lasting := await claim_refused(app, route, error, look, LOG)) is not None:
            paused.append(lasting)
        now += 30
    said = [r for r in caplog.records if getattr(r, "action", "") == "claim_refused"]
    assert (len(said), len(paused)) == ((1, 1) if pauses else (0, 0))
    assert all(str(error) in str(lasting) for lasting in paused)


async def test_refusals_that_are_far_apart_are_not_one(app: App) -> None:
    now, route, error = 1000.0, app.dispatcher.routes["Todo"], BoardUnavailableError("500")
    app.noted.monotonic = lambda: now
    for _ in range(4):
        assert await claim_refused(app, route, error, lambda: app.board.task("1"), LOG) is None
        now += 3600
