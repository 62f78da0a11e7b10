"""Recorded deliveries about a project's cards, and which columns they concern."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from athanore.errors import WebhookRefusedError
from athanore.testing.doubles.github import github_double

RECORDED: list[dict[str, Any]] = [
    delivery
    for delivery in json.loads(
        Path(__file__).with_name("deliveries.json").read_text(encoding="utf-8")
    )
    if delivery["headers"]["X-GitHub-Event"] == "projects_v2_item"
]
QUEUES = ["Todo", "In Progress", "Done"]


def test_each_concerns_the_columns_that_it_names_or_all_and_counts_once() -> None:
    found: list[tuple[str, list[str]]] = []
    with github_double(project=("octo-org", 5)) as github:
        github.project.start_anew(QUEUES)
        for delivery in RECORDED:
            headers = {name.lower(): value for name, value in delivery["headers"].items()}
            told = json.loads(delivery["body"])
            body, secret = delivery["body"].encode(), delivery["secret"]
            github.project.id = "of another project"
            other = github.project_board().create_adapter()
            assert other.queues_of_delivery(headers, body, secret, QUEUES) == []
            other.close()
            github.project.id = told["projects_v2_item"]["project_node_id"]
            adapter = github.project_board().create_adapter()
            with pytest.raises(WebhookRefusedError):
                adapter.queues_of_delivery(headers, body + b" ", secret, QUEUES)
            first = adapter.queues_of_delivery(headers, body, secret, QUEUES)
            assert adapter.queues_of_delivery(headers, body, secret, QUEUES) == []
            adapter.close()
            found.append((told["action"], first))
    assert found == [
        ("edited", QUEUES),  # old ones do not say what the field was
        ("reordered", QUEUES),
        ("archived", QUEUES),
        ("edited", ["Todo", "In Progress"]),
    ]
