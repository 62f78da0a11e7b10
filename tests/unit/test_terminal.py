"""What a terminal is shown: no text of agents or people does anything there."""

from __future__ import annotations

import ast
import asyncio
import io
import json
import logging
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_type_hints
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, Log
from prefect.states import Cancelling, Running
from prefect.types import DateTime
from rich.cells import cell_len
from rich.console import Console

from athanore import logs
from athanore.cli import output
from athanore.launch.terminal import display
from athanore.launch.terminal.ending import LastLine
from athanore.models import Quota
from athanore.services.showing.views import NotStarted, Overview, ProviderLimit, RouteView, RunView
from athanore.services.status import overview as overviews
from athanore.services.status.overview import said_last
from athanore.texts import shown

HOSTILE = (
    "\x1b]0;title\x07",
    "\x1b]52;c;cm0gLXJm\x07",
    "\x1b[2J\x1b[31mred\x1b[0m",
    "\x9b2J",
    "\x9d0;x\x9c",
    "\x1bP1$r\x1b\\",
    "a\0b",
    "over\rwritten",
    "back\b\b\b\bspace",
    "bell\x07",
    "\x7f",
    "\u202egnp.exe",
    "\u2066x\u2069",
    "half \ud83d pair",
    "\x0e",
    "\x0b\x0c",
)
WORDS = " ".join(HOSTILE)


def text_of(console: Console) -> str:
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def on_screen(thing: Any) -> str:
    """What is drawn, without the colours that a terminal would get."""
    console = Console(file=io.StringIO(), width=4000, soft_wrap=True, no_color=True)
    console.print(thing)
    return text_of(console)


def filled[T](kind: type[T], **fields: object) -> T:
    """A dataclass with hostile words in each text of it."""
    hints = get_type_hints(kind, vars(sys.modules[kind.__module__]) | {"UUID": str})
    values: dict[str, object] = {
        name: WORDS if hint is str else (WORDS,) if "str" in str(hint) else None
        for name, hint in hints.items()
    }
    return kind(**values | fields)


def seen() -> Overview:
    now = datetime.now(UTC)
    run = filled(RunView, attempt=2, since=now, due=None)
    waiting = filled(RunView, attempt=1, since=now, due=now)
    route = filled(
        RouteView, tasks=1, waiting=1, working=1, retrying=0, deployed=True, pause_reason=WORDS
    )
    return filled(
        Overview,
        working=1,
        limit=None,
        routes=(route,),
        runs=(run, waiting),
        not_started=(filled(NotStarted, until=now),),
        dead_letters=(),
        board_error=WORDS,
        board_quotas=(Quota(WORDS, 10, 1, now),),
        provider_limits=(filled(ProviderLimit, reached=True, until=now),),
    )


def record() -> logging.LogRecord:
    try:
        raise ValueError(WORDS)
    except ValueError:
        found = logging.makeLogRecord({"msg": WORDS, "exc_info": sys.exc_info()})
    found.flow_run_name = WORDS
    return found


def logged_on_a_terminal() -> str:
    console = Console(file=io.StringIO(), width=4000, no_color=True)
    logs.TerminalHandler(console).handle(record())
    return text_of(console)


def printed(say: Callable[..., None], *words: object) -> Callable[[], None]:
    return lambda: say(*words)


DRAWN: dict[str, Callable[[], str]] = {
    "words": lambda: on_screen(display.text(WORDS)),
    "a cell": lambda: on_screen(display.table(("a",), [(WORDS,)])),
    "a state": lambda: on_screen(display.state_text(WORDS)),
    "the overview": lambda: on_screen(display.overview_view(seen())),
    "a line of the log": lambda: logs.LineFormatter().format(record()),
    "a line of the log as JSON": lambda: logs.JsonFormatter().format(record()),
    "a line of the log on a terminal": logged_on_a_terminal,
}
PRINTED: dict[str, Callable[[], None]] = {
    "say": printed(output.say, WORDS),
    "warn": printed(output.warn, WORDS),
    "print_json": printed(output.print_json, {WORDS: [WORDS]}),
    "print_table": printed(output.print_table, ("a", "b"), [(WORDS, WORDS)], WORDS),
}


