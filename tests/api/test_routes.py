"""The endpoints of routes: making, changing and deleting them while everything runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.actions import DeploymentUpdate

from athanore import names
from athanore.models import Queue
from athanore.routing.routes import Route
from athanore.runs.records import tokens
from athanore.runtime.routes.definitions import RouteDefinition, RouteOptions
from tests.api.conftest import ODD, OPERATOR, dispatcher, write_prompt
from tests.api.rig import Api, bearer, served
from tests.support import wait_until

PROMPT = "Work on {{ task.id }}: {{ task.name }}"


@pytest.fixture
def live(tmp_path: Path, prefect_api: str) -> Iterator[Api]:
    """An API whose routes are changed; no other test has its deployments."""
    with served(dispatcher(tmp_path, "live", managed=True), prefect_api) as it:
        yield it
        for name in [r["name"] for r in it.get("/routes") if r["source"] == "api"]:
            it.call("DELETE", path(name))


def path(queue_name: str) -> str:
    return f"/routes/{quote(queue_name, safe='')}"


def make(api: Api, queue_name: str, status: int = 201, **options: Any) -> Any:
    """Have a route made over a queue that is there."""
    if queue_name not in [q.name for q in api.board.list_queues()]:
        api.board.create_queue(queue_name)
    return api.post("/routes", {"queue_name": queue_name, "prompt": PROMPT, **options}, status)


def deployments(api: Api, queue_name: str) -> dict[str, Any]:
    """What Prefect has of a route, by the kind of deployment."""
    tags = [f"app:{api.app.name}", f"route:{queue_name}"]
    found = api.prefect.post("/deployments/filter", {"deployments": {"tags": {"all_": tags}}})
    return {"poll" if "poll" in d["tags"] else "agent": d for d in found}


def priorities(api: Api) -> list[str]:
    """The routes' queues as Prefect serves them."""
    pool = names.agents_pool(api.app.name)
    found = api.prefect.post(f"/work_pools/{pool}/queues/filter", {})
    ordered = sorted(found, key=lambda q: q["priority"])
    return [names.unslug(q["name"]) for q in ordered if q["name"] != "default"]


@pytest.mark.parametrize("name", ["a.b", "50% x", "x/y/z", "Straße ✓", "?#;=+ ~"])
def test_a_route_for_any_queue(live: Api, name: str) -> None:
    made = make(live, name, timeout=5, max_retries=3, env={"A": "b"}, args=["-p"], cwd="/tmp")
    assert made["source"] == "api"
    assert made["prompt"] == PROMPT
    assert (made["timeout"], made["max_retries"], made["env"]) == (5, 3, ["A"])
    assert made["poll_interval"] == 30 * 86400, "what is not sent is the app's"
    assert live.get(path(name)) == made
    assert name in [r["queue_name"] for r in live.get("/routes")]
    assert name in [r["queue_name"] for r in live.get("/status")["timing"]["routes"]]
    found = deployments(live, name)
    assert set(found) == {"poll", "agent"}
    assert names.API_ROUTE_TAG in found["poll"]["tags"]
    assert found["poll"]["parameters"]["route"]["options"]["prompt"] == PROMPT
    task = live.post("/tasks", {"queue_name": name, "name": "at once"}, 201)
    assert task["active_run"]["queue_name"] == name
    live.call("DELETE", path(name))
    live.get(path(name), 404)
    assert deployments(live, name) == {}
    assert live.get(f"/tasks/{task['id']}")["active_run"] is None, "what waited is cancelled"
    assert live.get(f"/tasks/{task['id']}")["queue_name"] == name


def test_where_it_is(live: Api) -> None:
    live.board.create_queue("New one")
    answer = live.http.post("/routes", json={"queue_name": "New one", "prompt": PROMPT})
    assert answer.status_code == 201
    assert answer.headers["location"] == "/routes/New%20one"
    problem = make(live, "New one", 409)
    assert problem["type"] == "urn:athanore:problem:route-exists"
    assert "source: api" in problem["detail"]
    assert "source: code" in make(live, "Todo", 409)["detail"]


