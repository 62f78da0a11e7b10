"""Beginning anew: only code that can be started, and a stop for good wins."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from athanore.launch.renewal.restarting import Restarter
from athanore.launch.serving import find_serving, serving
from athanore.launch.stopping import Stop
from athanore.launch.terminal import keyboard
from athanore.processes.family import HAS_PROC

RUN = """
from athanore import AgentDispatcher, MemoryAdapter

dispatcher = AgentDispatcher("true", name="anew", queue_backend=MemoryAdapter(["Todo", "Doing"]))

@dispatcher.route("Todo", in_progress_queue="Doing")
def todo(task_id, task_name):
    return "the first"
"""


async def test_one_that_stops_for_good_does_not_begin_anew() -> None:
    stop = Stop()
    stop.bind()
    stop.request_again(at_once=False)
    assert stop.is_again and stop.is_requested
    assert stop.for_good()
    assert not stop.for_good(), "the next request is one to hurry"
    stop.request_again(at_once=True)
    assert not stop.is_again
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stop.at_once(), 0.1)

    stop = Stop()
    stop.bind()
    stop.request_again(at_once=False)
    stop.request_again(at_once=True)
    await asyncio.wait_for(stop.at_once(), 60)
    assert stop.is_again


async def test_the_key_q_stops_for_good_and_leaves_the_agents_their_time() -> None:
    stop = Stop()
    stop.bind()
    press = keyboard.Keys("http://x", stop).actions["q"]
    stop.request_again(at_once=False)
    press()
    assert not stop.is_again
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stop.at_once(), 0.1)
    press()
    await asyncio.wait_for(stop.at_once(), 60)


@pytest.mark.skipif(not HAS_PROC, reason="only Linux has /proc")
async def test_the_look_before_has_no_secret_that_agents_could_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SOMEBODYS_TOKEN", "s3cret")
    script, stop, reference = tmp_path / "run.py", Stop(), "run.py:dispatcher"
    told = 'f"{os.environ["SOMEBODYS_TOKEN"]} {"s3cret" in open("/proc/self/environ").read()}"'
    script.write_text(RUN + f'\nimport os\nopen("seen", "w").write({told})\n')
    stop.bind()
    with serving(reference, script, ("::1", 81), "http://x/api", needs_token=False) as note:
        watching = asyncio.create_task(Restarter(reference, stop, note).watch())
        stop.wish(at_once=False)
        await asyncio.wait_for(stop.requested(), 60)
        watching.cancel()
    assert (tmp_path / "seen").read_text() == "s3cret False"


async def test_code_that_cannot_be_started_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    script = tmp_path / "run.py"
    script.write_text(RUN + "\nbroken(\n")
    stop, reference = Stop(), "run.py:dispatcher"
    stop.bind()
    with serving(reference, script, ("::1", 81), "http://x/api", needs_token=False) as note:
        watching = asyncio.create_task(Restarter(reference, stop, note).watch())

        async def refused(times: int) -> str:
            stop.wish(at_once=False)
            async with asyncio.timeout(60):
                while True:
                    found = find_serving(reference, changed_too=True)
                    assert found is not None
                    if found.refusals == times:
                        return found.refused
                    await asyncio.sleep(0.05)

        assert "run.py, line 10: SyntaxError" in await refused(1)
        script.write_text(RUN.replace('("Todo", in', '("Tood", in'))
        assert "'Tood'" in await refused(2)
        script.write_text(RUN + "\nimport os\nos._exit(4)\n")
        assert "exit code 4" in await refused(3)
        assert not stop.is_requested

        script.write_text(RUN)
        stop.wish(at_once=False)
        await asyncio.wait_for(stop.requested(), 60)
        assert stop.is_again
        watching.cancel()
