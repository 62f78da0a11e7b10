"""A command that is given beside the app asks the app: the same comes of it, and at once."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.rig import Api, served
from tests.cli.rig import QUEUES, Cli, beside
from tests.cli.test_same_answers import WHO, load
from tests.support import of_this_process, wait_until


@pytest.fixture
def api(prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    first = {"id": str(random.randrange(10**6, 10**9) * 1000), "name": "Finished already"}
    queues = {q: [first] if q == "Done" else [] for q in QUEUES}
    (tmp_path / "board.json").write_text(json.dumps({"queues": queues}))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    dispatcher = load(tmp_path, of_this_process("same"), monkeypatch)
    with served(dispatcher, prefect_api) as api:
        yield api


def run(api: Api, *words: str, typed: str = "") -> tuple[str, list[str]]:
    """Give a command in a process of its own; return what it printed, and what it imported.

    Args:
        typed: what comes in at its standard input.
    """
    script = (
        "import sys\nfrom athanore.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    print(*sorted(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        input=typed,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, done.stderr.split()


def test_what_commands_show_is_the_same_from_the_app_and_without_it(api: Api, cli: Cli) -> None:
    task = api.board.create_task("Todo", "Fix ümläuts [bold]", "All of it").id
    api.board.add_comment(task, "First look")
    given_up = api.board.create_task("Failed", "Given up").id
    cli.ok("dispatch", task)
    for words in (
        ["status", "--json"],
        ["tasks"],
        ["tasks", "--json", "--queue", "Todo"],
        ["routes"],
        ["routes", "--json"],
        ["dead-letters", "--json"],
        ["show", task, "--json"],
        ["show", given_up],
        ["explain", task],
        ["explain", given_up, "--json"],
        ["logs", task],
        ["show", "nope"],
        ["tasks", "--queue", "Tood"],
        ["logs", given_up],
        ["workers"],
        ["costs"],
        ["costs", "--by", "day", "--days", "1", "--json"],
    ):
        without = cli(*words)
        with beside(api):
            assert cli(*words) == without, words


def test_a_command_beside_the_app_imports_neither_prefect_nor_the_app(api: Api) -> None:
    task = api.board.create_task("Todo", "Fix it").id
    with beside(api):
        for words in (
            ["status"],
            ["tasks"],
            ["show", task],
            ["pause", "Todo"],
            ["resume", "Todo"],
            ["create", "Todo", "Another"],
            ["move", task, "Backlog"],
            ["dispatch", task, "--queue", "Todo"],
            ["logs", task],
            ["routes"],
            ["workers"],
            ["costs"],
        ):
            printed, imported = run(api, *words)
            assert printed.strip()
            heavy = {"prefect", "fastapi", "pydantic", "httpx", "athanore.dispatcher"}
            assert not heavy & set(imported), words


def test_orders_to_the_app_do_what_they_do_without_it(api: Api, cli: Cli) -> None:
    def cancelled() -> tuple[str, list[str], list[tuple[str, str]]]:
        task = api.board.create_task("Todo", "Fix it").id
        cli.ok("dispatch", task)
        cli.ok("comment", task, "not now")
        out = cli.ok("cancel", task, "--reason", "not needed").out
        comments = [c.text for c in api.board.get_task(task).comments]
        states = [(r["state"]["name"], r["state"]["message"]) for r in api.prefect.runs(task)]
        api.board.move_task(task, "Backlog")
        return out, comments, states

    without = cancelled()
    with beside(api):
        assert cancelled() == without
        assert without[2] == [("Cancelled", f"by {WHO}: not needed")]
        assert cli.ok("pause", "Review").out.startswith("Paused 'Review'.")
    assert "paused" in cli.ok("status").out
    with beside(api):
        assert cli.ok("resume", "Review").out == "Resumed 'Review'.\n"
        assert cli("cancel", "nope").code == 2
        task = api.board.create_task("Todo", "Fix it").id
        assert cli("cancel", task).code == 1
    wait_until("it goes on", lambda: "paused" not in cli.ok("status").out)


def test_tasks_are_sent_to_agents_alike(api: Api, cli: Cli) -> None:
    def told() -> list[str]:
        """What the commands printed, but for ids and addresses."""
        printed: list[str] = []

        def give(*words: str) -> str:
            done = cli(*words)
            assert done.code == 0, done.err
            printed.append(done.out + done.err)
            return done.out

        task = (m := re.search(r"\((\d+)\)", give("create", "Backlog", "Fix it"))) and m[1]
        assert task is not None
        give("move", task, "Todo")
        give("dispatch", task)
        give("cancel", task)
        give("move", task, "Failed")
        give("requeue", task, "--queue", "Todo")
        give("pause", "Review")
        give("dispatch", task, "--queue", "Review")
        give("resume", "Review")
        comments = [c.text for c in api.board.get_task(task).comments]
        assert any(WHO in text for text in comments)
        give("move", task, "Backlog")
        give("requeue", "--all")
        return [re.sub(r"http\S+", "URL", text.replace(task, "ID")) for text in printed]

    without = told()
    with beside(api):
        assert told() == without


def test_a_task_is_added_to_the_boards_first_queue_that_is_watched(
    api: Api, cli: Cli, tmp_path: Path
) -> None:
    board = json.loads((tmp_path / "board.json").read_text())
    board["queues"] = dict(reversed(board["queues"].items()))
    (tmp_path / "board.json").write_text(json.dumps(board))
    assert "it is in 'Review'" in cli.ok("add", "Fix the crash").out
    with beside(api):
        assert "it is in 'Review'" in cli.ok("add", "Fix the crash").out


def test_a_task_is_added_changed_and_named_by_its_title(api: Api, cli: Cli) -> None:
    with beside(api):
        said, imported = run(api, "add", "Fix the crash", "-d", "It -> `breaks`")
        assert "Created 'Fix the crash'" in said and "in 'Todo'" in said
        assert "prefect" not in imported
        run(api, "edit", "the cra", "--title", "Fix the crash at start")
        shown, _ = run(api, "show", "at start")
        assert "Fix the crash at start" in shown and "It -> `breaks`" in shown
        run(api, "edit", "at start", "-d", "-", typed="It breaks\nwithout a word\n")
        shown, _ = run(api, "show", "at start")
        assert "It breaks\nwithout a word" in shown
        assert run(api, "open", "--print")[0].strip() == api.url
        beside_it = [cli(command, "at start") for command in ("approve", "reject")]
    for output in beside_it + [cli(command, "at start") for command in ("approve", "reject")]:
        assert output.code == 1
        assert re.search(
            r"Task '(\d+)' \(.*\nathanore: Task '\1' waits for no approval", output.err
        )
