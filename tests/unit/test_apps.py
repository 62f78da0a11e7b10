"""Whose a run is, which its app's name tells, and which apps a process imports.

Where an app's file was, and is now, is no part of its identity; and a run's parameters are written
by whoever reaches Prefect.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from athanore import AgentDispatcher, ConfigurationError, MemoryAdapter
from athanore.runtime.apps import App
from athanore.runtime.registry import registry

APP = """\
from pathlib import Path
from athanore import AgentDispatcher, MemoryAdapter
Path(__file__).with_suffix(".ran").touch()
dispatcher = AgentDispatcher(
    "true", name="unit-" + Path(__file__).stem, queue_backend=MemoryAdapter(["Todo"])
)
"""


@pytest.fixture
def lab() -> Iterator[App]:
    """An app of this process."""
    app = App("run.py:dispatcher", AgentDispatcher(name="unit-lab", queue_backend=MemoryAdapter()))
    registry.register(app)
    yield app
    registry.unregister(app)


@pytest.mark.parametrize("served", ["", "mine.py:dispatcher"])
def test_a_stock_worker_imports_no_other_app(
    served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.py").write_text(APP)
    monkeypatch.setenv("ATHANORE_APP", served)
    with pytest.raises(ConfigurationError, match=r"not the app '.*other.py:dispatcher'"):
        registry.find(f"{tmp_path}/other.py:dispatcher")
    assert not (tmp_path / "other.ran").exists()


def test_a_stock_worker_imports_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_too.py").write_text(APP)
    reference = f"{tmp_path}/mine_too.py:dispatcher"
    monkeypatch.setenv("ATHANORE_APP", f"other.py:dispatcher, {reference}")
    found = registry.find(reference)
    try:
        assert found.reference == reference
    finally:
        registry.unregister(found)


def test_a_run_is_found_by_its_apps_name_wherever_the_file_is(lab: App) -> None:
    assert registry.of_run(["athanore", "app:unit-lab"], "old/place.py:app") is lab


def test_a_run_of_another_app_is_not_served_though_its_file_is_called_the_same(
    lab: App,
) -> None:
    assert registry.serving(["app:unit-other"], lab.reference) is None


def test_a_stock_worker_finds_its_app_after_the_file_was_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "renamed.py").write_text(APP)
    monkeypatch.setenv("ATHANORE_APP", f"{tmp_path}/renamed.py:dispatcher")
    found = registry.of_run(["app:unit-renamed"], "run.py:dispatcher")
    try:
        assert found.name == "unit-renamed"
        with pytest.raises(ConfigurationError, match=r"serves 'unit-renamed' .* app 'unit-gone'"):
            registry.of_run(["app:unit-gone"], "run.py:dispatcher")
    finally:
        registry.unregister(found)
