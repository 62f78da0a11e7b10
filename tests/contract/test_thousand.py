"""1,000 issues in a queue of each board over HTTP: how many requests everything is, as stated."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.linear import adapter as linear
from athanore.queue_adapters.planka import queues as planka
from athanore.queue_adapters.tracker import picture
from tests.crowded_boards import BOARDS, ISSUES, QUEUES

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"


@pytest.mark.nightly
@pytest.mark.parametrize("board", BOARDS)
def test_what_a_thousand_issues_cost_is_what_the_page_says(
    board: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A poll of ours forgets what was read; a claim that follows finds it young enough.
    monkeypatch.setattr(picture, "MAX_AGE", 3600)
    monkeypatch.setattr(planka, "BOARD_MAX_AGE", timedelta(hours=1))
    monkeypatch.setattr(linear, "CLAIM_SETTLES", 0.02)
    with BOARDS[board]() as site:
        todo, at_work, done = (f"{site.prefix}{queue}" for queue in QUEUES)

        def cost(work: Callable[[], object]) -> str:
            before, counted = len(site.log), site.counted() if site.counted else 0
            work()
            sent = len(site.log) - before
            if site.counted is None or (count := site.counted() - counted) == sent:
                return str(sent)
            return f"{sent}, of which {count} count"

        def poll(count: int) -> None:
            site.adapter.forget_picture()
            assert len(site.adapter.get_ready_tasks([todo, at_work, done])) == count

        site.adapter.prepare((todo, at_work, done))
        first = cost(lambda: poll(ISSUES))
        poll(ISSUES)  # the first one that asks only for what has changed
        unchanged = cost(lambda: poll(ISSUES))
        site.add()
        changed = cost(lambda: poll(ISSUES + 1))
        whole_every = picture.WHOLE_EVERY
        monkeypatch.setattr(picture, "WHOLE_EVERY", 0)
        whole = cost(lambda: poll(ISSUES + 1))
        monkeypatch.setattr(picture, "WHOLE_EVERY", whole_every)
        task = site.adapter.get_ready_tasks([todo])[0].id
        assert site.adapter.user
        claim = cost(
            lambda: claim_task(site.adapter, task, source_queue=todo, target_queue=at_work)
        )
        comment = cost(lambda: site.adapter.add_comment(task, "Done."))
        move = cost(lambda: site.adapter.move_task(task, done))
    cells = (board, first, unchanged, changed, whole, claim, comment, move)
    assert f"| {' | '.join(cells)} |" in PAGE.read_text(encoding="utf-8").splitlines()
