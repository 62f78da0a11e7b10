"""The presets of command line agents, on lines that the real programs have written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from athanore.agent_adapters.cli.adapter import PRESETS, CliAgentAdapter
from athanore.agent_adapters.cli.preset import Options
from athanore.agent_adapters.cli.rollout import noted
from athanore.errors import ConfigurationError
from athanore.models import AgentEvent, AgentResult, EventKind, FaultKind

STREAMS = Path(__file__).parent.parent / "agents" / "streams"


@dataclass(frozen=True, slots=True)
class Read:
    """What a reader made of an attempt; `waits` says of each line whether it was only waiting."""

    events: list[AgentEvent]
    result: AgentResult | None
    usage: Mapping[str, Any]
    totals: Mapping[str, Any] | None
    session: str | None
    waits: list[bool]

    def said(self, kind: EventKind) -> list[dict[str, Any]]:
        return [dict(event.data) for event in self.events if event.kind is kind]

    def lines(self) -> list[str]:
        return [str(data["text"]) for data in self.said(EventKind.OUTPUT)]


def read(
    preset: str,
    lines: Iterable[str],
    exit_code: int | None,
    *,
    stderr: Iterable[str] = (),
    before: Mapping[str, Any] | None = None,
) -> Read:
    reader = PRESETS[preset].reader(before or {})
    events, waits = list[AgentEvent](), list[bool]()
    for line in stderr:
        events += reader.take("stderr", line)
    for line in lines:
        events += reader.take("stdout", line)
        waits.append(reader.waits)
    result = reader.verdict(exit_code)
    costs = [dict(e.data) for e in events if e.kind is EventKind.COST]
    usage = (costs or [{}])[-1]
    return Read(events, result, usage, reader.totals, reader.session, waits)


def recorded(name: str, exit_code: int, **more: Any) -> Read:
    lines = (STREAMS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return read(name.partition("-")[0], lines, exit_code, **more)


@pytest.mark.parametrize(
    ("preset", "tool", "usage"),
    [
        ("codex", "shell", {"input_tokens": 200, "output_tokens": 20}),
        ("gemini", "run_shell_command", {"input_tokens": 200, "output_tokens": 20}),
        ("opencode", "bash", {"input_tokens": 200, "output_tokens": 20, "cost_usd": 0, "turns": 2}),
        ("qwen", "run_shell_command", {"input_tokens": 200, "output_tokens": 20, "turns": 2}),
    ],
)
def test_what_an_agent_says_does_and_spends(
    preset: str, tool: str, usage: Mapping[str, Any]
) -> None:
    run = recorded(f"{preset}-ok", 0)
    assert run.result is None or run.result.succeeded
    assert run.lines()[-2:] == ["All done.", "Two lines."]
    assert [used["name"] for used in run.said(EventKind.TOOL_USE)] == [tool]
    assert "echo from the shell" in json.dumps(run.said(EventKind.TOOL_USE)[0]["input"])
    (got,) = run.said(EventKind.TOOL_RESULT)
    assert (got["name"], got["is_error"], got["text"].strip()) == (tool, False, "from the shell")
    assert {k: run.usage.get(k) for k in usage} == usage
    assert run.session is not None and run.usage["session_id"] == run.session


def failed(run: Read) -> AgentResult:
    assert run.result is not None and not run.result.succeeded
    return run.result


@pytest.mark.parametrize(
    ("name", "exit_code", "reason", "retryable", "fault"),
    [
        ("codex-401", 1, "unexpected status 401 Unauthorized: bad key", False, "environment"),
        ("codex-400", 1, '{"error":{"message":"too long"}}', True, None),
        ("codex-limit", 1, "provider limit (usage)", True, "provider"),
        ("gemini-400", 144, "too long", False, None),
        ("gemini-429", 173, "provider limit (daily quota)", True, "provider"),
        ("gemini-denied", 0, "permission denied: run_shell_command", False, None),
        ("gemini-taken-away", 0, "permission denied: run_shell_command", False, None),
        ("gemini-wrong-key", 144, "API key not valid. Please pass a ", False, "environment"),
        ("opencode-401", 1, "bad key", False, "environment"),
        ("opencode-denied", 0, "permission denied: bash", False, None),
        ("qwen-401", 1, "API error 401", False, "environment"),
        ("qwen-denied", 0, "permission denied: run_shell_command", False, None),
    ],
)
def test_a_failure_has_the_agents_own_reason(
    name: str, exit_code: int, reason: str, retryable: bool, fault: str | None
) -> None:
    result = failed(recorded(name, exit_code))
    assert result.reason.startswith(reason)
    assert result.retryable is retryable
    assert (result.fault and result.fault.kind.value) == fault


# --- codex --------------------------------------------------------------------------------------


def test_codex_counts_a_thread_so_what_it_had_before_is_subtracted() -> None:
    first = recorded("codex-ok", 0)
    again = recorded("codex-resume", 0, before=first.totals)
    assert again.session == first.session
    assert (again.usage["input_tokens"], again.usage["output_tokens"]) == (100, 10)
    assert again.totals == {"input_tokens": 300, "output_tokens": 30}


def test_codex_that_waits_for_its_provider_says_so_once_and_gives_no_sign_of_life() -> None:
    run = recorded("codex-401", 1)
    notes = [told["text"] for told in run.said(EventKind.PROGRESS) if "text" in told]
    assert [text[:16] for text in notes] == ["Reconnecting... "]
    assert run.waits.count(True) > 4


def test_a_command_of_codex_that_fails_is_no_refusal() -> None:
    run = recorded("codex-failed-command", 0)
    assert run.said(EventKind.TOOL_RESULT)[0]["is_error"]
    assert run.result is None


def item(text: str, *, status: str = "failed", number: int = 1) -> str:
    return json.dumps(
        {
            "type": "item.completed",
            "item": {
                "id": f"item_{number}",
                "type": "command_execution",
                "command": "touch x",
                "aggregated_output": text,
                "status": status,
            },
        }
    )


def test_what_the_sandbox_of_codex_refuses_is_a_failure_unless_it_worked_later() -> None:
    refused = item("touch: cannot touch 'x': Read-only file system\n")
    later = item("", status="completed", number=2)
    result = failed(read("codex", [refused], 0))
    assert (result.reason, result.retryable) == ("permission denied: shell", False)
    assert read("codex", [refused, later], 0).result is None


def test_the_reset_of_codex_is_in_its_rollout(tmp_path: Path) -> None:
    folder = tmp_path / "sessions" / "2026" / "11" / "26"
    folder.mkdir(parents=True)
    primary = {"used_percent": 100.0, "window_minutes": 300, "resets_at": 1795700000}
    limits = {"primary": primary, "secondary": {"used_percent": 40.0, "resets_at": 1796000000}}
    line = {"type": "event_msg", "payload": {"type": "token_count", "rate_limits": limits}}
    rollout = folder / "rollout-2026-11-26T09-46-17-thread.jsonl"
    rollout.write_text(f"{{}}\n{json.dumps(line)}\n", encoding="utf-8")
    env = {"CODEX_HOME": str(tmp_path)}
    assert noted(env, "thread").reset == ("5-hour", datetime.fromtimestamp(1795700000, UTC))
    assert noted(env, "another").reset is None
    assert noted(env, "*").reset is None
    with rollout.open("a", encoding="utf-8") as file:
        file.write('{"payload": {"rate_limits": {"prim')
    assert noted(env, "thread").reset is not None, "the line that is cut off does not count"
    primary["resets_at"] = 10**18
    rollout.write_text(json.dumps(line), encoding="utf-8")
    assert noted(env, "thread").reset is None, "there is no such time"


# --- the others ----------------------------------------------------------------------------------


def test_qwen_counts_a_session_so_its_messages_are_summed() -> None:
    run = recorded("qwen-resume", 0)
    assert (run.usage["input_tokens"], run.usage["output_tokens"]) == (100, 10)


def test_what_qwen_was_refused_counts_no_more_once_it_has_worked() -> None:
    lines = (STREAMS / "qwen-denied.jsonl").read_text(encoding="utf-8").splitlines()
    again = [lines[1].replace("c0", "c1"), lines[2].replace("c0", "c1")]
    worked = [line.replace('"is_error":true', '"is_error":false') for line in again]
    run = read("qwen", [*lines[:3], *worked, *lines[3:]], 0)
    assert run.result is not None and run.result.succeeded
    assert not failed(read("qwen", [*lines[:1], *worked, *lines[1:]], 0)).retryable


def test_qwen_that_waits_for_a_limit_is_not_waited_for() -> None:
    reader = PRESETS["qwen"].reader({})
    list(reader.take("stderr", "Retrying in 60s (attempt 1/10): [API Error: 503 Overloaded]"))
    assert not reader.is_over
    line = "Retrying in 60s (attempt 1/10): [API Error: 429 You exceeded your current quota]"
    assert [e.kind for e in reader.take("stderr", line)] == [EventKind.OUTPUT]
    result = reader.verdict(None)
    assert reader.is_over and result is not None and result.has_fault(FaultKind.PROVIDER)


def test_a_claude_without_an_sdk_is_read_as_with_one() -> None:
    messages: list[dict[str, Any]] = [
        {"type": "system", "subtype": "init", "session_id": "s", "model": "m"},
        {"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": 10**9}},
        {
            "type": "result",
            "subtype": "success",
            "is_error": True,
            "terminal_reason": "api_error",
            "api_error_status": 429,
            "result": "You've hit your 5-hour limit",
        },
    ]
    run = read("claude", map(json.dumps, messages), 1)
    result = failed(run)
    assert result.has_fault(FaultKind.PROVIDER) and run.session == "s"
    assert result.fault is not None and result.fault.retry_at == datetime.fromtimestamp(10**9, UTC)


def test_opencode_tells_when_it_may_be_asked_again() -> None:
    data = {"message": "slow down", "statusCode": 429, "responseHeaders": {"retry-after": "3600"}}
    line = json.dumps({"type": "error", "error": {"name": "APIError", "data": data}})
    result = failed(read("opencode", [line], 0))  # also where it ends with 0
    assert result.fault is not None and result.fault.kind is FaultKind.PROVIDER
    assert result.fault.retry_at is not None


def wait(seconds: float) -> str:
    """What our plugin tells of a wait of OpenCode."""
    until = (datetime.now(UTC).timestamp() + seconds) * 1000
    return f"athanore-waits {json.dumps({'message': 'slow down', 'next': until})}"


def test_opencode_that_waits_says_so_once_and_gives_no_sign_of_life() -> None:
    reader = PRESETS["opencode"].reader({})
    (first,) = reader.take("stderr", wait(30))
    assert first.kind is EventKind.PROGRESS and first.data["text"].startswith("slow down; it is")
    assert list(reader.take("stderr", wait(50))) == []
    assert reader.waits and not reader.is_over
    step = json.dumps({"type": "step_start", "sessionID": "s", "part": {}})
    list(reader.take("stdout", step))
    assert not reader.waits and reader.verdict(0) is None
    assert list(reader.take("stderr", wait(1)))


def test_opencode_that_would_wait_for_long_is_not_waited_for() -> None:
    reader = PRESETS["opencode"].reader({})
    list(reader.take("stderr", wait(5)))
    list(reader.take("stderr", wait(3600)))
    result = reader.verdict(None)
    assert reader.is_over and result is not None and result.fault is not None
    assert result.fault.kind is FaultKind.PROVIDER and result.fault.retry_at is not None
    assert timedelta(minutes=50) < result.fault.retry_at - datetime.now(UTC) < timedelta(hours=1)


@pytest.mark.parametrize("said", ["{", "[]", "{}", '{"next": "soon"}', '{"next": 1e300}', ""])
def test_a_wait_that_says_nothing_is_not_believed(said: str) -> None:
    reader = PRESETS["opencode"].reader({})
    list(reader.take("stderr", f"athanore-waits {said}"))
    assert not reader.is_over


def test_opencode_has_our_plugin_beside_the_users_own() -> None:
    prepare = PRESETS["opencode"].prepare
    config = json.loads(prepare({"HOME": "/h"})["OPENCODE_CONFIG_CONTENT"])
    (ours,) = config["plugin"]
    assert Path.from_uri(ours).is_file()
    mine = {"OPENCODE_CONFIG_CONTENT": '{"plugin": ["mine"], "model": "m", /* why */ }'}
    config = json.loads(prepare(mine)["OPENCODE_CONFIG_CONTENT"])
    assert config == {"plugin": ["mine", ours], "model": "m"}
    broken = {"OPENCODE_CONFIG_CONTENT": "{ broken"}
    assert prepare(broken) == broken


def test_an_opencode_that_went_on_after_an_error_has_not_failed() -> None:
    lines = (STREAMS / "opencode-ok.jsonl").read_text(encoding="utf-8").splitlines()
    error = json.dumps({"type": "error", "error": {"name": "APIError"}})
    assert read("opencode", [error, *lines], 0).result is None


@pytest.mark.parametrize(
    ("exit_code", "reason", "kind"),
    [
        (41, "Gemini CLI is not signed in", FaultKind.ENVIRONMENT),
        (55, "Gemini CLI does not trust the folder", FaultKind.ENVIRONMENT),
        (145, "API error 401", FaultKind.ENVIRONMENT),
        (173, "provider limit (requests)", FaultKind.PROVIDER),
    ],
)
def test_gemini_says_it_by_its_exit_code(exit_code: int, reason: str, kind: FaultKind) -> None:
    result = failed(read("gemini", [], exit_code))
    assert result.reason == reason and result.has_fault(kind)


def test_what_is_no_json_is_shown_without_colours_and_stacks() -> None:
    stderr = ["\x1b[93m\x1b[1m! \x1b[0mpermission requested", "    at fn (file:///x.js:1:2)"]
    assert read("gemini", ["{not json"], 1, stderr=stderr).lines() == [
        "! permission requested",
        "{not json",
    ]


@pytest.mark.parametrize("preset", PRESETS)
def test_no_message_is_too_odd(preset: str) -> None:
    odd: list[object] = [{}, {"type": None}, {"type": "item.completed", "item": []}, [], 1, None]
    odd += [{"type": t} for t in ("message", "result", "error", "tool_use", "text", "step_finish")]
    odd += [{"type": t, "message": 1, "part": 2, "error": 3, "stats": 4} for t in ("text", "user")]
    run = read(preset, [*map(json.dumps, odd), "{", "x" * 100_000], 2)
    assert all(len(line) < 70_000 for line in run.lines())


# --- command lines ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "session", "words"),
    [
        (
            "codex",
            None,
            'exec --json --skip-git-repo-check -c sandbox_mode="workspace-write" '
            "-c sandbox_workspace_write.network_access=true -m M",
        ),
        (
            "codex",
            "S",
            'exec resume --json --skip-git-repo-check -c sandbox_mode="workspace-write" '
            "-c sandbox_workspace_write.network_access=true -m M S",
        ),
        (
            "claude",
            "S",
            "--output-format stream-json --verbose --permission-mode acceptEdits --model M "
            "--resume S -p",
        ),
        ("opencode", "S", "run --format json -m M -s S"),
        ("gemini", None, "--output-format stream-json --approval-mode yolo -m M -p"),
        ("qwen", "S", "--output-format stream-json --approval-mode yolo -m M --resume S -p"),
    ],
)
def test_the_command_line(preset: str, session: str | None, words: str) -> None:
    known = PRESETS[preset]
    assert known.words(Options("M", known.mode, ()), session) == words.split()


def test_codex_may_commit_in_the_tasks_own_clone_and_in_no_other(tmp_path: Path) -> None:
    (tmp_path / "clone" / ".git").mkdir(parents=True)
    (tmp_path / ".codex").mkdir()
    config = tmp_path / ".codex" / "config.toml"
    config.write_text('[sandbox_workspace_write]\nwritable_roots = ["/cache"]\n')
    allow = PRESETS["codex"].allow
    assert allow is not None
    env = {"HOME": str(tmp_path), "ATHANORE_WORKSPACE": str(tmp_path / "clone")}
    roots = f'["/cache", "{tmp_path}/clone/.git"]'
    assert list(allow("workspace-write", env)) == [
        "-c", f"sandbox_workspace_write.writable_roots={roots}",
    ]  # fmt: skip
    assert not allow("read-only", env)
    assert not allow("workspace-write", {"HOME": str(tmp_path)})
    (tmp_path / "clone" / ".git").rename(tmp_path / "elsewhere")
    assert not allow("workspace-write", env)
    (tmp_path / "clone" / ".git").symlink_to(tmp_path / "elsewhere")
    assert not allow("workspace-write", env), "an agent may have put the link there"


def test_gemini_commits_as_its_user_whose_settings_of_git_it_leaves_out(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    prepare = PRESETS["gemini"].prepare
    assert prepare(env) == env
    (tmp_path / ".gitconfig").write_text("[user]\nname = Ada\nemail = ada@example.org\n")
    signed = prepare(env | {"GIT_COMMITTER_NAME": "A robot"})
    assert {k: v for k, v in signed.items() if k.startswith("GIT_")} == {
        "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.org",
        "GIT_COMMITTER_NAME": "A robot", "GIT_COMMITTER_EMAIL": "ada@example.org",
    }  # fmt: skip


def test_a_preset_that_there_is_not_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no preset 'codec'; there are 'codex', "):
        CliAgentAdapter("codec")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigurationError, match="must be a list"):
        CliAgentAdapter("codex", extra_args="-x")


def test_an_account_is_told_by_its_key_or_by_the_folder_of_its_login() -> None:
    claude = CliAgentAdapter("claude")
    by_key = claude.account({"ANTHROPIC_API_KEY": "sk-1", "HOME": "/a"})
    assert by_key == claude.account({"ANTHROPIC_API_KEY": "sk-1", "HOME": "/b"})
    assert by_key != claude.account({"ANTHROPIC_API_KEY": "sk-2", "HOME": "/a"})
    assert claude.account({"HOME": "/a"}) != claude.account({"HOME": "/b"})
    assert "sk-1" not in by_key


def test_a_program_that_is_missing_is_found_before_the_first_attempt(tmp_path: Path) -> None:
    agent = CliAgentAdapter("codex")
    assert agent.check({"PATH": str(tmp_path)}, None) == (
        "command not found: 'codex'; install it, or pass program="
    )
    (tmp_path / "codex").touch(mode=0o755)
    assert agent.check({"PATH": str(tmp_path)}, None) is None
