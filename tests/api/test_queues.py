"""The endpoints of queues."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from athanore.errors import QueueNotFoundError
from tests.api.conftest import ODD
from tests.api.rig import Api


def test_queues_are_listed_in_board_order(api: Api) -> None:
    queues = api.get("/queues")
    assert [q["name"] for q in queues] == ["Todo", "In Progress", "Review", "Done", ODD]
    assert queues[3] == {"name": "Done", "task_count": 1}


def test_one_queue(api: Api) -> None:
    assert api.get("/queues/In%20Progress") == {"name": "In Progress", "task_count": 0}
    assert "Review" in api.get("/queues/Nope", 404)["existing"]


@pytest.mark.parametrize("name", [ODD, "a.b", "50%", "x/y/z", "Straße ✓", "comments", "?#;=+ ~"])
def test_any_name_works_everywhere(api: Api, name: str) -> None:
    if name != ODD:
        created = api.http.post("/queues", json={"name": name})
        assert created.status_code == 201
        assert created.headers["location"] == f"/queues/{quote(name, safe='')}"
    path = f"/queues/{quote(name, safe='')}"
    assert api.get(path)["name"] == name
    task = api.post("/tasks", {"queue_name": name, "name": name}, 201)
    assert task["queue_name"] == name
    assert [t["id"] for t in api.get("/tasks", params={"queue": name})] == [task["id"]]
    api.post(f"/tasks/{task['id']}/move", {"target_queue": "Done"}, 200)
    if name != ODD:
        api.call("PATCH", path, {"name": name + "2"})
        api.call("DELETE", path + "2", status=204)
        with pytest.raises(QueueNotFoundError):
            api.board.get_queue(name)
    else:
        assert api.get(f"/routes/{quote(name, safe='')}")["queue_name"] == name


def test_a_slash_that_was_not_encoded_is_understood(api: Api) -> None:
    assert api.get("/queues/Gr%C3%B6%C3%9Fe%2050%25/a.b%20&%20c")["name"] == ODD


def test_creating_a_queue_that_exists(api: Api) -> None:
    assert "'Todo'" in api.post("/queues", {"name": "Todo"}, 409)["detail"]
    assert api.post("/queues", {"name": " "}, 422)["errors"][0]["field"] == "body.name"


def test_renaming(api: Api) -> None:
    assert api.call("PATCH", "/queues/Done", {"name": "Finished"})["name"] == "Finished"
    assert api.board.get_queue("Finished").task_count == 1
    api.call("PATCH", "/queues/Done", {"name": "x"}, status=404)
    api.call("PATCH", "/queues/Finished", {"name": "Todo"}, status=409)


def test_a_queue_that_a_route_uses_stays(api: Api) -> None:
    for name in ("Todo", "In%20Progress"):
        problem = api.call("PATCH", f"/queues/{name}", {"name": "New"}, status=409)
        assert "route 'Todo'" in problem["detail"]
        problem = api.call("DELETE", f"/queues/{name}", status=409)
        assert problem["type"] == "urn:athanore:problem:queue-in-use"
    assert api.call("PATCH", "/queues/Todo", {"name": "Todo"})["name"] == "Todo"


def test_only_an_empty_queue_can_be_deleted(api: Api) -> None:
    problem = api.call("DELETE", "/queues/Done", status=409)
    assert problem["task_count"] == 1
    api.call("DELETE", "/queues/Nope", status=404)
    api.board.create_queue("Empty")
    api.call("DELETE", "/queues/Empty", status=204)
    assert "Empty" not in [q.name for q in api.board.list_queues()]


def test_changes_need_to_be_allowed(lonely: Api) -> None:
    for method, path, body in [
        ("POST", "/queues", {"name": "x"}),
        ("PATCH", "/queues/Done", {"name": "x"}),
        ("DELETE", "/queues/Done", None),
    ]:
        problem = lonely.call(method, path, body, status=403)
        assert "enable_queue_management=True" in problem["detail"]
    assert lonely.board.get_queue("Done").task_count == 1
