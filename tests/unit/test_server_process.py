"""What the process of our Prefect server is given."""

from __future__ import annotations

import pytest

from athanore.launch.prefect.server_process import server_environment

pytestmark = pytest.mark.smoke

BASE = {
    "PATH": "/bin",
    "ATHANORE_API_KEY": "operators",
    "ATHANORE_WEBHOOK_TOKEN": "board",
    "PLANKA_TOKEN": "planka",
    "PREFECT_SERVER_API_AUTH_STRING": "user:password",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "true",
}


def test_the_server_has_no_credentials_but_its_own() -> None:
    found = server_environment("127.0.0.1", 4200, BASE, {"PLANKA_TOKEN"})
    assert not {"ATHANORE_API_KEY", "ATHANORE_WEBHOOK_TOKEN", "PLANKA_TOKEN"} & set(found)
    assert found["PREFECT_SERVER_API_AUTH_STRING"] == "user:password"
    assert found["PATH"] == "/bin"


def test_its_settings_may_be_overridden() -> None:
    assert server_environment("127.0.0.1", 1, {})["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert server_environment("127.0.0.1", 1, BASE)["PREFECT_SERVER_ANALYTICS_ENABLED"] == "true"


@pytest.mark.parametrize(
    "name",
    ["WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "UVICORN_WORKERS", "UVICORN_LIMIT_MAX_REQUESTS",
     "UVICORN_SSL_KEYFILE", "UVICORN_PORT"],
)  # fmt: skip
def test_what_is_meant_for_other_servers_does_not_reach_it(name: str) -> None:
    assert name not in server_environment("127.0.0.1", 1, {name: "4"})


def test_each_of_our_defaults_may_be_overridden_and_an_empty_value_is_none() -> None:
    ours = server_environment("127.0.0.1", 1, {})
    assert "PREFECT_UI_API_URL" in ours
    assert server_environment("127.0.0.1", 1, dict.fromkeys(ours, "theirs")) == dict.fromkeys(
        ours, "theirs"
    )
    assert server_environment("127.0.0.1", 1, dict.fromkeys(ours, " ")) == ours
