"""What Jira tells of limits before it refuses anything."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest

from athanore.queue_adapters.jira.client import quotas_in


def told(**headers: str) -> list[tuple[int, int, int]]:
    """Limit, what remains, and the seconds until the bucket is full again."""
    sent = {f"x-ratelimit-{k.replace('_', '-')}": v for k, v in headers.items()}
    answer = httpx.Response(200, headers=sent)
    return [(q.limit, q.remaining, round(_left(q.resets_at))) for q in quotas_in(answer)]


def _left(at: datetime) -> float:
    return (at - datetime.now(UTC)).total_seconds()


def test_the_bucket_of_a_data_center_is_full_again_when_it_was_filled_up() -> None:
    bucket = {"limit": "60", "fillrate": "10", "interval_seconds": "30"}
    assert told(**bucket, remaining="40") == [(60, 40, 60)]
    assert told(**bucket, remaining="0") == [(60, 0, 180)]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"remaining": "5"},
        {"limit": "0", "remaining": "0", "fillrate": "1", "interval_seconds": "1"},
        {"limit": "5", "remaining": "0", "fillrate": "0", "interval_seconds": "1"},
        {"limit": "x", "remaining": "0", "fillrate": "1", "interval_seconds": "1"},
        {"limit": "5", "remaining": "0", "fillrate": "1e-300", "interval_seconds": "1e300"},
    ],
)
def test_what_is_no_bucket_says_nothing(headers: dict[str, str]) -> None:
    assert told(**headers) == []