def test_a_route_is_polled_at_once(live: Api) -> None:
    make(live, "Polled")
    deployment = deployments(live, "Polled")["poll"]
    query = {"deployments": {"id": {"any_": [deployment["id"]]}}}
    runs = live.prefect.post("/flow_runs/filter", {**query, "sort": "EXPECTED_START_TIME_ASC"})
    assert "first poll" in [r["name"] for r in runs]


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("{{ taks.id }}", "no variable 'taks'; a prompt has task, attempt"),
        ("{{ task.titel }}", "has no 'titel'; it has id, name, queue_name"),
        ("{% for c in task.comments %}{{ c.txt }}{% endfor %}", "a comment has no 'txt'"),
        ("{{ task.name|uper }}", "No filter named 'uper'"),
        ("{{ task.name", "line 1"),
        ("{% include 'other' %}", "stands alone"),
        ("{{ task.__class__ }}", "has no '__class__'"),
        ("{{ " + "(" * 67 + "1" + ")" * 67 + " }}", "nested deeper than 30"),
        ("{{ 1" + "+1" * 8000 + " }}", "nested too deep"),
        ("{{ 9**(9**9) }}", "exponents up to 64"),
    ],
)
def test_a_prompt_with_a_mistake(live: Api, prompt: str, says: str) -> None:
    assert says in make(live, "Mistaken", 422, prompt=prompt)["detail"]
    live.get("/routes/Mistaken", 404)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"prompt": " "}, "body.prompt"),
        ({"prompt": "a\0b"}, "body.prompt"),
        ({"timeout": 0}, "body.timeout"),
        ({"max_retries": -1}, "body.max_retries"),
        ({"priority": 1.5}, "body.priority"),
        ({"colour": "red"}, "body.colour"),
        ({"timeout": "5"}, "body.timeout"),
        ({"done_queue": "Wrong"}, "is the queue that the route watches"),
        ({"command": "'open"}, "cannot be split into words"),
        ({"command": ""}, "nothing to start"),
    ],
)
def test_an_option_with_a_mistake(live: Api, options: dict[str, Any], says: str) -> None:
    problem = make(live, "Wrong", 422, **options)
    assert says in problem["detail"]
    live.get("/routes/Wrong", 404)


@pytest.mark.parametrize(
    ("queue", "options", "says"),
    [
        ("Other", {"in_progress_queue": "Todo"}, "another route watches"),
        ("Other", {"waiting_queue": "Todo"}, "another route watches"),
        ("In Progress", {"in_progress_queue": "Done"}, "is a queue that another route watches"),
        ("Todo", {}, "so none is left for route 'second'"),
        ("Other", {"was": ["Todo"]}, "another route is called 'Todo' already"),
    ],
)
def test_a_route_in_the_way_of_another_is_a_conflict(
    live: Api, queue: str, options: dict[str, Any], says: str
) -> None:
    problem = make(live, queue, 409, name="second", **options)
    assert problem["type"] == "urn:athanore:problem:route-conflict"
    assert says in problem["detail"]
    live.get("/routes/second", 404)


def test_a_change_that_takes_the_tasks_of_another_route_is_a_conflict(live: Api) -> None:
    live.board.create_queue("Shared")
    for name in ("red", "blue"):
        make(live, "Shared", name=name, labels=[name])
    problem = live.call("PATCH", "/routes/blue", {"labels": ["red"]}, status=409)
    assert problem["type"] == "urn:athanore:problem:route-conflict"
    assert live.get("/routes/blue")["labels"] == ["blue"]


