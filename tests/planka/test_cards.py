"""Cards as tasks: what is ready, in which order, and everything that hangs on them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Barrier
from types import SimpleNamespace

import pytest

from athanore.errors import InvalidTaskError, TaskMovedError
from athanore.models import ChecklistItem
from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.planka import adapter as planka_adapter
from athanore.queue_adapters.planka.backend import PlankaAdapter
from athanore.testing.doubles.planka.server import BOT_KEY, PlankaDouble
from tests.planka.site import Site, post

TODO, PROGRESS, DONE = "P.B.Todo", "P.B.In Progress", "P.B.Done"


def test_closed_archived_and_trashed_cards_are_not_ready(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    planka.state.touch(planka.list("Done"), type="closed")
    cards = {name: planka.card("Todo", name) for name in ("open", "done", "archived", "trashed")}
    with Site(planka.url, BOT_KEY).client() as client:
        for name, kind in (("archived", "archive"), ("trashed", "trash")):
            (target,) = planka.state.rows("lists", type=kind)
            path = f"cards/{cards[name]['id']}"
            client.patch(path, json={"listId": target["id"]}).raise_for_status()
    adapter.move_task(cards["done"]["id"], DONE)
    assert [task.name for task in adapter.get_ready_tasks([TODO, DONE])] == ["open"]
    assert adapter.get_queue(DONE).task_count == 1
    assert [queue.name for queue in adapter.list_queues()] == [TODO, PROGRESS, DONE]
    assert adapter.get_task(cards["archived"]["id"]).queue_name == "P.B.[archive]"
    adapter.move_task(cards["trashed"]["id"], TODO)
    assert [task.name for task in adapter.get_ready_tasks([TODO])] == ["open", "trashed"]


def test_a_task_says_who_made_its_card_and_when(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    card = planka.card("Todo", "a")
    (task,) = adapter.get_ready_tasks([TODO])
    assert task.author == adapter.get_task(card["id"]).author == planka.admin["name"]
    assert task.created_at == datetime.fromisoformat(card["createdAt"])


def test_a_card_that_is_closed_in_an_open_list_is_not_ready(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    planka.state.touch(planka.card("Todo", "x"), isClosed=True)
    assert adapter.get_ready_tasks([TODO]) == []


def test_the_order_is_the_boards_and_equal_positions_go_by_id(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    for name, position in (("third", 9.5), ("first", 1), ("second", 9.25), ("fourth", 9.5)):
        planka.card("Todo", name, position)
    ready = [task.name for task in adapter.get_ready_tasks([TODO])]
    assert ready == ["first", "second", "third", "fourth"]
    adapter.create_task(TODO, "last")
    assert [task.name for task in adapter.get_ready_tasks([TODO])] == [*ready, "last"]


def test_a_card_that_makes_no_sense_does_not_hide_the_others(
    planka: PlankaDouble, adapter: PlankaAdapter, caplog: pytest.LogCaptureFixture
) -> None:
    planka.card("Todo", "good")
    planka.state.touch(planka.card("Todo", "bad"), name=None)
    assert [task.name for task in adapter.get_ready_tasks([TODO])] == ["good"]
    assert "left out" in caplog.text


def test_comments_come_in_time_order_beyond_a_page(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    card_id = planka.card("Todo", "x")["id"]
    texts = [f"comment {n}" for n in range(123)]
    with Site(planka.url, BOT_KEY).client() as client:
        for text in texts:
            post(client, f"cards/{card_id}/comments", text=text)
    planka.log.clear()
    comments = adapter.get_task(card_id).comments
    assert [comment.text for comment in comments] == texts
    assert {comment.author for comment in comments} == {"Robot"}
    times = [comment.created_at for comment in comments if comment.created_at]
    assert len(times) == len(texts) and times == sorted(times)
    assert len([line for line in planka.log if line.endswith("/comments")]) == 3


def test_checklists_come_in_the_order_of_the_card(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    card_id = planka.card("Todo", "x")["id"]
    with Site(planka.url, BOT_KEY).client() as client:
        later = post(client, f"cards/{card_id}/task-lists", name="later", position=2)["id"]
        first = post(client, f"cards/{card_id}/task-lists", name="first", position=1)["id"]
        ids = [
            post(client, f"task-lists/{later}/tasks", name="c", position=1)["id"],
            post(client, f"task-lists/{first}/tasks", name="b", position=2, isCompleted=True)["id"],
            post(client, f"task-lists/{first}/tasks", name="a", position=1)["id"],
        ]
    expected = (
        ChecklistItem("a", False, ids[2]),
        ChecklistItem("b", True, ids[1]),
        ChecklistItem("c", False, ids[0]),
    )
    assert adapter.get_task(card_id).tasks == expected
    assert adapter.get_ready_tasks([TODO])[0].tasks == expected


def test_users_go_by_any_of_their_names_and_are_shown_by_one(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    card_id = planka.card("Todo", "x")["id"]
    for name in ("Lab Admin", "labadmin", planka.admin["id"]):
        assert adapter.update_task(card_id, assignees=[name]).assignees == ("Lab Admin",)
        assert adapter.update_task(card_id, assignees=[]).assignees == ()


def test_users_who_share_a_name_are_told_apart(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    card_id = planka.card("Todo", "x")["id"]
    planka.admin["name"] = "Robot"
    task = adapter.update_task(card_id, assignees=["labadmin", "bot"])
    assert task.assignees == ("labadmin", "bot")
    with pytest.raises(InvalidTaskError, match=r"Several.*'labadmin', 'bot'"):
        adapter.update_task(card_id, assignees=["Robot"])
    adapter.update_task(card_id, assignees=[])
    claimed = claim_task(adapter, card_id, source_queue=TODO, target_queue=PROGRESS)
    assert claimed.assignees == ("bot",)


def test_labels_may_lack_a_name_or_share_one(planka: PlankaDouble, adapter: PlankaAdapter) -> None:
    (board,) = planka.state.rows("boards")
    rows = [
        {"position": 3, "name": "bug", "color": "gun-metal"},
        {"position": 2, "name": "bug", "color": "wet-moss"},
        {"position": 1, "name": None, "color": "berry-red"},
    ]
    labels = [planka.state.add("labels", **row, boardId=board["id"]) for row in rows]
    card_id = planka.card("Todo", "x")["id"]
    task = adapter.update_task(card_id, labels=["bug", "berry-red", "bug"])
    assert task.labels == ("bug", "berry-red")
    assert planka.state.rows("cardLabels")[0]["labelId"] == labels[1]["id"]
    adapter.update_task(card_id, labels=[labels[0]["id"]])
    assert [row["labelId"] for row in planka.state.rows("cardLabels")] == [labels[0]["id"]]


def test_a_label_of_a_moment_ago_is_known(planka: PlankaDouble, adapter: PlankaAdapter) -> None:
    card_id = planka.card("Todo", "x")["id"]
    adapter.get_ready_tasks([TODO])
    (board,) = planka.state.rows("boards")
    with Site(planka.url, BOT_KEY).client() as client:
        path = f"boards/{board['id']}/labels"
        label = post(client, path, name="new", color="berry-red", position=1)
        post(client, f"cards/{card_id}/card-labels", labelId=label["id"])
    assert adapter.get_task(card_id).labels == ("new",)


def test_a_card_can_move_to_another_board(planka: PlankaDouble, adapter: PlankaAdapter) -> None:
    planka.add_board("Q", "C", ("Elsewhere",))
    card_id = planka.card("Todo", "x")["id"]
    adapter.move_task(card_id, "Q.C.Elsewhere")
    assert adapter.get_ready_tasks([TODO]) == []
    assert [task.id for task in adapter.get_ready_tasks(["Q.C.Elsewhere"])] == [card_id]


def test_a_move_believes_no_old_read_that_the_card_is_there(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    card = planka.card("Todo", "x")
    adapter.get_ready_tasks([TODO])
    planka.state.touch(card, listId=planka.list("Done")["id"])  # a person is quicker
    adapter.move_task(card["id"], TODO)
    assert card["listId"] == planka.list("Todo")["id"]


def test_the_user_is_added_at_a_claim_and_others_stay(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    card_id = planka.card("Todo", "x")["id"]
    adapter.update_task(card_id, assignees=["Lab Admin"])
    task = claim_task(adapter, card_id, source_queue=TODO, target_queue=PROGRESS)
    assert task.assignees == ("Lab Admin", "Robot")
    assert adapter.get_task(card_id) == task


def test_of_claims_by_several_processes_one_wins(planka: PlankaDouble) -> None:
    adapters = [planka.board().create_adapter() for _ in range(6)]
    for n in range(5):
        card_id = planka.card("Todo", f"card {n}")["id"]
        barrier = Barrier(len(adapters))

        def claim(
            adapter: PlankaAdapter, card_id: str = card_id, barrier: Barrier = barrier
        ) -> bool:
            barrier.wait(timeout=30)
            try:
                claim_task(adapter, card_id, source_queue=TODO, target_queue=PROGRESS)
            except TaskMovedError:
                return False
            return True

        with ThreadPoolExecutor(len(adapters)) as pool:
            assert sum(pool.map(claim, adapters)) == 1
    assert len(planka.state.rows("cards", listId=planka.list("In Progress")["id"])) == 5
    for adapter in adapters:
        adapter.close()


def test_a_claim_waits_for_one_that_is_between_its_two_writes(
    planka: PlankaDouble, adapter: PlankaAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = planka.board().create_adapter()
    card_id = planka.card("Todo", "x")["id"]
    other.update_task(card_id, assignees=["Robot"])  # the first write of its claim

    def second_write(_: float) -> None:
        other.move_task(card_id, PROGRESS)

    monkeypatch.setattr(planka_adapter, "time", SimpleNamespace(sleep=second_write))
    with pytest.raises(TaskMovedError):
        claim_task(adapter, card_id, source_queue=TODO, target_queue=PROGRESS)
    other.close()


def test_a_list_that_gets_a_card_while_it_is_deleted_says_so(
    planka: PlankaDouble, adapter: PlankaAdapter, caplog: pytest.LogCaptureFixture
) -> None:
    planka.state.before_delete = lambda: planka.card("Done", "late")
    adapter.delete_queue(DONE)
    (card,) = planka.state.rows("cards")
    assert card["id"] in caplog.text and "trash" in caplog.text


def test_the_names_of_the_credentials_variables_are_known(adapter: PlankaAdapter) -> None:
    assert adapter.secret_env == {"PLANKA_TOKEN", "PLANKA_USER", "PLANKA_PASSWORD"}
