"""What `athanore doctor` says of what is installed."""

from __future__ import annotations

import pytest

from athanore.launch.doctor import Level, judge_prefect


@pytest.mark.parametrize("version", ["3.8.8", "3.9.1", "3.9.0rc1"])
def test_a_prefect_that_fits_is_no_finding(version: str) -> None:
    assert judge_prefect(version) is None


@pytest.mark.parametrize("version", ["2.20.1", "3.7.4", "3.10.0", "3.80.0"])
def test_a_prefect_that_does_not_fit_is_told_with_those_that_do(version: str) -> None:
    found = judge_prefect(version)
    assert found is not None
    assert found.level is Level.FAIL
    assert found.says == f"version {version} is installed; Athanore is tested with 3.8 and 3.9."
