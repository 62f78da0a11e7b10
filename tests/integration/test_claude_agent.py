"""ClaudeAgentAdapter with the real CLI, whose model is a scripted server on 127.0.0.1."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import signal
import stat
import sys
from collections.abc import Callable, Generator
from dataclasses import replace
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest

from athanore.errors import ConfigurationError
from athanore.models import AgentOutcome, AgentResult, EventKind
from tests.claude.endpoint import Reply, Request, Script, bash, fail, hang, say, use
from tests.claude.rig import ClaudeRig, bundled_cli, claude_rig, eventually
from tests.claude.task_api import task_api

CLI = bundled_cli()
if CLI is None:
    pytest.skip(
        "claude-agent-sdk, which bundles the real CLI, is not installed", allow_module_level=True
    )

from athanore.agent_adapters.claude import adapter as module  # noqa: E402
from athanore.agent_adapters.claude.adapter import ClaudeAgentAdapter  # noqa: E402
from athanore.agent_adapters.given.mcp_servers import BoardAccess  # noqa: E402
from athanore.agent_adapters.given.sessions import Session  # noqa: E402

# claude-code-sdk never closes its message streams.
pytestmark = pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning")

FAKE_CLI = Path(__file__).parent.parent / "claude" / "fake_cli.py"
BYPASS = "bypassPermissions"
FOREVER = "tail -f /dev/null"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run everything with the newer SDK, at night; what is marked `smoke` with the older one, too.

    The gate runs what is marked `smoke` with the newer SDK.
    """
    if "sdk" not in metafunc.fixturenames:
        return
    night = pytest.mark.nightly
    if metafunc.definition.get_closest_marker("smoke"):
        sdks = ["claude_agent_sdk", pytest.param("claude_code_sdk", marks=night)]
    else:
        sdks = [pytest.param("claude_agent_sdk", marks=night)]
    metafunc.parametrize("sdk", sdks, indirect=True)


@pytest.fixture
def sdk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    """One of the SDKs, as if it were the only one that is installed."""
    name: str = request.param
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    if name == "claude_code_sdk":
        monkeypatch.setitem(sys.modules, "claude_agent_sdk", None)
    yield name
    gc.collect()  # what the SDK leaves open is reported here, not in somebody else's test


def adapter(
    *,
    permission_mode: str | None = BYPASS,
    cli_path: str | Path | None = CLI,
    subagent: str | None = None,
    max_turns: int | None = None,
    max_budget_usd: float | None = None,
    resume_on_retry: bool = False,
    allowed_tools: list[str] | None = None,
    extra_args: dict[str, str | None] | None = None,
    board_access: BoardAccess | None = None,
) -> ClaudeAgentAdapter:
    """An adapter that may use every tool and runs the bundled CLI, unless told otherwise."""
    return ClaudeAgentAdapter(
        subagent=subagent,
        permission_mode=permission_mode,
        max_turns=max_turns,
        max_budget_usd=max_budget_usd,
        resume_on_retry=resume_on_retry,
        allowed_tools=allowed_tools or [],
        cli_path=cli_path,
        extra_args=extra_args,
        board_access=board_access,
    )


async def run_once(script: Script, claude: ClaudeAgentAdapter) -> tuple[AgentResult, ClaudeRig]:
    """One attempt; asserts that no process is left."""
    with claude_rig(script) as rig:
        result = await claude.run(rig.job())
        assert rig.processes() == []
        return result, rig


# --- a run that works ---------------------------------------------------------------------------


@pytest.mark.smoke
async def test_a_run_tells_what_was_said_done_and_spent(sdk: str) -> None:
    script = [bash("echo from the shell", output_tokens=20), say("line one\nline two")]
    result, rig = await run_once(script, adapter())

    assert result.succeeded and result.reason == "" and result.exit_code == 0
    assert result.output_tail == "line one\nline two"
    assert result.usage["turns"] == 2
    assert (result.usage["input_tokens"], result.usage["output_tokens"]) == (200, 30)
    assert result.usage["cost_usd"] > 0
    assert [d["text"] for d in rig.said(EventKind.OUTPUT)] == ["line one", "line two"]
    (called,) = rig.said(EventKind.TOOL_USE)
    assert called["name"] == "Bash" and "from the shell" in str(called["input"])
    assert rig.said(EventKind.TOOL_RESULT) == [
        {"name": "Bash", "is_error": False, "text": "from the shell"}
    ]
    assert rig.said(EventKind.COST) == [dict(result.usage)]
    assert rig.said(EventKind.PROGRESS)[0]["session_id"] == result.usage["session_id"]


