"""A changed run.py: what is said of it, and how it is loaded again."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import re
import stat
import sys
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings

from athanore.errors import AthanoreError, ConfigurationError
from athanore.launch.renewal import code, reloading
from athanore.routing.routes import Route
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime import apps
from athanore.runtime.apps import App

RUN = """
from athanore import AgentDispatcher, MemoryAdapter
from words import hello

BOARD = MemoryAdapter(["Todo", "In Progress", "Next"])
dispatcher = AgentDispatcher("true", name="again", queue_backend=BOARD)

@dispatcher.route("Todo", max_retries=1)
def todo(task_id, task_name):
    return hello(task_name)
"""


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Path]:
    """An app of two files, and its modules forgotten afterwards."""
    (tmp_path / "words.py").write_text("def hello(name):\n    return 'hello ' + name\n")
    (tmp_path / "run.py").write_text(RUN)
    before, path = set(sys.modules), list(sys.path)
    yield tmp_path / "run.py"
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if name in ("words", "athanore_app_run", "prompts", "prompts.x"):
            del sys.modules[name]


def _rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_file_and_the_modules_beside_it_are_loaded_anew(script: Path) -> None:
    reference = f"{script}:dispatcher"
    old = apps.load(reference)
    before = code.read_code(script)
    assert [path.name for path in before] == ["run.py", "words.py"]
    _rewrite(script.parent / "words.py", "'hello ' + name", "'good morning, ' + name")
    _rewrite(script, "max_retries=1", "max_retries=2")
    lines = code.changed_lines(before, code.read_code(script))
    assert lines[0] == '-@dispatcher.route("Todo", max_retries=1)'
    assert "+    return 'good morning, ' + name" in lines
    new = code.load_anew(reference, script)
    assert code.differences(old.routes, new.routes) == ["route 'Todo': max_retries 1 -> 2"]
    assert str(new.routes["Todo"].prompt("1", "Eve")) == "good morning, Eve"
    assert str(old.routes["Todo"].prompt("1", "Eve")) == "hello Eve", "what runs stays as it was"


def test_a_new_route_and_another_prompt_are_named(script: Path) -> None:
    old = apps.load(f"{script}:dispatcher")
    more = RUN.replace("hello(task_name)", "hello(task_id)")
    more += '\n@dispatcher.route("Next")\ndef nxt(task_id, task_name):\n    return "x"\n'
    script.write_text(more)
    new = code.load_anew(f"{script}:dispatcher", script)
    assert code.differences(old.routes, new.routes) == [
        "route 'Todo': another prompt",
        "route 'Next' is new",
    ]
    script.write_text("\n\n" + more)
    again = code.load_anew(f"{script}:dispatcher", script)
    assert code.differences(new.routes, again.routes) == [], "only its lines have moved"


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("run.py", "max_retries=1", "max_retries=", "run.py, line 8: SyntaxError: expected"),
        ("run.py", "max_retries=1", "max_retries=-1", "run.py, line 8: Route 'Todo': max_ret"),
        ("run.py", "dispatcher = ", "app = ", "run.py, line 8: NameError: name 'dispatcher'"),
        ("words.py", "def hello", "raise SystemExit(3)\ndef hello", "words.py, line 1: SystemExit"),
    ],
)
def test_what_is_broken_says_where_and_leaves_what_was_loaded(
    script: Path, file: str, old: str, new: str, says: str
) -> None:
    apps.load(f"{script}:dispatcher")
    loaded = {name: sys.modules[name] for name in ("words", "athanore_app_run")}
    _rewrite(script.parent / file, old, new)
    with pytest.raises(ConfigurationError) as told:
        code.load_anew(f"{script}:dispatcher", script)
    assert says in str(told.value)
    assert {name: sys.modules[name] for name in loaded} == loaded


def test_a_long_change_is_told_in_part(tmp_path: Path) -> None:
    file = tmp_path / "run.py"
    lines = code.changed_lines({file: ""}, {file: "\n".join(f"a{n} = 1" for n in range(40))})
    assert (len(lines), lines[-1]) == (13, "and 28 lines more")


def test_it_is_not_taken_over_by_itself_where_agents_can_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "run.py"
    file.write_text("")
    with pytest.raises(ConfigurationError, match="belongs to the user that agents run as"):
        code.check_auto(file)
    code.check_auto(file, insecurely=True)
    assert "gets the worker's rights" in caplog.text
    writable = _written_by_agents(monkeypatch)
    writable.add(tmp_path)
    with pytest.raises(ConfigurationError, match="can be written by the user"):
        code.check_auto(file)
    writable.clear()
    code.check_auto(file)


def _written_by_agents(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """What can be written by agents that run as another user: nothing, until it is added."""
    nobody, writable = os.geteuid() + 4711, set[Path]()
    monkeypatch.setattr(os, "geteuid", lambda: nobody)

    def access(path: Path, _: int) -> bool:
        return path in writable

    monkeypatch.setattr(os, "access", access)
    return writable


def _import_from_below(script: Path, *, imports: bool = True) -> Path:
    below = script.parent / "prompts"
    below.mkdir()
    (below / "x.py").write_text("")
    if imports:
        script.write_text("import prompts.x\n" + RUN)
    return below


@pytest.mark.parametrize(
    "place", ["prompts/x.py", "prompts", "words.py", "..", "prompts/__pycache__"]
)
def test_all_code_that_is_taken_over_is_looked_at(
    script: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    below = _import_from_below(script)
    apps.load(f"{script}:dispatcher")
    (below / "__pycache__").mkdir(exist_ok=True)
    writable = _written_by_agents(monkeypatch)
    code.check_auto(script)
    path = Path(os.path.normpath(script.parent / place))
    writable.add(path)
    with pytest.raises(ConfigurationError, match=re.escape(f"{path} can be written by the user")):
        code.check_auto(script)


def test_each_link_on_the_way_to_the_code_is_looked_at(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who can write the folder of a link can point it elsewhere."""
    agents, link = tmp_path / "agents", tmp_path / "link"
    agents.mkdir()
    (agents / "current").symlink_to(script.parent)
    link.symlink_to("agents/current")
    writable = _written_by_agents(monkeypatch)
    code.check_auto(link / script.name)
    writable.add(agents)
    with pytest.raises(ConfigurationError, match=re.escape(f"{agents} can be written by the")):
        code.check_auto(link / script.name)


