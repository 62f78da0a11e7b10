"""When a usage limit is reset, out of the words of programs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from athanore.agent_adapters.common.resets import reset_in

NOW = datetime(2026, 11, 26, 18, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "reset"),
    [
        ("You've hit your 5-hour limit · resets 8:18pm (UTC)", "2026-11-26T20:18:00"),
        ("You've hit your 5-hour limit · resets 8pm (Europe/Berlin)", "2026-11-26T19:00:00"),
        ("You've hit your limit · resets 12:05am (UTC)", "2026-11-27T00:05:00"),
        ("resets 6pm (UTC)", "2026-11-27T18:00:00"),
        ("Individual quota reached. Resets in 2h39m52s.", "2026-11-26T20:40:22"),
        ("Please retry in 3600s", "2026-11-26T19:00:30"),
        ("Too many.\nSuggested retry after 3600s.", "2026-11-26T19:00:30"),
        ("Please retry in 1.5s", "2026-11-26T18:00:31"),
        ("try again in 1 day 2 hours", "2026-11-27T20:00:30"),
        ("resets 13:99pm", None),
        ("resets 8pm (Mars/Olympus)", None),
        ("Please retry in a while", None),
        ("nothing of that kind", None),
    ],
)
def test_the_reset_is_read(text: str, reset: str | None) -> None:
    expected = None if reset is None else datetime.fromisoformat(reset).replace(tzinfo=UTC)
    assert reset_in(text, lambda: NOW) == expected


def test_a_time_without_a_zone_is_ours() -> None:
    reset = reset_in("or try again at 8:44 PM.", lambda: NOW)
    assert reset is not None
    assert f"{reset.astimezone():%H:%M}" == "20:44"
