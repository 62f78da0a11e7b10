"""Which apps a process imports: a run's parameters are written by whoever reaches Prefect."""

from __future__ import annotations

from pathlib import Path

import pytest

from athanore import ConfigurationError
from athanore.flows import apps

APP = """\
from pathlib import Path
from athanore import AgentDispatcher, MemoryAdapter
Path(__file__).with_suffix(".ran").touch()
dispatcher = AgentDispatcher("true", queue_backend=MemoryAdapter(["Todo"]))
"""


@pytest.mark.parametrize("served", ["", "mine.py:dispatcher"])
def test_a_stock_worker_imports_no_other_app(
    served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.py").write_text(APP)
    monkeypatch.setenv("ATHANORE_APP", served)
    with pytest.raises(ConfigurationError, match=r"not the app '.*other.py:dispatcher'"):
        apps.find(f"{tmp_path}/other.py:dispatcher")
    assert not (tmp_path / "other.ran").exists()


def test_a_stock_worker_imports_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_too.py").write_text(APP)
    reference = f"{tmp_path}/mine_too.py:dispatcher"
    monkeypatch.setenv("ATHANORE_APP", f"other.py:dispatcher, {reference}")
    found = apps.find(reference)
    try:
        assert found.reference == reference
    finally:
        apps.unregister(found)
