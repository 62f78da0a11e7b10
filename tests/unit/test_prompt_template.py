"""Templates of prompts: what they write, and that no template harms the process that has it."""

from __future__ import annotations

import asyncio

import pytest

from athanore import Task
from athanore.errors import RouteError
from athanore.models import ChecklistItem, Comment
from athanore.runtime.routes.prompt_template import PromptTemplate

TASK = Task(
    id="7", name="Fix crash", queue_name="Todo", labels=("bug", "ui"),
    comments=(Comment("It crashes.", "eve"),), tasks=(ChecklistItem("test it"),),
)  # fmt: skip


async def test_a_template_is_filled() -> None:
    source = (
        "{{ task.id }} {{ task.name|upper }} {{ attempt }}\n"
        "{% for c in task.comments %}{{ c.author }}: {{ c.text }}{% endfor %}\n"
        "{{ task.labels|join(', ') }}{% for t in task.tasks if not t.is_completed %} {{ t.name }}"
        "{% endfor %}\n"
    )
    template = PromptTemplate(source)
    await template.check()
    written = await template("7", "Fix crash", TASK, 2)
    assert written == "7 FIX CRASH 2\neve: It crashes.\nbug, ui test it\n"


async def test_what_is_not_needed_is_not_worked_out() -> None:
    assert await PromptTemplate("{% if 0 %}{{ 9**(9**9) }}{% endif %}x")("7", "x", TASK, 1) == "x"


async def test_the_times_of_comments_are_times() -> None:
    await PromptTemplate("{{ task.comments[0].created_at.year }}").check()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{{ taks.id }}", "line 1: there is no variable 'taks'; a prompt has task, attempt"),
        ("\n{{ task.titel }}", "line 2: a task has no 'titel'; it has id, name, queue_name"),
        ("{{ task['titel'] }}", "a task has no 'titel'"),
        ("{% if attempt > 1 %}{{ task.titel }}{% endif %}", "a task has no 'titel'"),
        ("{% for c in task.comments %}{{ c.txt }}{% endfor %}", "a comment has no 'txt'"),
        ("{{ task.comments.text }}", "a list has no 'text'; loop over it"),
        ("{{ task.name.titel }}", "a text has no 'titel'"),
        ("{{ task.name|uper }}", "line 1: No filter named 'uper'"),
        ("{{ task.name", "line 1: "),
        ("{% include 'other' %}", "stands alone"),
        ("{{ task.__class__ }}", "has no '__class__'"),
        ("{{ task.name + 1 }}", "line 1: TypeError"),
    ],
)
async def test_a_mistake_is_told(source: str, says: str) -> None:
    with pytest.raises(RouteError) as told:
        await PromptTemplate(source).check()
    assert says in str(told.value)


NESTED = {
    "parentheses": "{{ " + "(" * 67 + "1" + ")" * 67 + " }}",
    "very many parentheses": "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}",
    "ifs": "{% if 1 %}" * 1000 + "{% endif %}" * 1000,
    "loops": "{% for a in task.labels %}" * 25 + "{% endfor %}" * 25,
    "sums": "{{ 1" + "+1" * 8000 + " }}",
    "nots": "{{ " + "not " * 8000 + "1 }}",
    "a macro of itself": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
}
ENDLESS = (
    "{% for a in 'x'*9000 %}{% for b in 'x'*9000 %}{% for c in 'x'*9000 %}"
    "{% endfor %}{% endfor %}{% endfor %}"
)
HUGE = {
    "a power of constants": "{{ 9**(9**9) }}",
    "a power of a variable": "{{ 9**(9**(9*attempt)) }}",
    "a long number": "{{ 10**60 * 10**60 * 10**5000 }}",
    "a repeated text": "{{ 'a' * 10**9 }}",
    "a repeated list": "{{ [1] * (10**9 * attempt) }}",
    "a format": "{{ '%10000000000d' % 1 }}",
    "a format method": "{{ '{:10000000000d}'.format(1) }}",
    "center": "{{ task.name|center(10**10) }}",
    "ljust": "{{ task.name.ljust(10**10) }}",
    "zfill": "{{ task.name.zfill(10**10) }}",
    "batch": "{{ [1]|batch(10**9, 1)|list }}",
    "replace": "{{ ('a'*90000).replace('a', 'a'*90000) }}",
    "join": "{{ ('a'*90000)|join('b'*90000) }}",
}


@pytest.mark.parametrize("source", [*NESTED.values(), *HUGE.values()], ids=[*NESTED, *HUGE])
async def test_a_template_that_needs_too_much_is_refused(source: str) -> None:
    with pytest.raises(RouteError, match=r"^prompt: "):
        await PromptTemplate(source)("7", "Fix crash", TASK, 1)


async def test_the_event_loop_goes_on_meanwhile() -> None:
    check = asyncio.create_task(PromptTemplate(ENDLESS).check())
    beats = 0
    while not check.done():
        await asyncio.sleep(0.01)
        beats += 1
    assert beats > 2, "the loop stood still"
    with pytest.raises(RouteError, match="of work"):
        await check
