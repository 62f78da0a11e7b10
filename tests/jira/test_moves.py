"""Moves and claims: transitions of a workflow, found by their target."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NoReturn

import pytest

from athanore.errors import (
    AnswerLostError,
    BoardUnavailableError,
    InvalidTaskError,
    TaskMovedError,
)
from athanore.models import Task
from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.jira import claims, moves
from athanore.queue_adapters.jira.adapter import JiraAdapter
from athanore.queue_adapters.jira.project import Project
from athanore.queue_adapters.tracker import looking
from athanore.testing.doubles.jira import JiraDouble
from athanore.testing.doubles.jira.server import BOT, PERSON
from athanore.testing.doubles.wire import Kind
from athanore.testing.queue_contract import at_once

TODO, PROGRESS, DONE = "Todo", "In Progress", "Done"


def claim(adapter: JiraAdapter) -> Task:
    return claim_task(adapter, "ENG-1", source_queue=TODO, target_queue=PROGRESS)


@pytest.fixture
def one_way(jira: JiraDouble) -> JiraDouble:
    """Only from Todo to In Progress, from there to Review, and from there to Done."""
    jira.state.transitions.clear()
    jira.state.add_status("Review")
    for source, target in ((TODO, PROGRESS), (PROGRESS, "Review")):
        jira.state.allow(target, source)
    jira.state.allow(DONE, "Review", "resolution")
    jira.issue("Fix crash", TODO)
    return jira


def test_a_status_that_no_transition_leads_to_is_refused_with_those_that_can_be_reached(
    one_way: JiraDouble, adapter: JiraAdapter
) -> None:
    with pytest.raises(InvalidTaskError, match=r"'Todo' to 'Done'.*goes to 'In Progress'.*via="):
        adapter.move_task("ENG-1", DONE)
    assert one_way.status("ENG-1") == TODO


def test_a_way_of_two_steps_is_told_and_so_are_values(one_way: JiraDouble) -> None:
    adapter = one_way.board(via={DONE: "Review"}).create_adapter()
    adapter.move_task("ENG-1", PROGRESS)
    with pytest.raises(InvalidTaskError, match=r"asks for 'resolution'; set it: JiraBoard\(fields"):
        adapter.move_task("ENG-1", DONE)
    adapter.close()
    values = {DONE: {"resolution": {"name": "Done"}, "never": "on the screen"}}
    adapter = one_way.board(via={DONE: "Review"}, fields=values).create_adapter()
    adapter.move_task("ENG-1", DONE)
    assert one_way.status("ENG-1") == DONE
    adapter.move_task("ENG-1", DONE)
    adapter.close()


def in_the_moment(jira: JiraDouble, change: Callable[[], None]) -> None:
    jira.wire.before["POST /issue/ENG-1/transitions"] = change


def test_a_person_who_moves_the_issue_in_the_same_moment_wins_where_it_is_not_global(
    one_way: JiraDouble, adapter: JiraAdapter
) -> None:
    row = one_way.state.issue("ENG-1")
    in_the_moment(one_way, lambda: row["fields"].update(status=one_way.state.statuses["Review"]))
    with pytest.raises(TaskMovedError) as caught:
        claim(adapter)
    assert (caught.value.actual, one_way.status("ENG-1")) == ("Review", "Review")
    assert not any("properties" in line for line in one_way.log), "the transition is the guard"


@pytest.mark.parametrize("workflow", ["global", "one way", "looped"])
def test_of_claims_of_several_processes_at_once_one_wins(jira: JiraDouble, workflow: str) -> None:
    jira.issue("Fix crash", TODO)
    if workflow != "global":
        jira.state.transitions.clear()
        jira.state.allow(PROGRESS, TODO, is_looped=workflow == "looped")
    adapters = [jira.board().create_adapter() for _ in range(5)]

    def attempt(adapter: JiraAdapter) -> Task | None:
        try:
            return claim(adapter)
        except (TaskMovedError, BoardUnavailableError):
            return None

    won = at_once([lambda adapter=adapter: attempt(adapter) for adapter in adapters])
    assert [task.assignees for task in won if task is not None] == [(BOT,)]
    assert jira.state.properties == {}
    for adapter in adapters:
        adapter.close()


def test_a_process_that_died_in_its_claim_is_in_the_way_for_a_minute(
    jira: JiraDouble, adapter: JiraAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moves, "LOOKS", (0.0, 0.0))
    jira.issue("Fix crash", TODO)
    at = datetime.now(UTC)
    jira.state.properties["ENG-1", claims.CLAIM] = {"at": at.isoformat()}
    with pytest.raises(BoardUnavailableError, match="Another process is claiming"):
        claim(adapter)
    old = at - claims.LEFT_BEHIND - timedelta(seconds=1)
    jira.state.properties["ENG-1", claims.CLAIM] = {"at": old.isoformat()}
    assert claim(adapter).queue_name == PROGRESS


def put_by_another(jira: JiraDouble) -> None:
    at = jira.state.now().isoformat()
    jira.state.properties["ENG-1", claims.CLAIM] = {"id": "another's", "at": at}


def test_a_property_that_comes_over_ours_has_the_issue(
    jira: JiraDouble, adapter: JiraAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes have seen that one was left behind, and the other one writes last."""
    monkeypatch.setattr(moves, "LOOKS", ())
    jira.issue("Fix crash", TODO)
    old = datetime.now(UTC) - claims.LEFT_BEHIND * 2
    jira.state.properties["ENG-1", claims.CLAIM] = {"id": "dead", "at": old.isoformat()}
    jira.wire.before["GET /issue/ENG-1/comment"] = lambda: put_by_another(jira)
    with pytest.raises(BoardUnavailableError, match="Another process is claiming"):
        claim(adapter)
    assert jira.status("ENG-1") == TODO
    assert jira.state.properties["ENG-1", claims.CLAIM]["id"] == "another's"


