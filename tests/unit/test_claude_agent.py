"""The parts of the Claude adapter that need neither an SDK nor the CLI."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from athanore.agent_adapters.claude.messages import VALUE_LIMIT, Stopped, Transcript
from athanore.agent_adapters.claude.prompt import task_api_lesson, token_header
from athanore.agent_adapters.claude.sdk import find_cli
from athanore.models import AgentEvent, AgentOutcome, EventKind, FaultKind

type Json = dict[str, Any]


def init(**more: Any) -> Json:
    return {"type": "system", "subtype": "init", "session_id": "s", "model": "m", **more}


def assistant(*blocks: Json, message_id: str = "1", tokens: int = 10, child: bool = False) -> Json:
    usage = {"input_tokens": 1, "cache_read_input_tokens": tokens - 1}
    return {
        "type": "assistant",
        "parent_tool_use_id": "toolu_0" if child else None,
        "message": {"id": message_id, "content": list(blocks), "usage": usage},
    }


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def call(name: str, call_id: str, **arguments: Any) -> Json:
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def answer(call_id: str, content: object, *, is_error: bool = False) -> Json:
    block = {"type": "tool_result", "tool_use_id": call_id, "content": content}
    return {"type": "user", "message": {"content": [block | {"is_error": is_error}]}}


def denied(name: str) -> Json:
    return {"type": "system", "subtype": "permission_denied", "tool_name": name}


def result(subtype: str = "success", *, is_error: bool = False, **more: Any) -> Json:
    return {"type": "result", "subtype": subtype, "is_error": is_error, "num_turns": 1, **more}


def background(subtype: str, **more: Any) -> Json:
    return {"type": "system", "subtype": subtype, "task_id": "b", **more}


class Following:
    """A transcript that has heard some messages, and the events that it told."""

    def __init__(self, *messages: Json) -> None:
        self.events: list[AgentEvent] = []
        self.signs: list[int] = []
        self.transcript = Transcript(self.events.append, lambda: self.signs.append(1))
        for message in messages:
            self.transcript.take(message)

    def said(self, kind: EventKind) -> list[Json]:
        return [dict(event.data) for event in self.events if event.kind is kind]


def test_every_message_is_a_sign_of_life_though_it_is_no_event() -> None:
    heard = Following({"type": "tool_progress", "heartbeat": True}, {"type": "of later versions"})
    assert (heard.events, len(heard.signs)) == ([], 2)


def test_without_an_sdk_the_import_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['claude_agent_sdk'] = sys.modules['claude_code_sdk'] = None\n"
        "import athanore.agent_adapters.claude.adapter"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith("ImportError: ")
    assert 'pip install "./athanore[claude]"' in run.stderr.splitlines()[-1]


# --- the CLI ------------------------------------------------------------------------------------


def _program(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o755)
    return str(path)


@pytest.fixture
def sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An SDK without a CLI in it; its folder is the value."""
    monkeypatch.syspath_prepend(tmp_path / "site")  # pyright: ignore[reportUnknownMemberType]
    _program(tmp_path / "site" / "some_claude_sdk" / "__init__.py")
    return tmp_path / "site" / "some_claude_sdk"


def test_the_cli_comes_from_the_sdk_then_from_the_agents_path_then_from_its_home(
    sdk: Path, tmp_path: Path
) -> None:
    env = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path / "home")}
    at_home = _program(tmp_path / "home" / ".local" / "bin" / "claude")
    assert find_cli(sdk.name, env) == at_home
    on_path = _program(tmp_path / "bin" / "claude")
    assert find_cli(sdk.name, env) == on_path
    bundled = _program(sdk / "_bundled" / "claude")
    assert find_cli(sdk.name, env) == bundled


@pytest.mark.skipif(Path("/usr/local/bin/claude").exists(), reason="a CLI is installed here")
def test_there_may_be_no_cli(sdk: Path, tmp_path: Path) -> None:
    assert find_cli(sdk.name, {"PATH": str(tmp_path), "HOME": str(tmp_path)}) is None
    assert find_cli(sdk.name, {}) is None


# --- the lesson ---------------------------------------------------------------------------------


