"""What servers tell of quotas: remembered until the reset, and spread while little is left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from athanore.http_client.quotas import Quotas, in_headers
from athanore.models import Quota

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)


def quota(remaining: int, *, minutes: float = 60, name: str = "core") -> Quota:
    return Quota(name, 5000, remaining, NOW + timedelta(minutes=minutes))


def test_reads_are_spread_while_little_is_left_and_a_half_of_it_is_for_the_work() -> None:
    quotas = Quotas(lambda: NOW)
    assert (quotas.known(), quotas.between_reads()) == ([], timedelta(0))
    quotas.note([quota(1001)])
    assert quotas.between_reads() == timedelta(0)
    quotas.note([quota(360)])
    assert quotas.between_reads() == timedelta(seconds=20)
    quotas.note([quota(0)])
    assert quotas.between_reads() == timedelta(hours=1)
    quotas.note([quota(100, name="graphql", minutes=180)])
    assert quotas.between_reads() == timedelta(hours=1)
    assert [q.remaining for q in quotas.known()] == [0, 100]


def test_what_was_reset_since_is_not_known_any_more() -> None:
    now = [NOW]
    quotas = Quotas(lambda: now[0])
    quotas.note([quota(1)])
    now[0] += timedelta(hours=1)
    assert (quotas.known(), quotas.between_reads()) == ([], timedelta(0))


@pytest.mark.parametrize(
    ("headers", "unit", "expected"),
    [
        ({"q-limit": "10", "q-remaining": "4", "q-reset": "60"}, 1, [(10, 4, 60)]),
        ({"q-limit": "10", "q-remaining": "4", "q-reset": "60000"}, 0.001, [(10, 4, 60)]),
        ({"q-limit": "10", "q-remaining": "4"}, 1, []),
        ({"q-limit": "x", "q-remaining": "4", "q-reset": "60"}, 1, []),
        ({"q-limit": "10", "q-remaining": "4", "q-reset": "1e300"}, 1, []),
        ({"q-limit": "0", "q-remaining": "0", "q-reset": "60"}, 1, []),
    ],
)
def test_headers_are_read_in_their_unit_and_nonsense_is_passed_over(
    headers: dict[str, str], unit: float, expected: list[tuple[int, int, int]]
) -> None:
    told = in_headers(httpx.Response(200, headers=headers), "q", "q", unit=timedelta(seconds=unit))
    assert [(q.limit, q.remaining, int(q.resets_at.timestamp())) for q in told] == expected