def test_a_claim_waits_for_those_who_have_looked_when_it_did(
    jira: JiraDouble, adapter: JiraAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(claims.time, "sleep", slept.append)
    jira.issue("Fix crash", TODO)
    claim(adapter)
    assert 0.2 < sum(slept) <= claims.SETTLES
    keys = {key for line in jira.log if "properties" in line for key in [line.split()[0]]}
    assert keys == {"GET", "PUT", "DELETE"}


def test_claims_of_several_issues_wait_at_the_same_time(
    jira: JiraDouble, adapter: JiraAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    settling = threading.Barrier(3)

    def settle(*_: object) -> None:
        settling.wait(10)

    monkeypatch.setattr(claims.Claims, "settle", settle)
    ids = [jira.issue(name, TODO)["key"] for name in "abc"]
    claim_of = partial(claim_task, adapter, source_queue=TODO, target_queue=PROGRESS)
    claimed = at_once([partial(claim_of, task_id) for task_id in ids])
    assert [task.queue_name for task in claimed] == [PROGRESS] * 3


def test_the_age_of_a_property_is_by_jiras_clock(
    jira: JiraDouble, adapter: JiraAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moves, "LOOKS", ())
    jira.state.ahead = timedelta(minutes=-5)
    jira.issue("Fix crash", TODO)
    put_by_another(jira)
    with pytest.raises(BoardUnavailableError, match="Another process is claiming"):
        claim(adapter)
    jira.state.properties.clear()
    found: dict[str, str] = {}
    jira.wire.before["POST /issue/ENG-1/transitions"] = lambda: found.update(
        jira.state.properties["ENG-1", claims.CLAIM]
    )
    claim(adapter)
    assert abs(datetime.fromisoformat(found["at"]) - jira.state.now()) < timedelta(minutes=1)


@pytest.mark.parametrize("workflow", ["global", "one way"])
def test_a_claim_whose_answer_is_lost_is_ours_only_where_nobody_else_can_have_made_it(
    jira: JiraDouble, adapter: JiraAdapter, workflow: str
) -> None:
    if workflow == "one way":
        jira.state.transitions.clear()
        jira.state.allow(PROGRESS, TODO)
    jira.issue("Fix crash", TODO)
    jira.fail("POST", "/transitions", "lost")
    if workflow == "global":
        assert claim(adapter).queue_name == PROGRESS
        return
    with pytest.raises(AnswerLostError):
        claim(adapter)
    assert jira.status("ENG-1") == PROGRESS


def test_a_lost_answer_stays_lost_if_the_statuses_cannot_be_read_then(
    jira: JiraDouble, adapter: JiraAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = jira.issue("Fix crash", TODO)
    jira.fail("POST", "/transitions", "lost")

    def statuses(*_: object, **__: object) -> NoReturn:
        raise BoardUnavailableError("Jira is away.")

    in_the_moment(jira, lambda: monkeypatch.setattr(Project, "statuses", statuses))
    with pytest.raises(AnswerLostError):
        claim(adapter)
    assert row["fields"]["status"]["name"] == PROGRESS


def test_an_issue_that_a_person_moved_while_an_answer_was_lost_is_not_claimed(
    jira: JiraDouble, adapter: JiraAdapter
) -> None:
    row = jira.issue("Fix crash", TODO)
    jira.fail("POST", "/transitions", 500)
    in_the_moment(jira, lambda: row["fields"].update(status=jira.state.statuses[DONE]))
    with pytest.raises(TaskMovedError) as caught:
        claim(adapter)
    assert (caught.value.actual, jira.status("ENG-1"), jira.state.properties) == (DONE, DONE, {})


@pytest.mark.parametrize("kind", ["lost", "cut", 500])
def test_moves_and_comments_survive_lost_answers(
    jira: JiraDouble, adapter: JiraAdapter, kind: Kind
) -> None:
    jira.issue("Fix crash", TODO)
    jira.fail("POST", "/transitions", kind)
    assert claim(adapter).queue_name == PROGRESS
    jira.fail("POST", "/comment", kind)
    adapter.add_comment("ENG-1", "Half of it works.")
    assert [c.text for c in adapter.get_task("ENG-1").comments] == ["Half of it works."]
    jira.fail("POST", "/issue", kind)
    if kind == 500:  # it is not there, and the search may not know that yet
        with pytest.raises(AnswerLostError, match="'another' again"):
            adapter.create_task(TODO, "another")
    assert adapter.create_task(TODO, "another").id == "ENG-2"
    assert len(jira.state.issues) == 2


def test_a_comment_whose_answer_is_lost_is_there_once_though_jira_rewrites_its_text(
    jira: JiraDouble, adapter: JiraAdapter
) -> None:
    row = jira.issue("Fix crash", TODO)
    for number in range(25):
        early = jira.state.add_comment(row, BOT, f"Part {number} works.")
        early["created"] = "2026-01-01T00:00:00.000+0000"
    for _ in range(5):
        jira.state.add_comment(row, PERSON, "Half of it works.")
    jira.state.rewrites = lambda text: f"{text.strip()} "
    jira.fail("POST", "/comment", "lost")
    adapter.add_comment("ENG-1", "Half of it works.")
    assert len(jira.state.comments["ENG-1"]) == 31
    assert sum("GET /comment/" in line for line in jira.log) == 1, "of others' none is asked"


def test_a_new_issue_is_found_that_the_search_of_the_board_does_not_have(jira: JiraDouble) -> None:
    adapter = jira.board(jql="labels = agent").create_adapter()
    jira.fail("POST", "/issue", "lost")
    assert adapter.create_task(TODO, "Fix crash").id == "ENG-1"
    adapter.close()


def test_a_new_issue_that_the_search_does_not_tell_yet_is_not_made_twice(
    jira: JiraDouble, adapter: JiraAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "LOOKS", (0.0,))
    jira.state.lag()
    jira.fail("POST", "/issue", "lost")
    with pytest.raises(AnswerLostError, match="'Fix crash' again"):
        adapter.create_task(PROGRESS, "Fix crash")
    jira.state.catch_up()
    assert adapter.create_task(PROGRESS, "Fix crash").id == "ENG-1"
    jira.state.lag()
    jira.fail("POST", "/transitions", 503, 2)
    with pytest.raises(AnswerLostError, match="is created, and is not in 'In Progress' yet"):
        adapter.create_task(PROGRESS, "Add dark mode")
    assert adapter.create_task(PROGRESS, "Add dark mode").id == "ENG-2"
    assert (len(jira.state.issues), jira.status("ENG-2")) == (2, PROGRESS)


def test_a_new_issue_that_is_refused_its_queue_is_there_once_however_often_it_is_tried(
    one_way: JiraDouble, adapter: JiraAdapter
) -> None:
    for _ in range(2):
        with pytest.raises(InvalidTaskError, match="no transition"):
            adapter.create_task(DONE, "Add dark mode")
    assert len(one_way.state.issues) == 2
    one_way.state.allow(DONE, TODO)
    assert adapter.create_task(DONE, "Add dark mode").id == "ENG-2"


def test_an_issue_of_somebody_stays_his_and_what_blocks_it_is_told(
    jira: JiraDouble, adapter: JiraAdapter
) -> None:
    for name in "abc":
        jira.issue(name, TODO)
    jira.state.link("ENG-2", "ENG-1")
    jira.state.link("ENG-3", "ENG-1")
    adapter.move_task("ENG-3", DONE)
    adapter.update_task("ENG-1", assignees=["ada example"])
    blocked = {task.id: task.blocked_by for task in adapter.get_ready_tasks([TODO])}
    assert blocked == {"ENG-1": ("ENG-2",), "ENG-2": ()}
    task = claim(adapter)
    assert (task.assignees, task.url) == (("Ada Example",), f"{jira.url}/browse/ENG-1")
    with pytest.raises(InvalidTaskError, match="no user who may be assigned is called 'nobody'"):
        adapter.update_task("ENG-1", assignees=["nobody"])
    for labels in (["two words"], [""]):
        with pytest.raises(InvalidTaskError, match="no blanks"):
            adapter.update_task("ENG-1", labels=labels)


def test_texts_are_wiki_markup_there_and_markdown_here(
    jira: JiraDouble, adapter: JiraAdapter
) -> None:
    text = "Look:\n```python\nx = {a: 1}\n```\n{color:red}no macro{color}, [~ada] no mention"
    task = adapter.create_task(TODO, "a", text)
    adapter.add_comment(task.id, text)
    there = jira.state.comments[task.id][0]["body"]
    assert "{code:python}\nx = {" in there
    assert re.search(r"\{color|\[~", there) is None
    now = adapter.get_task(task.id)
    assert (now.description, now.comments[0].text) == (text, text)
    adapter.add_comment(task.id, "nul \x00 " + "x" * 40_000)
    assert adapter.get_task(task.id).comments[1].text.endswith("more cut]")


@pytest.mark.parametrize("part", ["```py\nx\n```\n", "{", "{x [~a] ", "🚀 ", "长 text. "])
def test_a_text_fits_as_jira_has_it_however_it_grows(
    jira: JiraDouble, adapter: JiraAdapter, part: str
) -> None:
    task = adapter.create_task(TODO, "a", part * 6_000)
    adapter.add_comment(task.id, part * (32_800 // len(part)))
    texts = jira.state.issue(task.id)["fields"]["description"], jira.state.comments[task.id][0]
    for text in (texts[0], texts[1]["body"]):
        assert len(text.encode("utf-16-le")) // 2 <= 32_767
    assert adapter.get_task(task.id).description.startswith(part * 1_500)
