"""Which tests run when: the gate that every change passes, and the rest, which runs at night.

What is marked `nightly` is the rest (`make test-nightly`); everything else is the gate
(`make test`). So each test belongs to exactly one of the two. `make check`, for a look
after each change, runs the fast folders of the gate without the files of `SLOW`.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

MARKS = {
    "nightly": "runs at night, not before every merge",
    "postgres": "runs on SQLite, and at night on PostgreSQL as well",
    "smoke": "one of the few that run on the oldest supported versions as well",
    "slow": "in a file of `SLOW`, which `make check` leaves out; set by itself",
}

NO_RERUNS = ("unit", "contract", "api")
"""Folders whose tests fail when they fail once, whatever --reruns says."""

LONGEST_FIRST = (
    "integration/test_lease_table.py",
    "acceptance/test_pipelines.py",
    "integration/test_text_boundaries.py",
    "acceptance/test_people_in_the_loop.py",
    "acceptance/test_approve_publishing.py",
    "integration/test_interrupted.py",
    "integration/test_automations.py",
    "integration/test_outage.py",
    "integration/test_clock.py",
    "acceptance/test_story.py",
    "integration/test_claude_agent.py",
    "integration/test_prefect_yaml.py",
    "integration/test_retries.py",
    "integration/test_limits.py",
    "api/test_openapi.py",
    "browser/test_board_page.py",
    "integration/test_chaos.py",
    "integration/test_versions.py",
    "integration/test_recovery.py",
    "cli/test_tasks.py",
    "cli/test_starting.py",
    "integration/test_nasty.py",
    "integration/test_deploy.py",
    "examples/test_examples.py",
    "integration/test_stopping.py",
    "acceptance/test_demo.py",
)
"""The files that take longest, most of them by waiting. Begun first, they do not end alone."""

SLOW = (
    "docs/test_agent_cases.py",
    "docs/test_no_case_lost.py",
    "docs/test_no_fault_lost.py",
    "docs/test_pages.py",
    "unit/test_accounts.py",
    "unit/test_acp_agent.py",
    "unit/test_approve_publishing.py",
    "unit/test_attempts.py",
    "unit/test_cli_agent.py",
    "unit/test_control_groups.py",
    "unit/test_early_page.py",
    "unit/test_ending.py",
    "unit/test_folders_kept_small.py",
    "unit/test_git_calls.py",
    "unit/test_git_workspace.py",
    "unit/test_inherited.py",
    "unit/test_interrupted_script.py",
    "unit/test_lfs.py",
    "unit/test_linear_patterns.py",
    "unit/test_mcp_extra.py",
    "unit/test_mutations.py",
    "unit/test_names.py",
    "unit/test_newest_base.py",
    "unit/test_outgoing.py",
    "unit/test_own_prefect.py",
    "unit/test_ownership.py",
    "unit/test_planted.py",
    "unit/test_private_repositories.py",
    "unit/test_prompt_template.py",
    "unit/test_python_agent.py",
    "unit/test_record.py",
    "unit/test_reloading.py",
    "unit/test_restarting.py",
    "unit/test_shared_work.py",
    "unit/test_subprocess_agent.py",
    "unit/test_supervisor.py",
    "unit/test_terminal.py",
    "unit/test_transport.py",
    "unit/test_unchanged_polls.py",
    "unit/test_waits_elsewhere.py",
    "unit/test_wrong_values.py",
)
"""Files of fast folders that start many processes or servers, or go through very much."""

_HERE = Path(__file__).parent


class Gates:
    """The part of pytest that knows the gates."""

    def __init__(self, config: pytest.Config) -> None:
        self._tests: dict[str, set[str]] = {}
        for mark, meaning in MARKS.items():
            config.addinivalue_line("markers", f"{mark}: {meaning}")

    def pytest_ignore_collect(self, collection_path: Path, config: pytest.Config) -> bool | None:
        """Do not even import the files of `SLOW` where they are left out."""
        left_out = "not slow" in config.option.markexpr and _named(collection_path) in SLOW
        return True if left_out else None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None]:
        """Put the longest files first where several processes share them; mark what is slow."""
        repeats = config.getoption("reruns", None) is not None
        _send_at_once(config)
        for item in items:
            if repeats and not may_be_repeated(_path(item)):
                item.add_marker(pytest.mark.flaky(reruns=0))
            if _path(item) in SLOW:
                item.add_marker("slow")
        yield
        # Last: pytest itself puts together what has the same parameter of a session's fixture.
        if hasattr(config, "workerinput"):
            items.sort(key=_place)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test's marks."""
        self._tests[report.nodeid] = {mark for mark in MARKS if mark in report.keywords}

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print how many tests were run of each mark."""
        if self._tests:
            terminalreporter.write_line(tally(list(self._tests.values())))


def tally(tests: list[set[str]]) -> str:
    """How many tests have each mark, in words."""
    marks = Counter(mark for test in tests for mark in test)
    gate = sum("nightly" not in test for test in tests)
    counts = ", ".join(f"{mark} {marks[mark]}" for mark in MARKS)
    return f"Tests by mark: gate {gate}, {counts}."


def may_be_repeated(path: str) -> bool:
    """Tell whether a test that failed may be tried again; `path` is relative to this folder."""
    return path.split("/")[0] not in NO_RERUNS


def _send_at_once(config: pytest.Config) -> None:
    """Do not wait 40 ms for each test.

    With `--reruns` pytest-rerunfailures writes to the controller twice and then reads, and
    the second write waited for the delayed acknowledgement of the first.
    """
    connection = getattr(getattr(config, "failures_db", None), "sock", None)
    if connection is not None and hasattr(config, "workerinput"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _path(item: pytest.Item) -> str:
    return _named(item.path)


def _named(path: Path) -> str:
    return path.relative_to(_HERE).as_posix() if path.is_relative_to(_HERE) else path.as_posix()


def _place(item: pytest.Item) -> int:
    path = _path(item)
    return LONGEST_FIRST.index(path) if path in LONGEST_FIRST else len(LONGEST_FIRST)
