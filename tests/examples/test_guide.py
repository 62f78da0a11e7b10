"""The guide for adapter authors shows the example as it is, and its test works."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

from athanore.queue_adapters import base, quota, typed_ids, whole_board
from athanore.testing import QueueAdapterContract

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "adapters.md").read_text()
EXAMPLE = ROOT / "examples" / "custom_adapter"
BLOCKS = re.findall(r"^```python\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


def test_its_code_is_the_examples() -> None:
    files = ("sqlite_adapter.py", "run.py")
    assert BLOCKS[: len(files)] == [(EXAMPLE / name).read_text() for name in files]


def test_its_test_is_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(EXAMPLE), *sys.path])
    script = tmp_path / "test_mine.py"
    script.write_text(next(block for block in BLOCKS if "QueueAdapterContract" in block))
    assert issubclass(runpy.run_path(str(script))["TestSqliteAdapter"], QueueAdapterContract)


def test_its_extras_are_all_there_are() -> None:
    told = re.findall(
        r"^\| `((?:Has|Supports)\w+)`(?: \(`\w+.py`\))? \| `(\w+)", GUIDE, re.MULTILINE
    )
    modules = (base, quota, typed_ids, whole_board)
    known = {name: kind for module in modules for name, kind in vars(module).items()}
    extras = {name for name in known if name.startswith(("Has", "Supports"))}
    assert {name for name, _ in told} == extras - {"Hashable"}
    for name, member in told:
        assert hasattr(known[name], member), name
