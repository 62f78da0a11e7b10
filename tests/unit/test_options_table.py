"""docs/routes.md lists every option with its true default, and what the code says of it."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path

from athanore import AgentDispatcher
from athanore.routing.options import summary
from athanore.routing.route_options import RouteOptions

PAGE = Path(__file__).parents[2] / "docs" / "routes.md"
HEAD = "| option | default | what it does |\n| --- | --- | --- |\n"


def markdown_rows(schema: type) -> list[str]:
    """A row for each argument of a class of options: name, default, what it does."""
    rows: list[str] = []
    for name, parameter in inspect.signature(schema).parameters.items():
        required = parameter.default is parameter.empty
        default = "required" if required else f"`{parameter.default!r}`"
        rows.append(f"| `{name}` | {default} | {summary(schema, name)} |")
    return rows


def test_the_table_of_a_routes_options_is_what_the_code_says() -> None:
    page = PAGE.read_text()
    before, found, rest = page.partition("## `@dispatcher.route(...)`\n\n" + HEAD)
    assert found
    after = rest[rest.index("\n\n") :]
    wanted = before + found + "\n".join(markdown_rows(RouteOptions)) + after
    if os.environ.get("ATHANORE_TEST_WRITE_OPTIONS"):
        PAGE.write_text(wanted)
    assert PAGE.read_text() == wanted, (
        "The options have changed: run this test with ATHANORE_TEST_WRITE_OPTIONS=1 and commit "
        "docs/routes.md."
    )


def test_every_argument_of_the_dispatcher_is_listed_with_its_default() -> None:
    section = PAGE.read_text().split("## `AgentDispatcher(...)`", 1)[1].split("\n## ", 1)[0]
    listed = dict(re.findall(r"^\| `(\w+)` \| `?(.*?)`? \|", section, re.MULTILINE))
    parameters = inspect.signature(AgentDispatcher).parameters.values()
    named = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
    assert listed == {p.name: repr(p.default) for p in named}
