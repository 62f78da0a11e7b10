"""Where agents differ that speak the protocol: modes, usage, and what their errors mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

from athanore.agent_adapters.cli import rollout
from athanore.agent_adapters.cli.gemini import signing
from athanore.agent_adapters.cli.opencode_waits import told
from athanore.agent_adapters.cli.preset import Noted
from athanore.agent_adapters.cli.reader import failure
from athanore.models import AgentOutcome, AgentResult, Fault, FaultKind

type Json = Mapping[str, Any]

_AUTHENTICATION = -32000
_STATUSES: Mapping[object, int] = MappingProxyType(
    {
        "rate_limit": 429,
        "usageLimitExceeded": 429,
        "limit": 429,
        "authentication": 401,
        "unauthorized": 401,
        "invalid_request": 400,
        "request": 400,
        "contextWindowExceeded": 400,
    }
)
"""What agents call kinds of errors, as the status that their providers answer."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How an agent speaks.

    Attributes:
        mode: the mode to begin with, where its own is of no use to an agent that nobody watches.
        tells_cost: its usage updates have dollars, of the whole session.
        tells_tokens: the answer to a prompt has tokens.
        refusal: what the output of a failed tool says if it was not allowed, where the agent itself
            or its sandbox refuses without asking.
        noise: lines of its standard error that tell people nothing.
        prepare: adds to its environment what it needs and has to be found out.
        noted: finds what the agent has written down of usage limits, from its environment and the
            session.
        homes: the variables that may name the folder in which it keeps sessions, before HOME.
        guards_git: its sandbox keeps `.git` from being written, unless that is named.
    """

    mode: str | None = None
    tells_cost: bool = False
    tells_tokens: bool = False
    refusal: re.Pattern[str] | None = None
    noise: re.Pattern[str] | None = None
    prepare: Callable[[Mapping[str, str]], Mapping[str, str]] = lambda env: env
    noted: Callable[[Mapping[str, str], str], Noted] | None = None
    homes: tuple[str, ...] = ()
    guards_git: bool = False


_DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        # Its own mode, `auto`, refuses tools; in `default` it asks, and the adapter answers.
        "claude": Dialect(
            mode="default",
            tells_cost=True,
            tells_tokens=True,
            noise=re.compile(
                r"\[(?:session/\w+|idle-compaction)\] |Failed to read the skill files"
            ),
            homes=("CLAUDE_CONFIG_DIR",),
        ),
        # Its own mode, `agent`, has a model review what it would ask; in this one it asks.
        "codex": Dialect(
            mode="workspace-write",
            tells_tokens=True,
            refusal=re.compile(r"Read-only file system|Status: Denied"),
            noted=rollout.noted,
            homes=("CODEX_HOME",),
            guards_git=True,
        ),
        # The tokens of its answer are those of the last call only.
        "opencode": Dialect(tells_cost=True, prepare=told, homes=("XDG_DATA_HOME",)),
        "gemini": Dialect(mode="default", prepare=signing),
        "qwen": Dialect(mode="default"),
    }
)


def dialect_of(agent: str) -> Dialect:
    """How an agent of this name speaks (its own name, or that of its program)."""
    found = (d for name, d in _DIALECTS.items() if name in agent.lower())
    return next(found, Dialect(tells_cost=True, tells_tokens=True))


def is_known(agent: str) -> bool:
    """Tell whether the table has an agent of this name."""
    return any(name in agent.lower() for name in _DIALECTS)


def typed_failure(meta: object) -> AgentResult | None:
    """The failure in the `_meta` of an answer that otherwise looks like a success.

    It is an extension of one vendor, which agents use when a client asks for it.
    """
    found = _object(
        _object(_object(_object(meta).get("jetbrains")).get("air")).get("sessionFailure")
    )
    if not found or found.get("severity") == "warning":
        return None
    text = str(found.get("title") or found.get("category") or "the agent ended in an error")
    return failure(text, None, status=_STATUSES.get(found.get("category")))


def failed_request(code: int, message: str, data: object) -> AgentResult:
    """What an error means by which an agent answers a request."""
    details = _object(data)
    kind = details.get("errorKind") or details.get("codexErrorInfo")
    words = details.get("message") or details.get("details") or message
    text = str(words).removeprefix("Internal error: ") if words else "the agent ended in an error"
    if code == _AUTHENTICATION:
        fault = Fault(FaultKind.ENVIRONMENT, text=text)
        return AgentResult(AgentOutcome.FAILED, text, retryable=False, fault=fault)
    status = code if 400 <= code < 600 else None
    if isinstance(kind, str):
        status = _STATUSES.get(kind, status)
    return failure(text, None, status=status)


def _object(value: object) -> Json:
    return cast(Json, value) if isinstance(value, Mapping) else {}
