"""What was seen of real agents has tests: with recorded lines, and with the real program."""

from __future__ import annotations

import tomllib

from tests.docs.test_no_case_lost import TESTS, names_in

AGENTS = ["acp", "claude", "codex", "gemini", "opencode", "qwen"]


def test_each_case_has_a_test_in_the_gate_and_one_at_night_or_a_reason() -> None:
    table = tomllib.loads((TESTS / "agent_cases.toml").read_text(encoding="utf-8"))
    assert sorted(table) == AGENTS
    lost: list[str] = []
    for agent, cases in table.items():
        for case, shown in cases.items():
            assert shown["gate"], (agent, case)
            assert bool(shown.get("night")) != bool(shown.get("why")), (agent, case)
            for test in (*shown["gate"], *shown.get("night", ())):
                file, _, name = test.partition("::")
                path = TESTS.parent / file
                if not path.is_file() or (name and name not in names_in(path)):
                    lost.append(test)
    assert not lost, "say in tests/agent_cases.toml what became of: " + ", ".join(lost)