def test_the_lesson_names_the_task_and_no_variables() -> None:
    lesson = task_api_lesson(
        {"ATHANORE_API_URL": "http://127.0.0.1:8000/", "ATHANORE_TASK_ID": "a b/c"}
    )
    assert "curl -sS --retry 6 http://127.0.0.1:8000/tasks/a%20b%2Fc\n" in lesson
    assert "$" not in lesson
    assert lesson.count("curl -sS --retry 6") == 6


def test_the_lesson_names_a_file_with_the_token() -> None:
    env = {"ATHANORE_API_URL": "http://x", "ATHANORE_TASK_ID": "1", "ATHANORE_TOKEN": "t0ken"}
    with token_header(env) as header:
        assert header is not None
        assert header.read_text() == "Authorization: Bearer t0ken\n"
        lesson = task_api_lesson(env, header)
    assert lesson.count(f"curl -sS --retry 6 -H @{header} ") == 6
    assert "t0ken" not in lesson and "$" not in lesson
    assert not header.exists()


@pytest.mark.parametrize("env", [{}, {"ATHANORE_API_URL": "http://x"}, {"ATHANORE_TASK_ID": "1"}])
def test_without_a_task_api_there_is_no_lesson(env: dict[str, str]) -> None:
    assert task_api_lesson(env) == ""


# --- events -------------------------------------------------------------------------------------


def test_text_is_told_line_by_line_and_kept_for_the_comment() -> None:
    run = Following(init(), assistant(text("one\ntwo")), result())
    assert run.said(EventKind.OUTPUT) == [
        {"stream": "stdout", "text": "one"},
        {"stream": "stdout", "text": "two"},
    ]
    assert run.transcript.verdict(0).output_tail == "one\ntwo"


def test_long_inputs_and_results_of_tools_are_cut() -> None:
    run = Following(
        assistant(call("Write", "c", content="x" * 100_000)),
        answer("c", [text("y" * 100_000), {"type": "image"}]),
    )
    (used,), (got,) = run.said(EventKind.TOOL_USE), run.said(EventKind.TOOL_RESULT)
    assert used["input"].startswith('{"content": "xxx') and used["input"].endswith(" more cut]")
    assert got["name"] == "Write" and got["text"].startswith("yyy")
    assert max(len(used["input"]), len(got["text"])) < VALUE_LIMIT + 100


def test_a_turn_is_counted_once_though_each_block_is_a_message() -> None:
    run = Following(
        init(),
        assistant(text("a"), message_id="1"),
        assistant(call("Bash", "c"), message_id="1"),
        assistant(text("of a child"), message_id="2", child=True),
        assistant(text("b"), message_id="3"),
    )
    usage = run.transcript.verdict(None, Stopped.TIMED_OUT).usage
    assert usage == {
        "turns": 2, "input_tokens": 30, "cache_read_tokens": 27, "session_id": "s", "model": "m"
    }  # fmt: skip


def test_with_partial_messages_the_end_of_each_call_tells_what_was_used_so_far() -> None:
    def part(kind: str, written: int) -> Json:
        usage = {"output_tokens": written}
        return {"type": "stream_event", "event": {"type": kind, "usage": usage}}

    run = Following(
        init(),
        part("message_start", 1),
        assistant(text("a"), message_id="1"),
        part("message_delta", 40),
        part("message_start", 1),
        assistant(text("b"), message_id="2"),
        part("message_delta", 2),
    )
    told = [(u["input_tokens"], u["output_tokens"]) for u in run.said(EventKind.COST)]
    assert told == [(10, 40), (20, 42)]


def test_the_result_knows_cost_and_tokens_of_all_models() -> None:
    models = {
        "big": {"inputTokens": 1, "cacheReadInputTokens": 20, "outputTokens": 3},
        "small": {"inputTokens": 4, "cacheCreationInputTokens": 50, "outputTokens": 6},
    }
    end = result(total_cost_usd=0.25, modelUsage=models, usage={"input_tokens": 1})
    run = Following(init(), end, assistant(text("more"), message_id="2"), end)
    assert run.said(EventKind.COST)[-1] == run.transcript.verdict(0).usage
    assert run.transcript.verdict(0).usage == {
        "turns": 2,
        "cost_usd": 0.25,
        "input_tokens": 75,
        "output_tokens": 9,
        "cache_read_tokens": 20,
        "cache_write_tokens": 50,
        "session_id": "s",
        "model": "m",
    }


