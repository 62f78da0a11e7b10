"""What becomes of texts on their way to GitHub, and that they come back as they were."""

from __future__ import annotations

import time

import pytest

from athanore.queue_adapters.github.adapter import GitHubAdapter
from athanore.queue_adapters.github.texts import TEXTS as GITHUB
from athanore.queue_adapters.tracker.checklists import checklist
from athanore.queue_adapters.tracker.texts import new_mark
from athanore.testing.doubles.github import GitHubDouble

TEXTS = [
    "@octocat, please look; cc @octo-org/team.",
    "Fixes #12, closes: octo-org/website#3 and resolved https://github.com/o/r/issues/4.",
    "Run `@pytest.fixture` and ask me@example.org",
    "```python\n@dataclass\nclass A: ...  # fixes #1\n```\nAnd @grace.",
    "~~~\n@here\n~~~",
    "  indented, with a tail \n\n",
    "<!-- a comment of its own -->",
    "Größe: 3 µm, 完了 🚀",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_comes_back_as_it_was(text: str) -> None:
    mark = new_mark()
    assert GITHUB.read(GITHUB.body(text, mark)) == (text, mark)
    assert GITHUB.read(GITHUB.body(text)) == (text, None)


def test_people_are_not_notified_and_issues_not_closed() -> None:
    first, second, third, fourth, *_ = map(GITHUB.body, TEXTS)
    assert "@octocat" not in first
    assert "@octo-org" not in first
    for word in ("Fixes #12", "closes: octo", "resolved https"):
        assert word not in second
    assert "#12" in second, "a reference is of use"
    assert third == TEXTS[2], "neither code nor an address is a mention"
    assert "\n@dataclass\nclass A: ...  # fixes #1\n" in fourth
    assert "@grace" not in fourth


NOTIFIES = [
    "Begin with ``` and end. @octocat",
    "```x``` @octocat\n```",
    "a ~~~ b\n\n@octocat",
    "````\n```\n````\n@octocat",
    "```\n~~~\n```\n@octocat\n~~~",
    "`` ` `` @octocat `x`",
    "`a\nb` @octocat `c`",
    "A stray ` here.\n\n@octocat `x`",
    r"\`@octocat\`",
    "x `a` @octocat `b`",
    "- a stray ` here\n- @octocat, ask ` there",
    "1. a stray ` here\n2. @octocat, ask ` there",
    "A stray ` here\n# @octocat, ask ` there",
    "# A stray ` here\n@octocat, ask ` there",
    "A stray ` here\n> @octocat, ask ` there",
    "> A stray ` here\n>\n> @octocat, ask ` there",
    "> A stray ` here\n> > @octocat, ask ` there",
    "| a ` |\n| --- |\n| @octocat ` |",
    "a ` | b\n--- | ---\n@octocat ` | c",
    "In `2\n3. parts` @octocat `x`",
    "Of `this\n#12 and` @octocat `x`",
]
MEANS_CODE = [
    "```\n@octocat",
    "  ~~~~ py\n@octocat\n~~~\n@octocat\n~~~~",
    "> ```\n> @octocat\n> ```",
    "`` @octocat ` ``",
    "`@octocat\nand` more",
    "- `@octocat`\n- `a` and `@octocat`\n# `@octocat`",
    "- stray ` here\n- ``@octocat``",
    "> one `@octocat\n> and` more",
    "````\n```\n@octocat\n````",
]


@pytest.mark.parametrize("text", NOTIFIES)
def test_what_is_no_code_notifies_nobody(text: str) -> None:
    assert "@octocat" not in GITHUB.body(text)
    assert GITHUB.read(GITHUB.body(text))[0] == text


@pytest.mark.parametrize("text", MEANS_CODE)
def test_code_stays_as_it_was_written(text: str) -> None:
    assert GITHUB.body(text) == text


@pytest.mark.parametrize("part", ["`", "```\n", "~~~x\n", "`a", "\\", "``\n\n", "`" * 9, "```` `"])
def test_odd_texts_are_read_in_no_time(part: str) -> None:
    began = time.process_time()
    GITHUB.body(part * (60_000 // len(part)))
    GITHUB.body("".join("`" * n + " " for n in range(300)))
    assert time.process_time() - began < 5


def test_a_text_that_is_too_long_is_cut_with_a_remark() -> None:
    long = "@x " * 40_000
    body = GITHUB.body(long, new_mark())
    assert len(body) <= GITHUB.longest_text
    assert "more cut]\n\n<!-- athanore:" in body
    title = GITHUB.title("n" * 300)
    assert len(title) <= GITHUB.longest_title
    assert title.endswith("more cut]")
    assert GITHUB.title("two\r\n lines ") == "two lines"


def test_long_and_odd_texts_reach_the_board(github: GitHubDouble, adapter: GitHubAdapter) -> None:
    task = adapter.create_task("Todo", "a\x00b\ud800" + "c" * 300, "d" * 70_000)
    adapter.add_comment(task.id, "nul: \x00, alone: \udfff " + "e" * 70_000)
    now = adapter.get_task(task.id)
    assert now.name.startswith("a\ufffdb\ufffdccc")
    assert now.name.endswith("more cut]")
    assert now.description.endswith("more cut]")
    assert now.comments[0].text.startswith("nul: \ufffd, alone: \ufffd eee")
    changed = adapter.update_task(task.id, name="f" * 400, description="g\x00" + "h" * 70_000)
    assert changed.description.startswith("g\ufffdhhh")


def test_what_people_write_is_read_with_plain_line_ends(
    github: GitHubDouble, adapter: GitHubAdapter
) -> None:
    number = github.issue("a", "agent:Todo", body="one\r\n\r\n- [ ] two")["number"]
    github.state.add_comment(github.state.issue(number), "octocat", "three\r\nfour")
    task = adapter.get_task(str(number))
    assert task.description == "one\n\n- [ ] two"
    assert [(c.text, c.author) for c in task.comments] == [("three\nfour", "octocat")]
    assert [(item.name, item.is_completed) for item in task.tasks] == [("two", False)]


def test_a_task_list_is_a_checklist() -> None:
    body = """\
Steps:
- [ ] reproduce
  * [x] on Linux
1. [X] write a test
- [] no item
- [ ]
```
- [ ] in code
```
+ [ ] mend **it**
"""
    assert [(item.name, item.is_completed) for item in checklist(body)] == [
        ("reproduce", False),
        ("on Linux", True),
        ("write a test", True),
        ("mend **it**", False),
    ]
