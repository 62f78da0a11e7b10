"""The OpenAPI document: committed, complete, and true of the real app."""

# schemathesis is not typed throughout.
# pyright: reportUnknownMemberType=false, reportUnknownParameterType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeArgument=false, reportUnknownLambdaType=false

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis.core.result import Ok

from athanore import AgentDispatcher, MemoryAdapter
from athanore.api.app import create_api
from athanore.queue_adapters.base import QueueAdapter
from athanore.runtime.apps import App
from tests.api.conftest import OPERATOR, dispatcher
from tests.api.rig import Api, bearer, served

COMMITTED = Path(__file__).parents[2] / "api" / "openapi.json"


def document() -> dict[str, Any]:
    app = AgentDispatcher(queue_backend=MemoryAdapter(["Todo"]))
    return create_api(App("run.py:dispatcher", app)).openapi()


def test_the_committed_document_is_the_apps() -> None:
    text = json.dumps(document(), indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("ATHANORE_TEST_WRITE_OPENAPI"):
        COMMITTED.write_text(text)
    assert COMMITTED.read_text() == text, (
        "The API has changed: look at the difference, then run this test with "
        "ATHANORE_TEST_WRITE_OPENAPI=1 and commit api/openapi.json."
    )


def test_the_endpoints_of_the_reference_are_there() -> None:
    paths = document()["paths"]
    assert {(m, p) for p, operations in paths.items() for m in operations} >= {
        ("get", "/status"),
        ("get", "/agents"),
        ("get", "/agents/{task_id}"),
        ("get", "/tasks/{task_id}"),
        ("get", "/tasks/{task_id}/events"),
        ("post", "/tasks/{task_id}/comments"),
        ("post", "/tasks/{task_id}/move"),
        ("patch", "/tasks/{task_id}"),
        ("post", "/tasks"),
        ("get", "/queues"),
        ("get", "/queues/{queue_name}"),
        ("post", "/queues"),
        ("patch", "/queues/{queue_name}"),
        ("delete", "/queues/{queue_name}"),
        ("get", "/routes"),
        ("get", "/routes/{queue_name}"),
        ("post", "/routes"),
        ("patch", "/routes/{queue_name}"),
        ("delete", "/routes/{queue_name}"),
    }


def test_everything_is_described() -> None:
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation.get("description"), where
            assert operation["responses"].keys() >= {"401", "403", "422", "503"} or path == "/", (
                where
            )
            for status, response in operation["responses"].items():
                assert response["description"], where
                if int(status) >= 400:
                    assert list(response["content"]) == ["application/problem+json"], where


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, prefect_api: str) -> Iterator[Api]:
    """An API that demands tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATHANORE_API_AUTH", "token")
        patch.setenv("ATHANORE_API_KEY", OPERATOR)
        app = dispatcher(tmp_path_factory.mktemp("schema"), "guarded", managed=True)
        with served(app, prefect_api) as api:
            yield api


@pytest.fixture(scope="module")
def schema(running: Api) -> schemathesis.BaseSchema:
    """The document of the running API, as a program reads it."""
    return schemathesis.openapi.from_url(f"{running.url}/openapi.json", timeout=120)


@pytest.fixture(scope="module")
def board(running: Api) -> QueueAdapter:
    """The board behind the running API."""
    return running.board


def _name_what_exists(case: schemathesis.Case, board: QueueAdapter) -> None:
    """Let a generated request reach a task and queues that there are."""
    if "task_id" in case.path_parameters:
        case.path_parameters["task_id"] = board.create_task("In Progress", "generated").id
    if "queue_name" in case.path_parameters:
        case.path_parameters["queue_name"] = "Done"
    if isinstance(case.body, dict):
        for field in ("queue_name", "target_queue"):
            if isinstance(case.body.get(field), str):
                case.body[field] = "Review"


# The API's own thread uses `random` while hypothesis watches for that.
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")
@pytest.mark.timeout(900)
@pytest.mark.nightly
def test_no_answer_is_a_surprise(schema: schemathesis.BaseSchema, board: QueueAdapter) -> None:
    """Generated requests, valid and not: no 5xx, and every answer is as the document says."""
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()

        @hypothesis.given(case=operation.as_strategy(), known=st.booleans())
        @hypothesis.settings(
            max_examples=int(os.environ.get("ATHANORE_TEST_EXAMPLES", "8")),
            derandomize="ATHANORE_TEST_EXAMPLES" not in os.environ,
            deadline=None,
            suppress_health_check=[
                hypothesis.HealthCheck.too_slow,
                hypothesis.HealthCheck.filter_too_much,
            ],
            database=None,
        )
        def check(case: schemathesis.Case, known: bool) -> None:
            if known:
                _name_what_exists(case, board)
            case.call_and_validate(headers=bearer(OPERATOR), timeout=60)

        check()
