"""Numbers out of foreign texts: agents' streams, headers, the environment, what Prefect keeps.

Whatever they are, nothing ends in an error, and no count is more than can be kept.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from athanore import AgentDispatcher, ConfigurationError, MemoryAdapter
from athanore.agent_adapters.claude.messages import Transcript
from athanore.agent_adapters.cli.adapter import PRESETS
from athanore.agent_adapters.cli.reader import failure
from athanore.agent_adapters.common.resets import reset_in
from athanore.models import AgentEvent, EventKind
from athanore.queue_adapters.github.client import limit_in
from athanore.runs.records.record import RunRecord
from athanore.texts import count

NO_NUMBERS = ("1e999", "-1e999", "NaN", "null", '"12"', "{}", "[]", "true", "1" * 400, '"x"')
"""As they stand in JSON."""

MESSAGES: dict[str, list[str]] = {
    "codex": [
        '{"type": "thread.started", "thread_id": "t"}',
        '{"type": "turn.completed", "usage": {"input_tokens": N, "cached_input_tokens": N,'
        ' "output_tokens": N}}',
    ],
    "gemini": [
        '{"type": "init", "session_id": "s", "model": "m"}',
        '{"type": "result", "status": "success", "stats": {"input_tokens": N,'
        ' "output_tokens": N, "total_tokens": N}}',
    ],
    "opencode": [
        '{"type": "step_finish", "sessionID": "s", "part": {"cost": N, "tokens": {"input": N,'
        ' "output": N, "reasoning": N, "cache": {"read": N, "write": N}}}}',
        '{"type": "error", "sessionID": "s", "error": {"name": "APIError", "data": {"message": "m",'
        ' "statusCode": N, "responseHeaders": {"retry-after": N}}}}',
    ],
    "qwen": [
        '{"type": "assistant", "message": {"id": "1", "content": [], "usage": {"input_tokens": N,'
        ' "output_tokens": N}}}',
        '{"type": "result", "subtype": "success", "num_turns": N, "usage": {"input_tokens": N}}',
    ],
    "claude": [
        '{"type": "system", "subtype": "api_retry", "retry_delay_ms": N, "error_status": N}',
        '{"type": "rate_limit_event", "rate_limit_info": {"status": "allowed_warning",'
        ' "utilization": N, "resetsAt": N}}',
        '{"type": "result", "subtype": "success", "num_turns": N, "total_cost_usd": N,'
        ' "usage": {"input_tokens": N, "output_tokens": N}}',
        '{"type": "result", "subtype": "success", "num_turns": N, "modelUsage": {"m":'
        ' {"inputTokens": N, "outputTokens": N, "costUSD": N}}}',
        '{"type": "result", "subtype": "success", "num_turns": N, "model_usage_since_last_result":'
        ' {"m": {"inputTokens": N, "outputTokens": N, "costUSD": N}}}',
    ],
}


@pytest.mark.parametrize("number", NO_NUMBERS)
@pytest.mark.parametrize("program", MESSAGES)
def test_a_stream_of_an_agent(program: str, number: str) -> None:
    assert set(MESSAGES) == set(PRESETS)
    reader = PRESETS[program].reader({})
    events: list[AgentEvent] = []
    for line in MESSAGES[program]:
        events += reader.take("stdout", line.replace("N", number))
    for event in events:
        if event.kind is EventKind.COST:
            check_used(dict(event.data))
    reader.verdict(0)


def check_used(used: dict[str, Any]) -> None:
    amounts = {k: v for k, v in used.items() if v is not None and not isinstance(v, str)}
    assert all(abs(value) <= 2**53 for value in amounts.values()), amounts
    assert RunRecord().spent(used).usage.keys() >= amounts.keys()


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_a_message_of_claude(number: str) -> None:
    events: list[AgentEvent] = []
    transcript = Transcript(events.append, lambda: None)
    for line in MESSAGES["claude"]:
        transcript.take(json.loads(line.replace("N", number)))
    check_used(transcript.usage())


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_a_count_that_is_none_is_zero(number: str) -> None:
    assert count(json.loads(number)) == 0


@pytest.mark.parametrize(
    "text",
    [
        f"Resets in {'9' * 5000}s",
        "try again in 999999999999d",
        "Please retry in 999d 99999h 9999999m 999999999s",
        "resets 99:99pm (UTC)",
        "resets 8pm (Nowhere/At/All)",
        "retry in 1.5s",
    ],
)
def test_a_reset_in_words(text: str) -> None:
    reset_in(text)
    failure(f"API Error: 429 rate limit. {text}", 1)


@pytest.mark.parametrize("number", ["inf", "nan", "-1", "1e300", "9" * 5000, "soon", "", "1_0"])
@pytest.mark.parametrize("header", ["retry-after", "x-ratelimit-reset"])
def test_a_header_of_a_board(header: str, number: str) -> None:
    headers = {"x-ratelimit-remaining": "0", header: number}
    limited = limit_in(httpx.Response(429, headers=headers))
    assert limited is not None
    assert limited.wait is None or timedelta(0) < limited.wait <= timedelta(days=1)


SECONDS = ("poll_interval", "agent_timeout", "shutdown_grace", "worker_lost_after")


@pytest.mark.parametrize("number", ["inf", "-inf", "nan", "1e300", "9" * 5000, "1e9", "ten"])
@pytest.mark.parametrize("name", SECONDS)
def test_a_variable_that_no_duration_can_have(
    monkeypatch: pytest.MonkeyPatch, name: str, number: str
) -> None:
    monkeypatch.setenv(f"ATHANORE_{name.upper()}", number)
    with pytest.raises(ConfigurationError, match=f"ATHANORE_{name.upper()}=") as caught:
        AgentDispatcher(queue_backend=MemoryAdapter(["Todo"]), command="true")
    assert len(str(caught.value)) < 300
