"""What becomes of texts on their way to GitLab, and that they come back as they were."""

from __future__ import annotations

import pytest

from athanore.queue_adapters.gitlab.adapter import GitLabAdapter
from athanore.queue_adapters.gitlab.texts import TEXTS
from athanore.queue_adapters.tracker.texts import new_mark
from athanore.testing.doubles.gitlab import GitLabDouble

WRITTEN = [
    "@ada, please look; cc @octo-group/team.",
    "/close",
    "First:\n/label ~urgent\n  /assign @ada\n/usr/bin/env is a path",
    "```\n/close\n```\nand\n/close",
    "```\n/close\nthis fence is never closed",
    "~~~\n/reopen\n~~~",
    "`/close` and a/b",
    "  indented, with a tail \n\n",
    "Größe: 3 µm, 完了 🚀",
]


@pytest.mark.parametrize("text", WRITTEN)
def test_a_text_comes_back_as_it_was_and_commands_nothing(
    gitlab: GitLabDouble, adapter: GitLabAdapter, text: str
) -> None:
    mark = new_mark()
    assert TEXTS.read(TEXTS.body(text, mark)) == (text, mark)
    task = adapter.create_task("Todo", "a", text)
    adapter.add_comment(task.id, text)
    adapter.update_task(task.id, description=text)
    now = adapter.get_task(task.id)
    assert (now.description, [c.text for c in now.comments]) == (text, [text])
    assert gitlab.state.commands == []
    assert gitlab.state.issue(1)["state"] == "opened"
    if "@ada" in text:
        assert "@ada" not in gitlab.notes(1)[0]


def test_the_double_obeys_commands(gitlab: GitLabDouble, adapter: GitLabAdapter) -> None:
    gitlab.issue("a", "agent::Todo", text="/close\n```\n/lock\n```")
    assert gitlab.state.commands == ["/close"]


def test_system_notes_are_no_comments(gitlab: GitLabDouble, adapter: GitLabAdapter) -> None:
    row = gitlab.issue("a", "agent::Todo", text="one\r\n- [ ] two")
    gitlab.state.add_note(row, "ada", "assigned to @ada", system=True)
    gitlab.state.add_note(row, "ada", "three\r\nfour")
    task = adapter.get_task("1")
    assert [(c.text, c.author) for c in task.comments] == [("three\nfour", "ada")]
    assert [(item.name, item.is_completed) for item in task.tasks] == [("two", False)]


def test_long_and_odd_texts_reach_the_board(gitlab: GitLabDouble, adapter: GitLabAdapter) -> None:
    task = adapter.create_task("Todo", "a\x00b\ud800" + "c" * 300, "d" * 1_100_000)
    adapter.add_comment(task.id, "nul: \x00, alone: \udfff " + "e" * 1_100_000)
    now = adapter.get_task(task.id)
    assert now.name.startswith("a\ufffdb\ufffdccc")
    assert now.description.endswith("more cut]")
    assert now.comments[0].text.startswith("nul: \ufffd, alone: \ufffd eee")