def test_after_a_resume_only_what_this_process_spent_counts() -> None:
    """The totals of the CLI hold what earlier processes of the session spent, too."""

    def spent(cost: float, tokens: int) -> Json:
        return {"big": {"costUSD": cost, "inputTokens": tokens, "outputTokens": 1}}

    totals: dict[str, Any] = {"total_cost_usd": 9.0, "modelUsage": spent(9.0, 900)}
    run = Following(
        init(),
        result(**totals, model_usage_since_last_result=spent(0.25, 10)),
        result(**totals, model_usage_since_last_result=spent(0.5, 20)),
    )
    usage = run.transcript.usage()
    assert (usage["cost_usd"], usage["input_tokens"], usage["output_tokens"]) == (0.75, 30, 2)


def test_what_the_provider_makes_it_wait_for_is_told() -> None:
    again = {"attempt": 3, "max_retries": 10, "retry_delay_ms": 8_200, "error_status": 529}
    near = {"status": "allowed_warning", "rateLimitType": "five_hour", "utilization": 0.93}
    near |= {"resetsAt": 1795638095}
    run = Following(
        {"type": "system", "subtype": "api_retry", "error": "overloaded", **again},
        {"type": "rate_limit_event", "rate_limit_info": near},
        {"type": "rate_limit_event", "rate_limit_info": {"status": "allowed"}},
    )
    assert [told["text"] for told in run.said(EventKind.PROGRESS)] == [
        "API error 529 (overloaded): retry 3/10 in 8 s",
        "93 % of the 5-hour limit is used",
    ]
    assert run.said(EventKind.PROGRESS)[1]["limit"] == {
        "kind": "5-hour", "used": 0.93, "resets_at": "2026-11-25T20:21:35+00:00",
    }  # fmt: skip


# --- verdicts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "reason", "retryable"),
    [
        (result("error_max_turns", is_error=True), "max turns reached", True),
        (result("error_max_budget_usd", is_error=True), "budget reached", False),
        (result(is_error=True, result="API Error: 529 busy"), "API error 529", True),
        (
            result(is_error=True, result="API Error: Request rejected (429)"),
            "provider limit (requests)",
            True,
        ),
        (result(is_error=True, terminal_reason="api_error"), "API error: no connection", True),
        (
            result(is_error=True, terminal_reason="api_error", api_error_status=403),
            "API error 403",
            False,
        ),
        (
            result("error_during_execution", is_error=True, errors=["one\ntwo"]),
            "the agent ended in an error: one",
            True,
        ),
        (result("error_of_tomorrow", is_error=True), "the agent ended in an error", True),
    ],
)
def test_an_error_result_is_a_failure(end: Json, reason: str, retryable: bool) -> None:
    verdict = Following(init(), end).transcript.verdict(1)
    assert verdict.outcome is AgentOutcome.FAILED
    assert (verdict.reason, verdict.retryable) == (reason, retryable)


RESET = 1795638095  # 2026-11-25 20:21:35 UTC
REJECTED = {"status": "rejected", "resetsAt": RESET, "rateLimitType": "five_hour"}


@pytest.mark.parametrize(
    ("event", "words", "kind", "reset"),
    [
        (REJECTED, "You've hit your 5-hour limit · resets 8:21pm (UTC)", "5-hour", "20:21:35"),
        (REJECTED | {"rateLimitType": "seven_day_opus"}, "of later", "7-day opus", "20:21:35"),
        ({}, "You've hit your weekly limit · resets 8:21pm (UTC)", "weekly", "20:21:00"),
        ({}, "You\N{RIGHT SINGLE QUOTATION MARK}ve reached your 5-hour limit", "5-hour", None),
        ({}, "You're out of usage credits", "usage", None),
        ({}, "API Error: Request rejected (429) · too many", "requests", None),
        (REJECTED | {"resetsAt": 1e30}, "You've hit your 5-hour limit", "5-hour", None),
    ],
)
def test_a_usage_limit_is_the_providers(
    event: Json, words: str, kind: str, reset: str | None
) -> None:
    end = result(is_error=True, result=words, terminal_reason="api_error", api_error_status=429)
    run = Following(init(), {"type": "rate_limit_event", "rate_limit_info": event}, end)
    verdict = run.transcript.verdict(1)
    assert (verdict.reason, verdict.counts) == (f"provider limit ({kind})", False)
    assert verdict.fault is not None and verdict.fault.kind is FaultKind.PROVIDER
    at = verdict.fault.retry_at
    assert (at and f"{at:%H:%M:%S}") == reset


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_refused_account_is_the_environments(status: int) -> None:
    end = result(is_error=True, terminal_reason="api_error", api_error_status=status)
    assert Following(init(), end).transcript.verdict(1).has_fault(FaultKind.ENVIRONMENT)


