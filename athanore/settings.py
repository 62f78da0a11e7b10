"""Settings from the environment (ATHANORE_*) and `.env`: defaults for what a script does not say.

An explicit argument of `AgentDispatcher` wins over a setting.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

type LogFormat = Literal["auto", "text", "json"]

_PREFIX = "ATHANORE_"
_LONGEST = 10 * 365 * 24 * 3600
_SHOWN = 100


def trimmed(secret: object) -> object:
    """A secret without blanks and newlines round it, which no header can carry; None if empty."""
    return (secret.strip() or None) if isinstance(secret, str) else secret


_Seconds = Annotated[float, Field(le=_LONGEST)]
_Secret = Annotated[SecretStr | None, BeforeValidator(trimmed)]


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("there is no such time zone; write it as Europe/Berlin") from None
    return name


_TimeZone = Annotated[str, AfterValidator(_time_zone)]


type Reload = Literal["ask", "auto", "auto-insecurely"]
"""What becomes of a changed run.py; insecurely: also where agents can write it."""


class Settings(BaseSettings):
    """Everything that can be set from outside a script; durations are seconds."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore"
    )

    command: str = Field("", description="Base command of all routes.")
    poll_interval: _Seconds = Field(30, gt=0, description="Seconds between polls of a queue.")
    agent_timeout: _Seconds | None = Field(
        None, gt=0, description="Seconds that an agent may run; none by default."
    )
    max_concurrent_agents: int = Field(3, ge=1, description="Agents at once, over all routes.")
    max_retries: int = Field(0, ge=0, description="Attempts after the first.")
    dead_letter_queue: str | None = Field(None, description="Where exhausted tasks go.")
    enable_queue_management: bool = Field(
        False, description="Allow the API to change queues and routes."
    )

    max_cost_usd: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Dollars that an attempt may cost."
    )
    max_tokens: int | None = Field(None, ge=1, description="Tokens that an attempt may use.")
    task_max_cost_usd: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Dollars that a task may cost, on all routes."
    )
    task_max_tokens: int | None = Field(None, ge=1, description="Tokens that a task may use.")
    day_max_cost_usd: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Dollars that a route may cost in a day."
    )
    day_max_tokens: int | None = Field(
        None, ge=1, description="Tokens that a route may use in a day."
    )
    budget_time_zone: _TimeZone = Field(
        "UTC", description="Where midnight is counted, for budgets of a day: `Europe/Berlin`."
    )

    api_host: str = Field("127.0.0.1", description="Address that the task API binds.")
    api_port: int = Field(8000, ge=0, le=65535, description="Port of the task API; 0 picks one.")
    api_url: str | None = Field(
        None, description="Address under which agents reach the task API; from host and port."
    )
    api_auth: Literal["open", "token"] = Field(
        "open", description="`token` asks every caller of the API for a token."
    )
    api_key: _Secret = Field(None, description="Operators' key for the task API.")
    webhook_token: _Secret = Field(
        None, min_length=8, description="Secret of the board's webhooks; none: they are off."
    )

    notify_webhook_url: _Secret = Field(
        None,
        description="Address that is told of questions, of what agents are done with, dead "
        "letters, pauses, and workers lost or back.",
    )
    notify_webhook_secret: _Secret = Field(
        None, min_length=8, description="Secret that these deliveries are signed with."
    )

    log_format: LogFormat = Field(
        "auto", description="Log to stderr as `text`, `json`, or `auto`: live on a terminal."
    )
    reload: Reload = Field(
        "ask",
        description="`auto` takes a changed run.py over by itself; `auto-insecurely` also where "
        "agents can write it; else it is announced.",
    )
    shutdown_grace: _Seconds = Field(
        30, ge=0, description="Seconds that running agents get to finish at a shutdown."
    )
    worker_limit: int | None = Field(
        None, ge=1, description="Agents at once on one worker; no limit of its own by default."
    )
    min_free_memory: int = Field(
        0, ge=0, description="Megabytes of free memory below which a worker starts no agent."
    )
    min_free_disk: int = Field(
        0, ge=0, description="Megabytes of free disk below which a worker starts no agent."
    )
    host_labels: str = Field(
        "", description="What kind of host a worker is on, separated by commas: `macos,big`."
    )
    worker_lost_after: _Seconds = Field(
        600, gt=0, description="Seconds without a sign of life after which a worker is lost."
    )

    @property
    def signing_key(self) -> bytes | None:
        """The operators' key, with which what is kept in Prefect is signed; None without one."""
        return None if self.api_key is None else self.api_key.get_secret_value().encode()

    @property
    def labels(self) -> tuple[str, ...]:
        """`host_labels` apart, each once."""
        found = (label.strip() for label in self.host_labels.split(","))
        return tuple(dict.fromkeys(label for label in found if label))

    @property
    def budget_zone(self) -> ZoneInfo:
        """`budget_time_zone` as a time zone."""
        return ZoneInfo(self.budget_time_zone)

    @property
    def lost_after(self) -> timedelta:
        """`worker_lost_after` as a duration."""
        return timedelta(seconds=self.worker_lost_after)

    def agent_api_url(self, host: str, port: int) -> str:
        """The address that agents are told: `api_url`, or one made from the bound host and port."""
        if self.api_url:
            return self.api_url.rstrip("/")
        reachable = "127.0.0.1" if host in ("0.0.0.0", "", "::") else host
        return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


NO_SECRET = (
    "ATHANORE_NOTIFY_WEBHOOK_URL is set without ATHANORE_NOTIFY_WEBHOOK_SECRET, with which "
    "deliveries are signed; set it to a long random text, there and here."
)


def seconds(value: float | None) -> timedelta | None:
    """A duration from a number of seconds; None stays None."""
    return None if value is None else timedelta(seconds=value)


def explain(error: ValidationError, given: Mapping[str, object]) -> str:
    """Say in one line which values are wrong: of which variable, or of which argument in `given`.

    The value of a secret is not shown.
    """
    said: list[str] = []
    for found in error.errors():
        option = ".".join(str(part) for part in found["loc"])
        name = option if option in given else _PREFIX + option.upper()
        value = "..." if option in _SECRETS else _in_short(found["input"])
        said.append(f"{name}={value}: {found['msg']}")
    return "; ".join(said)


def _in_short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def explain_prefect(error: ValueError | RuntimeError) -> str | None:
    """Say in one line which of Prefect's variables is wrong; None for any other error.

    Prefect reads its settings when it is imported, and its errors name no variable.
    """
    if isinstance(error, ValidationError) and error.title.endswith("Settings"):
        return "; ".join(_prefect_value(str(f["loc"][-1]), f["msg"]) for f in error.errors())
    if isinstance(error, SettingsError) and (field := re.search(r'field "(\w+)"', str(error))):
        return _prefect_value(field[1], "it must be JSON")
    if "home directory" in str(error):
        return "There is no home directory: set HOME, for Prefect's folder and others'."
    return None


def _prefect_value(field: str, message: str) -> str:
    """What is wrong with a field of Prefect's settings, by the name of the variable."""
    for name, value in os.environ.items():
        if name.startswith("PREFECT_") and name.lower().endswith(f"_{field.lower()}"):
            shown = "..." if re.search("KEY|AUTH|PASSWORD|SECRET|TOKEN|HEADERS", name) else value
            return f"{name}={shown!r}: {message}"
    return f"Prefect's setting {field}: {message}"


_SECRETS = ("api_key", "notify_webhook_secret", "notify_webhook_url", "webhook_token")