def test_a_closed_queue_is_a_conflict(live: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    live.board.create_queue("Closed")
    listed = live.board.list_queues

    def closed() -> list[Queue]:
        return [replace(q, is_open=q.name != "Closed") for q in listed()]

    monkeypatch.setattr(live.board, "list_queues", closed)
    problem = make(live, "Closed", 409)
    assert problem["type"] == "urn:athanore:problem:queue-closed"
    assert problem["errors"][0]["field"] == "body.queue_name"


def test_a_route_without_a_queue_on_the_board(live: Api) -> None:
    problem = make(live, "Wrong", 404, dead_letter_queue="Nope")
    assert "no queue 'Nope' (dead_letter_queue)" in problem["detail"]
    problem = live.post("/routes", {"queue_name": "Nowhere", "prompt": PROMPT}, 404)
    assert problem["errors"] == [
        {"field": "body.queue_name", "message": "the board has no queue 'Nowhere'"}
    ]
    assert "Todo" in problem["existing"]
    assert live.post("/routes", {"queue_name": "Nowhere"}, 422)["errors"][0]["field"] == (
        "body.prompt"
    )


@pytest.mark.parametrize("definition", [{"source": "api", "options": {"colour": 1}}, {}, "x", 7])
def test_a_broken_definition_breaks_nothing_else_and_can_be_deleted(
    live: Api, definition: Any
) -> None:
    make(live, "Broken")
    deployment = deployments(live, "Broken")["poll"]
    parameters = {**deployment["parameters"], "route": definition}
    update = DeploymentUpdate(parameters=parameters, enforce_parameter_schema=False)
    live.with_prefect(lambda client: client.update_deployment(UUID(deployment["id"]), update))
    live.app.routes.forget()
    assert "Broken" not in [r["queue_name"] for r in live.get("/routes")]
    for where in ("/status", "/board", "/agents", "/routes/Todo"):
        live.get(where)
    live.get("/routes/Broken", 404)
    live.call("PATCH", "/routes/Broken", {"timeout": 1}, status=404)
    assert live.call("DELETE", "/routes/Broken")["removed"] is True
    assert deployments(live, "Broken") == {}
    live.call("DELETE", "/routes/Broken", status=404)


def test_changing_a_route_keeps_what_is_not_sent(live: Api) -> None:
    make(live, "Changing", timeout=5, priority=7, max_concurrent=2)
    changed = live.call("PATCH", path("Changing"), {"poll_interval": 60, "timeout": None})
    assert (changed["poll_interval"], changed["timeout"]) == (60, None)
    assert (changed["priority"], changed["max_concurrent"]) == (7, 2)
    assert (changed["changed"], changed["note"]) == ([], None)
    (schedule,) = deployments(live, "Changing")["poll"]["schedules"]
    assert schedule["schedule"]["interval"] == 60
    live.call("PATCH", path("Changing"), {"prompt": "{{ nope }}"}, status=422)
    live.call("PATCH", path("Changing"), {"prompt": None}, status=422)
    live.call("PATCH", path("Changing"), {"done_queue": "Nope"}, status=404)
    live.call("PATCH", path("Nope"), {"timeout": 1}, status=404)
    assert live.get(path("Changing")) == changed
    assert live.call("PATCH", path("Changing"), {"poll_interval": None})["poll_interval"] == (
        30 * 86400
    )


def test_a_new_priority_ranks_all_routes(live: Api) -> None:
    make(live, "Last")
    assert priorities(live) == ["Todo", "Review", ODD, "Last"]
    assert live.call("PATCH", path("Last"), {"priority": 1})["rank"] == 1
    assert priorities(live) == ["Last", "Todo", "Review", ODD]
    assert live.get(path("Todo"))["rank"] == 2


def test_a_change_loses_no_run(live: Api) -> None:
    make(live, "Busy")
    waiting = live.post("/tasks", {"queue_name": "Busy", "name": "waits"}, 201)
    working = live.post("/tasks", {"queue_name": "Busy", "name": "works"}, 201)["active_run"]["id"]
    for state in ("PENDING", "RUNNING"):
        live.prefect.post(
            f"/flow_runs/{working}/set_state", {"state": {"type": state}, "force": True}
        )
    live.call("PATCH", path("Busy"), {"priority": 2, "poll_interval": 50, "max_retries": 1})
    active = live.get(f"/tasks/{waiting['id']}")["active_run"]
    assert active["id"] == waiting["active_run"]["id"]
    problem = live.call("PATCH", path("Busy"), {"in_progress_queue": "Done"}, status=409)
    assert "at work in 'In Progress'" in problem["detail"]
    removal = live.call("DELETE", path("Busy"))
    assert removal["removed"] is False
    assert "may finish" in removal["note"]
    live.get(path("Busy"), 404)
    assert live.prefect.get(f"/flow_runs/{working}")["state_type"] == "RUNNING"
    live.end_run(working)
    wait_until("the route is gone", lambda: deployments(live, "Busy") == {})


def test_a_route_that_is_made_again_while_it_goes(live: Api) -> None:
    make(live, "Back", max_retries=4)
    run = live.post("/tasks", {"queue_name": "Back", "name": "works"}, 201)["active_run"]["id"]
    live.prefect.post(f"/flow_runs/{run}/set_state", {"state": {"type": "RUNNING"}, "force": True})
    assert live.call("DELETE", path("Back"))["removed"] is False
    assert make(live, "Back", max_retries=5)["max_retries"] == 5
    live.end_run(run)
    found = deployments(live, "Back")
    assert set(found) == {"poll", "agent"}
    assert not any(d["paused"] or names.LEAVING_TAG in d["tags"] for d in found.values())


def test_a_route_of_the_code_is_changed_until_the_next_deploy(live: Api) -> None:
    changed = live.call("PATCH", "/routes/Todo", {"max_retries": 9, "priority": 1})
    assert (changed["max_retries"], changed["timeout"], changed["rank"]) == (9, 60, 1)
    assert changed["changed"] == ["max_retries", "priority"]
    assert "until the next deploy" in changed["note"]
    assert changed["prompt"] == "write_prompt", "the code's function still writes the prompt"
    back = live.call("PATCH", "/routes/Todo", {"max_retries": None, "priority": None})
    assert back["max_retries"] == 2
    live.deploy()
    assert live.get("/routes/Todo", headers={"Cache-Control": "no-cache"})["changed"] == []
    assert "route" not in deployments(live, "Todo")["poll"]["parameters"]


def test_a_route_of_the_code_is_taken_away_until_the_next_deploy(live: Api) -> None:
    removal = live.call("DELETE", path("Review"))
    assert removal["removed"] is True
    assert "comes back with the next deploy" in removal["note"]
    live.get(path("Review"), 404)
    task = live.post("/tasks", {"queue_name": "Review", "name": "no agent"}, 201)
    assert task["active_run"] is None
    assert "until the next deploy" in make(live, "Review", 409)["detail"]
    live.deploy()
    assert live.get(path("Review"))["source"] == "code"
    assert not deployments(live, "Review")["poll"]["paused"]


def test_a_deploy_keeps_what_was_made_over_http(live: Api) -> None:
    made = make(live, "Kept", priority=1)
    live.deploy()
    assert live.get(path("Kept")) == made
    assert priorities(live)[0] == "Kept"


def test_queues_of_such_routes_stay(live: Api) -> None:
    for name in ("Mine", "Dead", "Finished"):
        live.board.create_queue(name)
    make(live, "Mine", dead_letter_queue="Dead", done_queue="Finished")
    for name in ("Mine", "Dead", "Finished"):
        problem = live.call("PATCH", f"/queues/{name}", {"name": "Other"}, status=409)
        assert "route 'Mine'" in problem["detail"]
        live.call("DELETE", f"/queues/{name}", status=409)
    live.call("DELETE", path("Mine"))
    live.call("DELETE", "/queues/Dead", status=204)


def test_writes_need_to_be_allowed(lonely: Api) -> None:
    for method, where, body in [
        ("POST", "/routes", {"queue_name": "Done", "prompt": PROMPT}),
        ("PATCH", "/routes/Todo", {"timeout": 1}),
        ("DELETE", "/routes/Todo", None),
    ]:
        problem = lonely.call(method, where, body, status=403)
        assert "enable_queue_management=True" in problem["detail"]
    assert len(lonely.get("/routes")) == 3


def test_only_operators_may_where_tokens_are_required(guarded: Api) -> None:
    task = guarded.board.create_task("Todo", "mine")
    run, token = guarded.start_run(task.id)
    body = {"queue_name": "Done", "prompt": PROMPT}
    guarded.post("/routes", body, 401)
    guarded.post("/routes", body, 403, headers=bearer(token))
    guarded.call("PATCH", "/routes/Todo", {"timeout": 1}, status=403, headers=bearer(token))
    guarded.call("DELETE", "/routes/Todo", status=403, headers=bearer(token))
    made = guarded.call("POST", "/routes", body, status=201, headers=bearer(OPERATOR))
    assert made["source"] == "api"
    # Somebody with access to Prefect alone must not get a program started.
    deployment = deployments(guarded, "Done")["poll"]
    forged = {**deployment["parameters"]["route"]}
    forged["options"] = {**forged["options"], "command": "evil"}
    parameters = {**deployment["parameters"], "route": forged}
    guarded.http.headers.update(bearer(OPERATOR))
    guarded.with_prefect(
        lambda client: client.update_deployment(
            UUID(deployment["id"]), DeploymentUpdate(parameters=parameters)
        )
    )
    guarded.app.routes.forget()
    guarded.get("/routes/Done", 404)
    guarded.end_run(run)
    body = {"deployments": {"tags": {"all_": [f"app:{guarded.app.name}", "route:Done"]}}}
    guarded.prefect.post("/deployments/bulk_delete", body)


def test_secrets_are_refused(live: Api) -> None:
    problem = make(live, "Leaky", 422, env={"KEY": tokens.new_token(uuid4())})
    assert problem["type"] == "urn:athanore:problem:secret-in-route"


def test_a_definition_says_only_what_was_said() -> None:
    options = RouteOptions.model_validate({"prompt": PROMPT, "timeout": None})
    definition = RouteDefinition(source="api", options=options)
    assert definition.parameter() == {
        "source": "api",
        "options": {"prompt": PROMPT, "timeout": None},
    }


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ({"respect_blockers": False}, {"respect_blockers": False}),
        ({"dead_letter_queue": False}, {"dead_letter_queue": None}),
        ({"timeout": None}, {"timeout": None}),
    ],
)
def test_false_and_null_mean_what_the_option_says(
    sent: dict[str, Any], meant: dict[str, Any]
) -> None:
    before = Route("Todo", prompt=write_prompt, respect_blockers=True, dead_letter_queue="Done")
    after = RouteOptions.model_validate(sent).applied_to(before)
    assert {name: getattr(after, name) for name in meant} == meant
