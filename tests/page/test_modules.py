"""The scripts of the page fit together, and their rules hold; no browser is needed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import athanore
from athanore.models import EventKind

STATIC = Path(athanore.__file__).parent / "api/page/web/static"
MODULES = {path.name: path.read_text(encoding="utf-8") for path in STATIC.glob("*.js")}
IMPORT = re.compile(r'^import \{ ([^}]+) \} from "\./([\w.]+)";$', re.MULTILINE)
EXPORT = re.compile(r"^export (?:async )?(?:function\*? |const |class )([\w$]+)", re.MULTILINE)


def test_what_a_module_imports_is_exported_and_used() -> None:
    assert len(MODULES) > 10
    used: set[tuple[str, str]] = set()
    for name, text in MODULES.items():
        found = IMPORT.findall(text)
        assert len(found) == len(re.findall(r"^import", text, re.MULTILINE)), name
        body = IMPORT.sub("", text).replace("...", " ")
        for words, source in found:
            exported = EXPORT.findall(MODULES[source])
            for word in words.split(", "):
                assert word in exported, f"{name}: {source} has no {word}"
                assert re.search(rf"(?<![\w.]){re.escape(word)}(?!\w)", body), f"{name}: {word}"
                used.add((source, word))
    every = {(name, word) for name, text in MODULES.items() for word in EXPORT.findall(text)}
    alone = {(name, word) for name, word in every - used if word not in _tested()}
    assert alone == set()


def _tested() -> str:
    return "\n".join(p.read_text(encoding="utf-8") for p in Path(__file__).parent.glob("*.mjs"))


def test_modules_are_short_and_set_texts_only_as_text() -> None:
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|\.style\b"
    for name, text in MODULES.items():
        assert len(text.splitlines()) <= 400, name
        assert re.findall(ways, text) == [], name
        assert re.findall(r"https?://", text) == [], name


def test_the_transcript_tells_each_kind_of_event() -> None:
    told = set(re.findall(r'case "([\w-]+)":', MODULES["words.js"]))
    heads = {EventKind.CLAIMED, EventKind.STARTED}  # the chapter's heading says the first
    assert told == {str(kind) for kind in EventKind} - heads


def test_rules_of_modules_hold() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js; the browser's tests see the most of it, too")
    tests = sorted(str(path) for path in Path(__file__).parent.glob("*.test.mjs"))
    done = subprocess.run([node, "--test", *tests], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
