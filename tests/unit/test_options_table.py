"""docs/routes.md lists every option with its true default."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from athanore import AgentDispatcher
from athanore.api.routers.routes import RouteModel
from athanore.runtime.definitions import RouteOptions

PAGE = Path(__file__).parents[2] / "docs" / "routes.md"


def table(heading: str) -> dict[str, str]:
    """The options of one section and what the page says their defaults are."""
    section = PAGE.read_text().split(f"## `{heading}`", 1)[1].split("\n## ", 1)[0]
    return dict(re.findall(r"^\| `(\w+)` \| `?(.*?)`? \|", section, re.MULTILINE))


@pytest.mark.parametrize(
    ("heading", "function"),
    [("@dispatcher.route(...)", AgentDispatcher.route), ("AgentDispatcher(...)", AgentDispatcher)],
)
def test_every_option_is_listed_with_its_default(
    heading: str, function: Callable[..., Any]
) -> None:
    parameters = [p for n, p in inspect.signature(function).parameters.items() if n != "self"]
    expected = {p.name: "required" if p.default is p.empty else repr(p.default) for p in parameters}
    assert table(heading) == expected


def test_every_option_can_be_said_and_read_over_http() -> None:
    options = set(inspect.signature(AgentDispatcher.route).parameters) - {"self", "queue_name"}
    assert set(RouteOptions.model_fields) == (options - {"agent"}) | {"prompt"}
    assert options <= set(RouteModel.model_fields)