def is_harmless(text: str) -> bool:
    turns = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    return not any(
        unicodedata.category(c) in ("Cc", "Cs") or c in turns for c in set(text) - {*"\n\t"}
    )


@pytest.mark.parametrize("name", DRAWN)
def test_what_is_drawn_does_nothing(name: str) -> None:
    drawn = DRAWN[name]()
    assert is_harmless(drawn), ascii(drawn)
    assert "title" in drawn


@pytest.mark.parametrize("name", PRINTED)
def test_what_is_printed_does_nothing(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    PRINTED[name]()
    out, err = capsys.readouterr()
    assert is_harmless(out + err), ascii(out + err)
    assert "title" in out + err


@pytest.mark.parametrize("part", HOSTILE)
def test_a_character_that_does_something_is_written_out(part: str) -> None:
    written = shown(part)
    assert written != part
    assert "\\x" in written or "\\u" in written
    assert shown(written) == written


def test_json_says_the_same_and_shows_nothing_else() -> None:
    from athanore.texts import as_json

    value = {WORDS: [WORDS, 1, None]}
    assert is_harmless(as_json(value))
    assert json.loads(as_json(value)) == value


@pytest.mark.parametrize("text", ["Größe: 3 µm\n\t完了 👩‍👩‍👧 שלום", "", "a\r\nb"])
def test_what_is_harmless_stays(text: str) -> None:
    assert shown(text) == text.replace("\r\n", "\n")


def test_a_long_cell_is_cut_and_says_so() -> None:
    drawn = on_screen(display.table(("name",), [("x" * 150_000,)]))
    assert len(drawn) < 2000
    assert "149700 more cut" in drawn


def one_run(task_id: str, route: str = "Review", **fields: object) -> Overview:
    long = "on and on " * 30
    values = {"state": "AwaitingRetry", "since": datetime.now(UTC), "due": datetime.now(UTC)}
    run = filled(
        RunView, task_id=task_id, name=long, route=route, attempt=2, message=long, last_line=long,
        url="", **values | fields,
    )  # fmt: skip
    known = filled(
        RouteView, name=route, queue_name="Review", tasks=1, waiting=1, working=1, retrying=0,
        deployed=True, paused=(), changed=(), source="code",
    )  # fmt: skip
    return filled(
        Overview, working=1, limit=None, routes=(known,), runs=(run,), dead_letters=(),
        board_error=None, not_started=(),
        workers=("here",), app="lab", ui_url="", needs_person=(), board_quotas=(),
        provider_limits=(),
    )  # fmt: skip


UUID_ID = "5f0c2d8e-3a1b-4c6d-9e8f-0123456789ab"


@pytest.mark.parametrize("task_id", ["12", UUID_ID])
@pytest.mark.parametrize("route", ["Review", "a reviewer of everything"])
def test_a_narrow_screen_shows_the_state_and_cuts_what_is_said(task_id: str, route: str) -> None:
    lines = on_terminal(display.overview_view(one_run(task_id, route)))
    (head,) = [line for line in lines if " state " in line]
    if (route, task_id) != ("a reviewer of everything", UUID_ID):  # for which there is no room
        assert (" route " in head) is (route != "Review"), "a column is there if it says something"
    (row,) = [line for line in lines if task_id in line]
    assert len(row) <= 80
    for part in (" Review ", "AwaitingRetry, attempt 2", " now", *(["on "] * (task_id == "12"))):
        assert part in f"{row} "


async def test_times_stand_still_while_prefect_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    began = datetime.now(UTC) - timedelta(seconds=600)
    seen = one_run("12", state="Running", since=began, due=None)
    answers = asyncio.Queue[Overview | Exception]()

    async def answer(*_: object) -> Overview:
        if isinstance(found := await answers.get(), Exception):
            raise found
        return found

    monkeypatch.setattr(overviews, "overview", answer)
    for name, value in (("_LOOK_EVERY", 0.01), ("_PATIENCE", 0.1), ("_REDRAWN_A_SECOND", 50)):
        monkeypatch.setattr(display, name, value)
    ago = iter(range(10, 10_000))

    def passed(_: datetime | None) -> str:
        return f"{next(ago)} min"

    monkeypatch.setattr(display, "ago", passed)
    console = Console(file=io.StringIO(), width=80, height=30, no_color=True, force_terminal=True)
    nothing: Any = None
    showing = asyncio.create_task(display.show_live(console, nothing, nothing))

    async def drawn(says: str) -> str:
        before = len(text_of(console))
        async with asyncio.timeout(60):
            while says not in text_of(console)[before:]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return text_of(console)[before:]

    try:
        answers.put_nowait(seen)
        await drawn("12 min")
        await drawn("Prefect does not tell how it is now: no answer in 0.1 s")
        answers.put_nowait(ConnectionError("refused"))
        await drawn("Prefect does not tell how it is now: refused")
        still = await drawn("This is of ") + await drawn("This is of ")
        assert len(set(re.findall(r"\d+ min", still))) == 1
        answers.put_nowait(seen)
        await drawn("Running")
        assert len(set(re.findall(r"\d+ min", await drawn("Running") + await drawn("Running")))) > 1
    finally:
        showing.cancel()
        await asyncio.wait([showing])


def on_terminal(thing: Any, width: int = 80) -> list[str]:
    """The lines that a terminal shows, without colours."""
    console = Console(file=io.StringIO(), width=width, no_color=True, force_terminal=True)
    console.print(thing)
    return [line.rstrip() for line in escape_sequences.sub("", text_of(console)).splitlines()]


async def test_the_live_view_says_in_one_line_what_the_end_waits_for() -> None:
    console = Console(file=io.StringIO(), width=40, height=20, no_color=True, force_terminal=True)
    line = LastLine("Waiting for 2 agents, 23 s more at most: Fix it, Add it")
    nothing: Any = None
    showing = asyncio.create_task(display.show_live(console, nothing, nothing, line=line))
    async with asyncio.timeout(60):
        while "Prefect does not tell" not in text_of(console):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    showing.cancel()
    await asyncio.wait([showing])
    drawn = text_of(console)
    assert "Waiting for 2 agents, 23 s more at most…" in drawn
    assert "Add it" not in drawn


escape_sequences = re.compile(r"\x1b\[[0-9;]*m")
COLUMNS = ("task", "name", "queue", "labels", "state", "why")
WIDE = "数字の長い題名" * 9
ROWS = (
    (
        "1",
        "Fix\nthe crash " * 12,
        "In Progress",
        "bug, good first issue, urgent",
        "Running",
        "x" * 90,
    ),
    ("PROJ-2", WIDE, "Todo", "", "AwaitingRetry, attempt 2", ""),
    ("3", "Short", "Todo", "", "", ""),
)


@pytest.mark.parametrize("width", [40, 80, 120, 160])
def test_a_row_is_one_line_of_the_screen(width: int) -> None:
    lines = on_terminal(display.table(COLUMNS, ROWS, cut=("labels", "why", "name")), width)
    assert all(cell_len(line) <= width for line in lines)
    heading, rule, *rows = filter(None, lines)
    assert heading.split()[0] == "task"
    assert set(rule) <= {" ", "─"}
    assert [row.split()[0] for row in rows] == ["1", "PROJ-2", "3"]
    if width >= 80:
        assert "AwaitingRetry, attempt 2" in rows[1]
        assert "In Progress" in rows[0]
        assert "数字の長い" in rows[1]
        assert "…" in rows[1]


def test_a_column_with_nothing_in_it_takes_no_room_on_a_screen() -> None:
    drawn = display.table(("task", "labels", "name"), [("1", "", "Fix it")])
    assert "labels" not in " ".join(on_terminal(drawn))
    assert "labels" in on_screen(drawn)
    assert "labels" in " ".join(on_terminal(display.table(("task", "labels"), [])))


def test_what_has_to_be_read_whole_takes_the_lines_that_it_needs() -> None:
    words = " ".join(f"word{n}" for n in range(40))
    drawn = display.table(
        ("id", "name", "says"), [("1", "name " * 30, words)], cut=("name",), wraps="says"
    )
    shown = on_terminal(drawn)
    assert [w for line in shown for w in line.split() if w.startswith("word")] == words.split()
    assert sum("name" in line for line in shown) == 2  # the heading, and the one line of the name


def test_a_pipe_gets_all_of_a_row_in_a_line() -> None:
    console = Console(file=io.StringIO(), width=200, soft_wrap=True)
    console.print(display.table(COLUMNS, ROWS, cut=("labels", "why", "name")))
    (row,) = [line for line in text_of(console).splitlines() if "PROJ-2" in line]
    assert WIDE in row
    (row,) = [line for line in text_of(console).splitlines() if "Running" in line]
    assert " ".join(("Fix\nthe crash " * 12).split()) in row
    assert "x" * 90 in row


def test_an_attempt_that_is_silent_so_far_does_not_say_how_the_one_before_ended() -> None:
    began = DateTime(2026, 1, 1, 12, tzinfo=UTC)
    run = FlowRun(flow_id=uuid4(), state=Running(timestamp=began))
    stopped = FlowRun(flow_id=uuid4(), state=Cancelling(timestamp=began))

    def log(of: FlowRun, seconds: int, says: str) -> Log:
        return Log(
            name="x", level=20, message=says, flow_run_id=of.id,
            timestamp=DateTime.fromtimestamp(began.timestamp() + seconds, UTC),
        )  # fmt: skip

    before = [log(run, -5, "AwaitingRetry: exit code 1"), log(run, -6, "1 of 12 tests failed.")]
    heard = [log(run, 2, "Reading ...\nLooking ...\n"), log(run, 1, "I begin.")]
    assert said_last([run], before) == {}
    assert said_last([run], heard + before) == {run.id: "Looking ..."}
    assert said_last([stopped], [log(stopped, -1, "I work.")]) == {stopped.id: "I work."}


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_commands_show_what_a_terminal_cannot(encoding: str) -> None:
    program = "from athanore.cli import main; main(['routes', '--app', '任务/run.py:x'])"
    words = "import sys; from athanore.cli import main, output\ntry: main(['--version'])\n"
    words += "except SystemExit: output.say('Größe 任务')"
    for script, code in ((program, 2), (words, 0)):
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            encoding=encoding,
            check=False,
            env={"PYTHONIOENCODING": encoding, "PYTHONUTF8": "1"},
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        assert "任务" in done.stdout + done.stderr or "\\u4efb\\u52a1" in done.stdout + done.stderr


PACKAGE = Path(display.__file__).parents[2]


def calls(path: Path) -> list[ast.Call]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def name_of(call: ast.Call) -> str:
    return ast.unparse(call.func)


def unencoded(call: ast.Call) -> bool:
    """Tell whether a call opens a file or a pipe as text and leaves the encoding to the locale."""
    name, given = name_of(call), {k.arg for k in call.keywords}
    if name.endswith((".read_text", ".write_text")):
        return "encoding" not in given
    if name in ("subprocess.run", "subprocess.Popen", "subprocess.check_output"):
        return bool(given & {"text", "universal_newlines"})
    modes = [str(a.value) for a in call.args if isinstance(a, ast.Constant)]
    is_file = name == "open" or (name.endswith(".open") and name != "os.open" and bool(modes))
    return is_file and not any("b" in mode for mode in modes) and "encoding" not in given


def test_every_file_and_pipe_has_its_encoding() -> None:
    sources = [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "examples").rglob("*.py")]
    assert len(sources) > 100
    assert not [f"{p}:{c.lineno}" for p in sources for c in calls(p) if unencoded(c)]


def test_texts_for_a_terminal_are_made_where_they_are_escaped() -> None:
    makers = ("Text", "Text.assemble", "Text.from_markup")
    made = {p for p in PACKAGE.rglob("*.py") for c in calls(p) if name_of(c) in makers}
    assert made == {PACKAGE / "launch" / "terminal" / "display.py", PACKAGE / "logs.py"}
