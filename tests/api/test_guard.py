"""A loopback port is no boundary: who may call the API."""

from __future__ import annotations

from pathlib import Path

import pytest

from athanore.api.security.binding import check_binding
from athanore.errors import ConfigurationError
from athanore.http_client.hosts import HostPolicy
from athanore.settings import Settings
from tests.api.conftest import dispatcher
from tests.api.rig import Api, served


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "", "localhost.evil.example"]
)
def test_a_foreign_host_is_refused(lonely: Api, host: str) -> None:
    for path in ("/tasks", "/", "/docs", "/openapi.json", "/nothing"):
        problem = lonely.get(path, 403, headers={"Host": host})
        assert problem["type"] == "urn:athanore:problem:foreign-host"


def test_the_names_of_this_machine_are_accepted(lonely: Api) -> None:
    for host in ("localhost", "LOCALHOST:1234", "127.0.0.1", "[::1]:8000", "127.1.2.3"):
        lonely.get("/queues", headers={"Host": host})


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost", "file://"]
)
def test_a_web_page_may_not_call(lonely: Api, origin: str) -> None:
    problem = lonely.post(
        "/tasks", {"queue_name": "Done", "name": "x"}, 403, headers={"Origin": origin}
    )
    assert problem["type"] == "urn:athanore:problem:foreign-origin"
    lonely.get("/tasks", 403, headers={"Origin": origin})
    assert lonely.board.get_queue("Done").task_count == 1


def test_the_own_page_may_call(lonely: Api) -> None:
    response = lonely.http.get("/queues", headers={"Origin": lonely.url})
    assert response.status_code == 200
    assert not [h for h in response.headers if h.startswith("access-control")]


def test_no_preflight_is_answered(lonely: Api) -> None:
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "DELETE"}
    response = lonely.http.options("/queues/Done", headers=headers)
    assert response.status_code == 403
    assert not [h for h in response.headers if h.startswith("access-control")]


def test_an_open_api_is_not_served_to_others(tmp_path: Path) -> None:
    app = dispatcher(tmp_path, api_host="0.0.0.0")
    with pytest.raises(ConfigurationError, match="ATHANORE_API_AUTH=token"), served(app):
        pass


def test_tokens_need_a_key_for_operators() -> None:
    with pytest.raises(ConfigurationError, match="ATHANORE_API_KEY"):
        check_binding(Settings.model_validate({"api_auth": "token"}), "127.0.0.1")
    check_binding(Settings.model_validate({"api_auth": "token", "api_key": "k"}), "0.0.0.0")


def test_any_address_but_no_foreign_name_reaches_a_wildcard() -> None:
    policy = HostPolicy("0.0.0.0", "http://tasks.example:8000")
    assert policy.allows("192.168.1.7:8000") and policy.allows("tasks.example:8000")
    assert not policy.allows("evil.example:8000")
    bound = HostPolicy("192.168.1.7", "http://192.168.1.7:8000")
    assert bound.allows("192.168.1.7:8000") and not bound.allows("192.168.1.8:8000")
