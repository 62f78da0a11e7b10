"""The changelog gets the date of a release in the heading of that version, and nowhere else."""

from __future__ import annotations

import pytest

from athanore.version import __version__
from deployments.release import CHANGELOG, with_date


def test_the_heading_gets_the_date() -> None:
    text = "# Changelog\n\n## 1.2.0 (not released)\n\n- New.\n\n## 1.1.0 (2026-01-01)\n"
    assert with_date(text, "1.2.0", "2026-11-27") == text.replace("(not released)", "(2026-11-27)")
    with pytest.raises(SystemExit, match=r"no heading '## 1\.3\.0"):
        with_date(text, "1.3.0", "2026-11-27")


def test_the_version_of_the_code_has_a_heading() -> None:
    assert f"## {__version__} (" in CHANGELOG.read_text(encoding="utf-8")