def test_the_result_of_an_interrupted_turn_is_no_failure_of_the_agent() -> None:
    run = Following(init())
    run.transcript.interrupt()
    run.transcript.take(result("error_during_execution", is_error=True, total_cost_usd=0.5))
    verdict = run.transcript.verdict(-15, Stopped.TIMED_OUT)
    assert (verdict.outcome, verdict.usage["cost_usd"]) == (AgentOutcome.TIMED_OUT, 0.5)


def test_a_good_result_stands_whatever_the_exit_code() -> None:
    assert Following(init(), result()).transcript.verdict(-15, Stopped.BROKE_OFF).succeeded


@pytest.mark.parametrize(
    ("messages", "finished", "lingers"),
    [
        ([], False, False),
        ([result()], True, True),
        ([result(is_error=True)], True, True),
        ([result(), {"type": "rate_limit_event"}], True, True),
        ([result(), init()], False, False),
        ([result(), assistant(text("more"))], False, False),
        ([result(), {"type": "stream_event"}], False, False),
        ([result(), assistant(text("of a subagent"), child=True)], True, True),
        ([background("task_started"), result()], True, False),
        ([background("task_started"), result(), background("task_notification")], True, True),
        ([background("task_started"), result(), background("task_updated")], True, False),
        (
            [
                background("task_started"),
                result(),
                background("task_updated", patch={"status": "killed"}),
            ],
            True,
            True,
        ),
        ([result(), init(), result()], True, True),
    ],
)
def test_when_a_cli_is_done_with_its_work(
    messages: list[Json], finished: bool, lingers: bool
) -> None:
    transcript = Following(init(), *messages).transcript
    assert (transcript.finished, transcript.lingers(0)) == (finished, lingers)
    assert not transcript.lingers(1000)
    timed_out = transcript.verdict(-15, Stopped.TIMED_OUT).outcome is AgentOutcome.TIMED_OUT
    assert timed_out is not finished


@pytest.mark.parametrize(
    ("exit_code", "reason", "retryable"),
    [
        (0, "the CLI ended without a result", True),
        (2, "exit code 2", True),
        (-9, "the CLI was killed by SIGKILL", True),
        (-99, "the CLI was killed by signal 99", True),
        (None, "the CLI ended in an unknown way", True),
    ],
)
def test_the_end_without_a_result(exit_code: int | None, reason: str, retryable: bool) -> None:
    verdict = Following(init()).transcript.verdict(exit_code)
    assert verdict.outcome is AgentOutcome.FAILED
    assert (verdict.reason, verdict.retryable) == (reason, retryable)


def test_a_cli_that_does_not_start_says_why_on_stderr() -> None:
    run = Following()
    run.transcript.take_stderr("error: unknown option '--x'")
    run.transcript.take_stderr("")
    verdict = run.transcript.verdict(1)
    assert verdict.reason == "the CLI did not start: error: unknown option '--x'"
    assert not verdict.retryable


def test_a_refused_tool_fails_the_run_unless_it_worked_later() -> None:
    refused = (
        init(),
        assistant(call("Bash", "1")),
        denied("Bash"),
        answer("1", "no", is_error=True),
    )
    other = (assistant(call("Read", "2")), answer("2", "yes"))
    later = (assistant(call("Bash", "3")), answer("3", "yes"))
    verdict = Following(*refused, *other, result()).transcript.verdict(0)
    assert (verdict.reason, verdict.retryable) == ("permission denied: Bash", False)
    assert Following(*refused, *later, result()).transcript.verdict(0).succeeded


def test_a_call_that_a_hook_has_deferred_is_refused() -> None:
    deferred = {"id": "1", "name": "Bash", "input": {"command": "echo hi"}}
    end = result(stop_reason="tool_deferred", deferred_tool_use=deferred)
    verdict = Following(init(), assistant(call("Bash", "1")), end).transcript.verdict(0)
    assert (verdict.reason, verdict.retryable) == ("permission denied: Bash", False)