async def test_the_prompt_and_the_folders_configuration_reach_the_model(sdk: str) -> None:
    with claude_rig([say("done")]) as rig:
        (rig.work / "CLAUDE.md").write_text("The house rule is: measure twice.")
        long_prompt = "-p @nobody " + "x" * 300_000
        result = await adapter().run(rig.job(long_prompt))
        assert result.succeeded
        said = json.dumps(rig.model.requests[0].body)
        assert "measure twice" in said
        assert long_prompt in said


async def test_the_options_reach_the_cli(sdk: str) -> None:
    claude = ClaudeAgentAdapter(
        model="claude-haiku-4-5",
        permission_mode=BYPASS,
        disallowed_tools=["WebSearch", "Write"],
        append_system_prompt="--Speak plainly.",
        cli_path=CLI,
    )
    result, rig = await run_once([say("done")], claude)
    assert result.succeeded
    request = rig.model.requests[0]
    assert request.body["model"] == "claude-haiku-4-5"
    assert "--Speak plainly." in request.system
    tools = {tool["name"] for tool in request.body["tools"]}
    assert "Bash" in tools and "Write" not in tools


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: ClaudeAgentAdapter(max_turns=0), "max_turns=0 must be at least 1"),
        (lambda: ClaudeAgentAdapter(max_budget_usd=0), "max_budget_usd=0 must be more than 0"),
        (lambda: ClaudeAgentAdapter(allowed_tools="Bash"), "allowed_tools='Bash' must be a list"),
        (lambda: ClaudeAgentAdapter(extra_args={"resume": "x"}), "sets resume itself"),
    ],
)
def test_wrong_options_are_refused(make: Callable[[], object], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        make()


@pytest.mark.parametrize("whose", ["the route's", "the adapter's"])
async def test_the_adapters_folder_counts_where_the_route_says_none(
    whose: str, tmp_path: Path
) -> None:
    claude = ClaudeAgentAdapter(permission_mode=BYPASS, cwd=tmp_path, cli_path=CLI)
    with claude_rig([bash("pwd; echo $PWD"), say("done")]) as rig:
        job = rig.job()
        if whose == "the adapter's":
            job = replace(job, cwd=None)
        await claude.run(job)
        folder = tmp_path if job.cwd is None else job.cwd
        assert rig.said(EventKind.TOOL_RESULT)[0]["text"] == f"{folder}\n{folder}"


@pytest.mark.smoke
async def test_the_agent_makes_the_six_calls_exactly_as_it_is_taught_them(sdk: str) -> None:
    """The commands come out of the system prompt; what the documentation allows suffices."""
    headers: list[Path] = []

    def script(request: Request) -> Reply:
        taught = re.findall(r"curl -sS .*?(?= \(send only|\n|$)", request.system)
        assert len(taught) == 6
        assert "t0ken" not in json.dumps(request.body), "the transcript holds no token"
        (header,) = {Path(h) for h in re.findall(r"-H @(\S+)", "\n".join(taught))}
        assert [stat.S_IMODE(p.stat().st_mode) for p in (header.parent, header)] == [0o700, 0o600]
        headers.append(header)
        return bash(taught[request.turn - 1]) if request.turn <= 6 else say("all done")

    with task_api(token="t0ken") as api, claude_rig(script) as rig:
        env = {"ATHANORE_API_URL": api.url, "ATHANORE_TASK_ID": "7", "ATHANORE_TOKEN": "t0ken"}
        claude = adapter(
            permission_mode="acceptEdits", allowed_tools=["Bash(curl:*)"], board_access="curl"
        )
        result = await claude.run(rig.job(env=env))

    assert result.succeeded, result
    assert api.calls == [
        ("GET", "/tasks/7"),
        ("POST", "/tasks/7/comments"),
        ("POST", "/tasks/7/move"),
        ("PATCH", "/tasks/7"),
        ("POST", "/tasks"),
        ("GET", "/queues"),
    ]
    assert api.tasks["7"]["comments"] == ["text"]
    assert api.tasks["7"]["queue_name"] == "name"
    assert api.tasks["8"]["queue_name"] == "..."
    assert len(set(headers)) == 1 and not headers[0].parent.exists()


async def test_the_agent_sees_its_own_environment_and_nothing_of_the_workers(
    sdk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANKA_TOKEN", "s3cret")
    monkeypatch.setenv("UNRELATED", "of the worker")
    script = [bash("env"), say("seen")]
    with claude_rig(script) as rig:
        job = rig.job(env={"ATHANORE_QUEUE": "Todo", "CLAUDE_CODE_SESSION_ID": "outer"})
        assert (await adapter().run(job)).succeeded
        seen = rig.model.requests[1].last_message
    assert "ATHANORE_QUEUE=Todo" in seen
    assert "s3cret" not in seen and "UNRELATED" not in seen and "=outer" not in seen


async def test_a_subagent_of_the_folder_runs(sdk: str) -> None:
    with claude_rig([say("checked")]) as rig:
        folder = rig.work / ".claude" / "agents"
        folder.mkdir(parents=True)
        (folder / "checker.md").write_text(
            "---\nname: checker\ndescription: checks\n---\nYou check everything twice."
        )
        env = {"ATHANORE_API_URL": "http://127.0.0.1:9", "ATHANORE_TASK_ID": "7"}
        result = await adapter(subagent="checker", board_access="curl").run(rig.job(env=env))
        assert result.succeeded
        assert "You check everything twice." in rig.model.requests[0].system
        assert "http://127.0.0.1:9/tasks/7/move" in rig.model.requests[0].system


async def test_the_run_goes_on_until_a_background_subagent_has_ended(sdk: str) -> None:
    def script(request: Request) -> Reply:
        if "CHILD" in json.dumps(request.body["messages"][0]):
            return bash("echo child") if request.turn == 1 else say("child is done")
        if request.turn == 1:
            (tool,) = {"Task", "Agent"} & {t["name"] for t in request.body["tools"]}
            kind, prompt = "general-purpose", "CHILD work"
            return use(
                tool, description="x", prompt=prompt, subagent_type=kind, run_in_background=True
            )
        return say("first end" if request.turn == 2 else "second end")

    result, rig = await run_once(script, adapter())
    assert result.succeeded
    assert result.output_tail.splitlines()[-1] == "second end"
    assert len(rig.said(EventKind.COST)) == 2
    # Three turns of the agent and two of its child.
    assert (result.usage["turns"], result.usage["input_tokens"]) == (3, 500)


@pytest.mark.nightly
async def test_one_adapter_runs_several_attempts_at_once() -> None:
    claude = adapter()
    with claude_rig([bash("pwd"), say("a")]) as one, claude_rig([bash("pwd"), say("b")]) as two:
        results = await asyncio.gather(claude.run(one.job()), claude.run(two.job()))
    assert [r.output_tail for r in results] == ["a", "b"]
    assert str(one.work) in str(one.said(EventKind.TOOL_RESULT))
    assert str(two.work) in str(two.said(EventKind.TOOL_RESULT))


async def test_an_mcp_server_that_cannot_be_reached_is_told(sdk: str) -> None:
    server = {"mcpServers": {"board": {"type": "http", "url": "http://127.0.0.1:9/mcp"}}}
    result, rig = await run_once(
        [say("without it")], adapter(extra_args={"mcp-config": json.dumps(server)})
    )
    assert result.succeeded
    assert {"stream": "stderr", "text": "MCP server 'board': failed"} in rig.said(EventKind.OUTPUT)


# --- failures -----------------------------------------------------------------------------------


async def test_the_turns_are_limited(sdk: str) -> None:
    result, _ = await run_once([bash("echo 1"), bash("echo 2")], adapter(max_turns=1))
    assert result.outcome is AgentOutcome.FAILED
    assert (result.reason, result.retryable) == ("max turns reached", True)
    assert "maximum number of turns" in result.output_tail


async def test_the_budget_is_limited(sdk: str) -> None:
    script = [bash("echo 1", output_tokens=1_000_000), bash("echo 2")]
    result, _ = await run_once(script, adapter(max_budget_usd=0.05))
    assert result.outcome is AgentOutcome.FAILED
    assert (result.reason, result.retryable) == ("budget reached", False)
    assert result.usage["cost_usd"] > 0.05


@pytest.mark.parametrize(
    ("status", "retryable"), [(400, False), (401, False), (429, True), (500, True), (529, True)]
)
async def test_an_api_error_is_a_failure(sdk: str, status: int, retryable: bool) -> None:
    result, _ = await run_once([fail(status, "so it is")], adapter())
    assert result.outcome is AgentOutcome.FAILED
    reason = "provider limit (requests)" if status == 429 else f"API error {status}"
    assert (result.reason, result.retryable) == (reason, retryable)
    assert "so it is" in result.output_tail


async def test_an_unreachable_api_is_worth_a_retry(sdk: str) -> None:
    with claude_rig([]) as rig:
        result = await adapter().run(rig.job(env={"ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}))
    assert (result.reason, result.retryable) == ("API error: no connection", True)


async def test_a_tool_that_was_refused_is_a_failure(sdk: str) -> None:
    script = [bash("curl http://127.0.0.1:9"), say("I could not")]
    result, _ = await run_once(script, adapter(permission_mode="acceptEdits"))
    assert result.outcome is AgentOutcome.FAILED
    assert (result.reason, result.retryable) == ("permission denied: Bash", False)
    assert result.output_tail == "I could not"


async def test_a_tool_that_a_hook_defers_is_refused_because_nobody_takes_it_up() -> None:
    decision = {"hookEventName": "PreToolUse", "permissionDecision": "defer"}
    said = json.dumps({"hookSpecificOutput": decision})
    hook = {"matcher": "Bash", "hooks": [{"type": "command", "command": f"echo '{said}'"}]}
    with claude_rig([bash("echo hi"), say("It is done")]) as rig:
        (rig.work / ".claude").mkdir(exist_ok=True)
        settings = rig.work / ".claude" / "settings.json"
        settings.write_text(json.dumps({"hooks": {"PreToolUse": [hook]}}))
        result = await adapter().run(rig.job())
    assert (result.reason, result.retryable) == ("permission denied: Bash", False)


async def test_an_agent_that_finds_another_way_with_a_refused_tool_succeeds(sdk: str) -> None:
    script = [bash("curl http://127.0.0.1:9"), bash("echo instead"), say("another way")]
    result, _ = await run_once(script, adapter(permission_mode="acceptEdits"))
    assert result.succeeded


async def test_a_missing_subagent_is_found_out_before_anything_is_spent(sdk: str) -> None:
    result, rig = await run_once([say("as somebody else")], adapter(subagent="nobody"))
    assert result.outcome is AgentOutcome.FAILED and not result.retryable
    assert result.reason.startswith("no subagent is called 'nobody'; there are: ")
    assert "general-purpose" in result.reason
    assert rig.model.requests == []


async def test_a_cli_that_refuses_its_options_is_not_tried_again(sdk: str) -> None:
    result, _ = await run_once([say("never")], adapter(permission_mode="nonsense"))
    assert result.outcome is AgentOutcome.FAILED and not result.retryable
    assert result.reason.startswith("the CLI did not start: ") and "nonsense" in result.reason
    assert result.exit_code == 1


async def test_a_missing_cli_is_told(sdk: str, tmp_path: Path) -> None:
    result, _ = await run_once([], adapter(cli_path=tmp_path / "claude"))
    assert result.outcome is AgentOutcome.FAILED and not result.retryable
    assert result.reason == f"there is no Claude CLI at {str(tmp_path / 'claude')!r}"
    assert "cli_path=" in result.output_tail


async def test_a_cli_that_may_not_be_run_is_told(tmp_path: Path) -> None:
    (tmp_path / "claude").write_text("not a program")
    result, _ = await run_once([], adapter(cli_path=tmp_path / "claude"))
    assert result.outcome is AgentOutcome.FAILED and not result.retryable
    assert result.reason.startswith("the Claude CLI cannot be started: ")


async def test_a_missing_folder_is_told() -> None:
    with claude_rig([]) as rig:
        rig.work.rmdir()
        result = await adapter().run(rig.job())
    assert result.reason == f"the folder {str(rig.work)!r} does not exist"
    assert not result.retryable


async def test_a_cli_that_is_killed_leaves_nothing_and_is_tried_again(sdk: str) -> None:
    with claude_rig([bash(FOREVER)]) as rig:
        run = asyncio.create_task(adapter().run(rig.job()))
        await eventually(lambda: _shell_of(rig), "the shell command runs")
        rig.cli().send_signal(signal.SIGKILL)
        result = await run
        assert rig.processes() == []
    assert result.outcome is AgentOutcome.FAILED
    assert (result.reason, result.retryable) == ("the CLI was killed by SIGKILL", True)
    assert result.exit_code == -signal.SIGKILL


# --- the end of all processes -------------------------------------------------------------------

ESCAPING = f"(setsid {FOREVER} &) ; nohup {FOREVER} >/dev/null 2>&1 & exec {FOREVER}"


def _shell_of(rig: ClaudeRig) -> bool:
    return rig.called("tail") > 0


def _all_escaped(rig: ClaudeRig) -> bool:
    return rig.called("tail") >= (3 if sys.platform == "linux" else 1)


@pytest.mark.nightly
async def test_a_run_that_takes_too_long_is_stopped_with_all_that_it_started() -> None:
    with claude_rig([bash(ESCAPING)]) as rig:
        run = asyncio.create_task(adapter().run(rig.job(timeout=10)))
        await eventually(lambda: _all_escaped(rig), "three shell commands run")
        result = await run
        assert rig.processes() == []
    assert (result.outcome, result.reason) == (AgentOutcome.TIMED_OUT, "timed out")
    assert result.retryable
    assert result.usage["turns"] == 1 and result.usage["input_tokens"] == 100
    assert result.usage["session_id"]


@pytest.mark.parametrize("cancellations", [1, 2, 5])
async def test_a_cancelled_run_leaves_no_process(sdk: str, cancellations: int) -> None:
    with claude_rig([bash(ESCAPING)]) as rig:
        run = asyncio.create_task(adapter().run(rig.job()))
        await eventually(lambda: _all_escaped(rig), "three shell commands run")
        for _ in range(cancellations):
            run.cancel()
            await asyncio.sleep(0)  # let it take notice, then cancel the clean-up, too
        with pytest.raises(asyncio.CancelledError):
            await run
        assert rig.processes() == []


@pytest.mark.smoke
async def test_a_run_that_is_cancelled_at_once_leaves_no_process(sdk: str) -> None:
    with claude_rig([hang()]) as rig:
        run = asyncio.create_task(adapter().run(rig.job()))
        await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert rig.processes() == []


async def test_what_an_agent_left_in_the_background_ends_with_it(sdk: str) -> None:
    script = [bash(f"setsid {FOREVER} >/dev/null 2>&1 & echo left"), say("done")]
    result, rig = await run_once(script, adapter())
    assert result.succeeded
    assert rig.said(EventKind.TOOL_RESULT)[0]["text"] == "left"


# --- a CLI that has a bad day -------------------------------------------------------------------


@pytest.fixture
def fake_cli(tmp_path: Path) -> Path:
    """A program that starts tests/claude/fake_cli.py."""
    program = tmp_path / "claude"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE_CLI} "$@"\n')
    program.chmod(0o755)
    return program


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the last words of a CLI also where the machine is busy."""
    monkeypatch.setattr(module, "_INTERRUPT", timedelta(seconds=60))


async def _bad_day(fake_cli: Path, act: str) -> tuple[AgentResult, ClaudeRig]:
    claude = adapter(permission_mode=None, cli_path=fake_cli, extra_args={act: None})
    return await run_once([], claude)


async def test_messages_that_nobody_knows_do_no_harm(sdk: str, fake_cli: Path) -> None:
    result, rig = await _bad_day(fake_cli, "say_odd_things")
    assert result.succeeded
    long, last = rig.said(EventKind.OUTPUT)
    assert str(long["text"]).startswith("yyy") and len(str(long["text"])) < 66_000
    assert last["text"] == "the end"
    assert result.usage["cost_usd"] == 0.5 and result.usage["output_tokens"] == 2


async def test_a_cli_that_falls_silent_is_stopped(sdk: str, fake_cli: Path) -> None:
    result, _ = await _bad_day(fake_cli, "fall_silent")
    assert result.outcome is AgentOutcome.FAILED and result.retryable
    assert result.reason == "the conversation with the CLI broke off"


async def test_who_says_nothing_is_the_engines_to_stop(sdk: str, fake_cli: Path) -> None:
    act: dict[str, str | None] = {"work_without_a_word": None}
    claude = adapter(permission_mode=None, cli_path=fake_cli, extra_args=act)
    with claude_rig([]) as rig:
        result = await claude.run(rig.job(stall_timeout=0.1))
    assert result.outcome is AgentOutcome.SUCCEEDED, "the agent may have called the task API"


@pytest.mark.parametrize(
    ("act", "outcome", "cost"),
    [
        ("stay_after_the_result", AgentOutcome.SUCCEEDED, 0.5),
        ("leave_a_child_after_the_result", AgentOutcome.SUCCEEDED, 0.5),
        ("die_and_leave_a_child", AgentOutcome.FAILED, None),
        ("take_another_turn", AgentOutcome.SUCCEEDED, 0.75),
    ],
)
@pytest.mark.smoke
async def test_a_cli_that_stays_after_its_result_is_done(
    sdk: str,
    fake_cli: Path,
    act: str,
    outcome: AgentOutcome,
    cost: float | None,
) -> None:
    class Impatient(ClaudeAgentAdapter):
        linger = timedelta(seconds=0.5)

    claude = Impatient(permission_mode=None, cli_path=fake_cli, extra_args={act: None})
    with claude_rig([]) as rig:
        async with asyncio.timeout(120):
            result = await claude.run(rig.job())
        assert (result.outcome, result.usage.get("cost_usd")) == (outcome, cost)
        assert rig.processes() == []


@pytest.mark.smoke
async def test_a_cli_that_stays_after_its_result_is_not_stalled(sdk: str, fake_cli: Path) -> None:
    signs: list[int] = []
    act: dict[str, str | None] = {"stay_after_the_result": None}
    claude = adapter(permission_mode=None, cli_path=fake_cli, extra_args=act)
    with claude_rig([]) as rig:
        job = replace(rig.job(timeout=60), alive=lambda: signs.append(1))
        attempt = asyncio.create_task(claude.run(job))
        await eventually(lambda: len(signs) > 5 or attempt.done(), "more signs than messages")
        assert len(signs) > 5
        attempt.cancel()
        await asyncio.wait([attempt])


@pytest.mark.smoke
@pytest.mark.parametrize("ends_by", ["timeout", "cancellation"])
async def test_what_a_stopped_agent_has_spent_is_known(
    sdk: str, fake_cli: Path, patient: None, ends_by: str
) -> None:
    act: dict[str, str | None] = {"spend_until_interrupted": None}
    claude = adapter(permission_mode=None, cli_path=fake_cli, extra_args=act)
    with claude_rig([]) as rig:
        if ends_by == "timeout":
            for limit in (2, 8, 30, 120):  # where the machine is busy, a CLI is slow to begin
                result = await claude.run(rig.job(timeout=limit))
                assert result.outcome is AgentOutcome.TIMED_OUT
                if rig.said(EventKind.PROGRESS):
                    break
        else:
            attempt = asyncio.create_task(claude.run(rig.job()))
            await eventually(lambda: rig.said(EventKind.PROGRESS), "the agent works")
            attempt.cancel()
            await asyncio.wait([attempt])
        assert [cost["cost_usd"] for cost in rig.said(EventKind.COST)] == [0.5]
        assert rig.processes() == []


async def test_what_a_stopped_cli_has_spent_is_known(sdk: str, patient: None) -> None:
    with claude_rig([bash("echo hello"), hang("ready")]) as rig:
        attempt = asyncio.create_task(adapter().run(rig.job()))
        await eventually(lambda: rig.said(EventKind.TOOL_RESULT), "the first turn is over")
        await eventually(lambda: len(rig.model.requests) > 1, "the second turn has begun")
        attempt.cancel()
        await asyncio.wait([attempt])
        (cost,) = rig.said(EventKind.COST)
        assert isinstance(cost["cost_usd"], float) and cost["cost_usd"] > 0
        assert rig.processes() == []


async def test_a_cli_without_a_result_has_failed(sdk: str, fake_cli: Path) -> None:
    result, _ = await _bad_day(fake_cli, "end_too_early")
    assert (result.reason, result.retryable) == ("the CLI ended without a result", True)


async def test_a_result_counts_only_if_nothing_follows_it(sdk: str, fake_cli: Path) -> None:
    result, _ = await _bad_day(fake_cli, "say_more_and_die")
    assert result.outcome is AgentOutcome.FAILED and result.retryable
    assert result.reason == "exit code 3"


async def test_an_error_of_the_agent_is_a_failure(sdk: str, fake_cli: Path) -> None:
    result, _ = await _bad_day(fake_cli, "end_in_an_error")
    assert result.outcome is AgentOutcome.FAILED and result.retryable
    assert result.reason == "the agent ended in an error: a bug"


# --- retries ------------------------------------------------------------------------------------


def _prompts(request: Request) -> str:
    return json.dumps([m for m in request.body["messages"] if m["role"] == "user"])


async def _fail_then_retry(
    claude: ClaudeAgentAdapter, rig: ClaudeRig, lose: Callable[[Session], Session] = lambda s: s
) -> tuple[str, str]:
    """Two attempts, of which the first one fails; returns their sessions."""
    kept: list[Session] = []
    first = await claude.run(replace(rig.job("The first prompt."), keep=kept.append))
    assert not first.succeeded
    job = rig.job("The second prompt.", attempt=2)
    second = await claude.run(replace(job, session=lose(kept[-1]) if kept else None))
    assert second.succeeded
    return first.usage["session_id"], second.usage["session_id"]


def _first_fails(request: Request) -> Reply:
    return say("better now") if "second prompt" in _prompts(request) else fail(500)


@pytest.mark.smoke
async def test_a_retry_resumes_the_session_when_asked_to(sdk: str) -> None:
    with claude_rig(_first_fails) as rig:
        first, second = await _fail_then_retry(adapter(resume_on_retry=True), rig)
        assert first == second
        assert "The first prompt." in _prompts(rig.model.requests[-1])


async def test_a_retry_starts_afresh_by_default(sdk: str) -> None:
    with claude_rig(_first_fails) as rig:
        first, second = await _fail_then_retry(adapter(), rig)
        assert first != second
        assert "The first prompt." not in _prompts(rig.model.requests[-1])


@pytest.mark.parametrize("lost", ["unknown to the CLI", "of another version"])
async def test_a_session_that_cannot_be_resumed_is_started_afresh(sdk: str, lost: str) -> None:
    def lose(session: Session) -> Session:
        if lost == "of another version":
            return replace(session, place=replace(session.place, version="1.0.0"))
        config = Path(rig.env()["CLAUDE_CONFIG_DIR"])
        (transcript,) = config.glob(f"projects/**/{session.id}.jsonl")
        transcript.unlink()
        return session

    with claude_rig(_first_fails) as rig:
        first, second = await _fail_then_retry(adapter(resume_on_retry=True), rig, lose)
        assert first != second
        assert "The first prompt." not in _prompts(rig.model.requests[-1])
        assert f"The session {first} cannot be resumed" in str(rig.said(EventKind.OUTPUT))
