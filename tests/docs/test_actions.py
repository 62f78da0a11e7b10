"""Log records of Athanore carry a stable `action`, and docs/logs.md lists all of them."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import DOCS, ROOT

PAGE = DOCS / "logs.md"
_LEVELS = ("info", "warning", "error", "exception", "critical", "log")
_ROW = re.compile(r"^\| `\w+` \| .*\|\n", re.MULTILINE)


@dataclass(frozen=True)
class Call:
    """A call of a logger: where it is, what it says, and its action, if it has one."""

    place: str
    level: str
    message: str
    action: str | None


def calls() -> Iterator[Call]:
    """All calls in the package that may log at INFO or above."""
    for file in sorted((ROOT / "athanore").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            of_logger = "log" in ast.unparse(node.func.value).lower()
            if not of_logger or node.func.attr not in _LEVELS or not node.args:
                continue
            varies = node.func.attr == "log"
            message = node.args[1] if varies else node.args[0]
            level = {"exception": "error", "log": "info"}.get(node.func.attr, node.func.attr)
            yield Call(
                f"{file.relative_to(ROOT)}:{node.lineno}",
                level.upper(),
                str(message.value) if isinstance(message, ast.Constant) else ast.unparse(message),
                _action(node),
            )


def _action(call: ast.Call) -> str | None:
    for keyword in call.keywords:
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict):
            for key, value in zip(keyword.value.keys, keyword.value.values, strict=True):
                named = isinstance(key, ast.Constant) and key.value == "action"
                if named and isinstance(value, ast.Constant):
                    return str(value.value)
    return None


def test_each_log_call_has_an_action() -> None:
    found = list(calls())
    assert len(found) > 50
    without = [c.place for c in found if not re.fullmatch(r"[a-z]+(_[a-z]+)*", c.action or "")]
    assert not without, f'give these extra={{"action": "..."}}: {", ".join(without)}'


def test_the_actions_are_listed() -> None:
    rows: dict[str, set[tuple[str, str]]] = {}
    for call in calls():
        said = " ".join(re.sub(r"%[^%\s]*?[sdrgf]", "...", call.message).split()).replace("|", "/")
        rows.setdefault(str(call.action), set()).add(
            (call.level, "its own words" if said == "..." else said)
        )
    wanted = "".join(
        f"| `{action}` | {', '.join(sorted({level for level, _ in said}))} | "
        f"{'; '.join(sorted(text for _, text in said))} |\n"
        for action, said in sorted(rows.items())
    )
    page = PAGE.read_text()
    if os.environ.get("ATHANORE_TEST_WRITE_ACTIONS"):
        head, tail = page[: _first(page)], _ROW.sub("", page[_first(page) :])
        PAGE.write_text(head + wanted + tail)
    assert "".join(_ROW.findall(PAGE.read_text())) == wanted, (
        "The actions have changed: run this test with ATHANORE_TEST_WRITE_ACTIONS=1 and commit "
        f"{Path('docs') / PAGE.name}."
    )


def _first(page: str) -> int:
    """Where the rows begin: after the line under the heading of the table."""
    return page.index("| --- |") + len(page[page.index("| --- |") :].split("\n", 1)[0]) + 1