def test_what_cannot_be_reached_is_no_reason(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python may keep what it compiled in a folder that is closed to us."""
    _written_by_agents(monkeypatch)
    look = os.stat

    def refused(path: Path) -> os.stat_result:
        if str(path).endswith(".pyc"):
            raise PermissionError(path)
        return look(path)

    monkeypatch.setattr(os, "stat", refused)
    code.check_auto(script)


def test_a_sticky_folder_above_is_nothing_that_agents_can_exchange(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    above = script.parent.parent
    mode = above.stat().st_mode
    above.chmod(mode | stat.S_ISVTX)
    writable = _written_by_agents(monkeypatch)
    writable.add(above)
    try:
        code.check_auto(script)
    finally:
        above.chmod(mode)


async def test_a_module_that_was_imported_later_is_not_taken_over_by_itself(
    script: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="athanore")
    monkeypatch.setattr(reloading, "_LOOK", timedelta(milliseconds=10))
    writable = _written_by_agents(monkeypatch)
    below = _import_from_below(script, imports=False)
    writable.add(below)
    reference = f"{script}:dispatcher"
    app = App(reference, apps.load(reference))
    app.dispatcher.settings = app.dispatcher.settings.model_copy(update={"reload": "auto"})
    code.check_auto(app.file)
    reloader = reloading.Reloader(app, lambda: None)
    async with _watching(reloader), asyncio.timeout(60):
        importlib.import_module("prompts.x")
        (below / "x.py").write_text("raise SystemExit('an agent wrote this')")
        while "Press r" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert f"{below} can be written by the user" in caplog.text
    assert "is not taken over" not in caplog.text


class Told(reloading.Reloader):
    """One that notes whom it has held, and what it has told Prefect, which may break off."""

    told: Sequence[list[str]] = ()
    breaks_off: Exception | None = None

    async def _bring_in_line(self, client: PrefectRunStore, held: list[Route]) -> list[str]:
        if self.breaks_off is not None:
            raise self.breaks_off
        self.told = [*self.told, [route.name for route in held]]
        return []


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadError("Prefect went away"),
        AthanoreError("Prefect refuses: 500"),
        ObjectNotFound(RuntimeError("404")),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_prefect_that_is_away_is_told_when_it_is_back(
    script: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    caplog.set_level(logging.INFO, logger="athanore")
    monkeypatch.setattr(reloading, "_LOOK", timedelta(milliseconds=10))
    reference = f"{script}:dispatcher"
    app = App(reference, apps.load(reference))
    reloader = Told(app, lambda: None)
    _rewrite(script, '"Todo", max_retries=1', '"Next", max_retries=2')
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        async with _watching(reloader) as watching:
            await reloader.by_key()
            assert sorted(app.dispatcher.routes) == ["Next", "Todo"]
            assert "No Prefect server answers at http://127.0.0.1:1/api." in caplog.text
            assert "Prefect does not answer, and is told what has changed when" in caplog.text

            monkeypatch.setattr(reloading, "trouble_at", _none)
            reloader.breaks_off = error
            for _ in range(2):
                await reloader.by_key()
            assert caplog.text.count("as soon as it answers") == 2, "each reason is said once"
            assert not watching.done() and not reloader.told

            reloader.breaks_off = None
            async with asyncio.timeout(60):
                while "Prefect is back, and has version" not in caplog.text:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
    assert reloader.told == [["Todo"]]


@asynccontextmanager
async def _watching(reloader: reloading.Reloader) -> AsyncGenerator[asyncio.Task[None]]:
    watching = asyncio.create_task(reloader.watch())
    try:
        yield watching
    finally:
        watching.cancel()


async def _none(*_: object) -> None:
    return None
