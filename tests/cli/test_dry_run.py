"""`athanore up --dry-run`: what would start, in which order, and why not the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.rig import Cli
from tests.repositories import Repository

SCRIPT = """\
from athanore import AgentDispatcher, JsonFileAdapter

dispatcher = AgentDispatcher(
    command="true", queue_backend=JsonFileAdapter("board.json"), name="dry", max_concurrent_agents=3
)

@dispatcher.route("Todo", name="bugs", labels=["bug"], max_concurrent=1)
def bugs(task_id: str, task_name: str) -> str:
    return f"Fix {task_name}"

@dispatcher.route("Todo", name="chores", labels=["chore"])
def chores(task_id: str, task_name: str) -> str:
    raise LookupError("no template")

@dispatcher.route("Review", priority=1)
def review(task_id: str, task_name: str) -> str:
    return f"Review {task_name}"
"""


@pytest.mark.smoke
def test_it_says_what_would_start_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def card(number: int, *labels: str) -> dict[str, object]:
        return {"id": str(number), "name": f"card {number}", "labels": list(labels)}

    todo = [card(1, "bug"), card(2, "bug"), card(3), card(4, "chore")]
    board = {"queues": {"Todo": todo, "Review": [card(5), card(6), card(7)], "In Progress": []}}
    (tmp_path / "board.json").write_text(text := json.dumps(board))
    (tmp_path / "run.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    output = Cli("http://127.0.0.1:1/api", capsys)("up", "--dry-run")
    assert output.code == 0, output.err
    lines = [line for line in output.out.splitlines() if " card " in line]
    assert "3 agents would start; nothing was changed." in output.out
    assert [line.split()[0] for line in lines] == ["5", "6", "7", "1", "2", "4", "3"]
    for line, words in zip(
        lines,
        [
            ("yes", "Review card 5"),
            ("yes", "Review card 6"),
            ("yes", "Review card 7"),
            ("no", "All 3 agents of the app are at work by then."),
            ("no", "All 3 agents of the app are at work by then."),
            ("no", "All 3 agents of the app are at work by then."),
            ("no", "'bugs' wants label 'bug'; 'chores' wants label 'chore'."),
        ],
        strict=True,
    ):
        assert all(word in line for word in words), line
    assert (tmp_path / "board.json").read_text() == text

    monkeypatch.setenv("ATHANORE_MAX_CONCURRENT_AGENTS", "10")
    (tmp_path / "more.py").write_text(SCRIPT.replace(", max_concurrent_agents=3", ""))
    more = Cli("http://127.0.0.1:1/api", capsys)("up", "more.py:dispatcher", "--dry-run").out
    assert "4 agents would start" in more
    assert "The route's one agent is at work by then." in more
    assert "The prompt function raises LookupError: no template" in more


def test_a_prompt_names_the_folder_and_branch_that_will_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    board = {"queues": {"Todo": [{"id": "7", "name": "Fix it"}], "In Progress": []}}
    (tmp_path / "board.json").write_text(json.dumps(board))
    Repository(tmp_path / "toy.git")
    root = tmp_path / "root"
    (tmp_path / "spaces.py").write_text(
        SCRIPT.partition("@dispatcher")[0]
        + "from athanore import GitWorkspace\n\n"
        + f"@dispatcher.route('Todo', workspace=GitWorkspace('toy.git', root={str(root)!r}))\n"
        + "def work(task_id, task_name, workspace):\n"
        + "    return f'{task_name} on {workspace.branch} from {workspace.base}'\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    output = Cli("http://127.0.0.1:1/api", capsys)("up", "spaces.py:dispatcher", "--dry-run")
    assert "Fix it on athanore/7-fix-it from main" in output.out, output
    assert not root.exists()


def test_it_makes_no_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    said = Cli("http://127.0.0.1:1/api", capsys).ok("up", "--dry-run").out
    words = " ".join(said.split())
    assert words.startswith("No agent would start: ")
    assert words.endswith("is made at the first start.")
    assert [p.name for p in tmp_path.iterdir() if p.name != "__pycache__"] == ["run.py"]


def test_it_says_what_a_start_would_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gated = SCRIPT.replace('name="bugs",', 'name="bugs", approve_before="start",')
    (tmp_path / "board.json").write_text('{"queues": {"Todo": []}}')
    (tmp_path / "run.py").write_text(gated)
    monkeypatch.chdir(tmp_path)
    output = Cli("http://127.0.0.1:1/api", capsys)("up", "--dry-run")
    assert output.code != 0
    assert "Route 'bugs': approve_before='start' keeps nobody from approving" in output.err
