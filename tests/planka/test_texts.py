"""What becomes of texts on their way to Planka, and that they come back as they were."""

from __future__ import annotations

import pytest

from athanore.queue_adapters.planka.backend import PlankaAdapter
from athanore.queue_adapters.planka.texts import TEXTS
from athanore.testing.doubles.planka.server import PlankaDouble

TODO = "P.B.Todo"
WRITTEN = [
    "@[Ada](1914079840026232484), please look; @ada is nobody.",
    "`@[Ada](1)` in code, and\n```\n@[Ada](1)\n```",
    "  indented, with a tail \n\n",
    "Größe: 3 µm, 完了 🚀",
]


@pytest.mark.parametrize("text", WRITTEN)
def test_a_text_comes_back_as_it_was_and_notifies_nobody(
    planka: PlankaDouble, adapter: PlankaAdapter, text: str
) -> None:
    assert TEXTS.read(TEXTS.body(text)) == (text, None)
    task = adapter.create_task(TODO, "a", text)
    adapter.add_comment(task.id, text)
    adapter.update_task(task.id, description=text)
    now = adapter.get_task(task.id)
    assert (now.description, [c.text for c in now.comments]) == (text, [text])
    assert adapter.get_ready_tasks([TODO])[0].description == text
    assert planka.state.mentioned == []


def test_the_double_notifies_whom_a_person_mentions(planka: PlankaDouble) -> None:
    card = planka.card("Todo", "a")
    planka.state.add_comment(planka.admin, card, f"`@[Robot]({planka.bot['id']})`")
    assert planka.state.mentioned == [planka.bot["id"]]


def test_long_and_odd_texts_reach_the_board(adapter: PlankaAdapter) -> None:
    task = adapter.create_task(TODO, "a\x00b\ud800" + "c" * 2_000, "d" * 1_100_000)
    adapter.add_comment(task.id, "nul: \x00, alone: \udfff " + "e" * 1_100_000)
    now = adapter.update_task(task.id, name="f\ng" + "h" * 2_000)
    assert now.name.startswith("f ghhh") and now.name.endswith("more cut]")
    assert task.name.startswith("a\ufffdb\ufffdccc")
    assert now.description.endswith("more cut]")
    assert now.comments[0].text.startswith("nul: \ufffd, alone: \ufffd eee")


def test_a_task_names_the_page_of_its_card(planka: PlankaDouble, adapter: PlankaAdapter) -> None:
    card_id = planka.card("Todo", "a")["id"]
    page = f"{planka.url}/cards/{card_id}"
    assert [t.url for t in (adapter.get_task(card_id), *adapter.get_ready_tasks([TODO]))] == [
        page,
        page,
    ]
