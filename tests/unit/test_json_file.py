"""The board in a JSON file: its format, people's edits, damage, and what the system refuses."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import resource
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athanore.errors import (
    BoardBrokenError,
    BoardNotWritableError,
    BoardUnavailableError,
    ConfigurationError,
    InvalidTaskError,
    QueueNotEmptyError,
    TaskMovedError,
    TaskNotFoundError,
)
from athanore.models import ChecklistItem, Comment
from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.json_file import adapter
from athanore.queue_adapters.json_file.adapter import JsonFileAdapter
from tests.support import ordinary_user


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "board.json"


def task(task_id: object, name: object = "task", **fields: object) -> dict[str, Any]:
    return {"id": task_id, "name": name, **fields}


def board_of(path: Path, user: str | None = "ada", **queues: list[Any]) -> JsonFileAdapter:
    """Write a file as a person would, and open it."""
    path.write_text(json.dumps({"queues": queues}, indent=4))
    return JsonFileAdapter(path, user=user)


def content(path: Path) -> Any:
    return json.loads(path.read_text())


def others(path: Path) -> list[str]:
    """What lies beside the file, apart from its lock."""
    return sorted(set(os.listdir(path.parent)) - {path.name, f".{path.name}.lock"})


# --- the format ---


def test_file_is_written_for_people_to_read(path: Path) -> None:
    board = JsonFileAdapter(path)
    board.prepare(["Todo", "Überprüfung"])
    board.create_task("Todo", "Größe 東京", "two\nlines")
    assert (
        path.read_text()
        == """{
  "queues": {
    "Todo": [
      {
        "id": "1",
        "name": "Größe 東京",
        "description": "two\\nlines",
        "labels": [],
        "assignees": [],
        "comments": [],
        "tasks": []
      }
    ],
    "Überprüfung": []
  },
  "last_id": 1
}
"""
    )


def test_unknown_fields_and_the_order_of_keys_are_kept(path: Path) -> None:
    before: dict[str, Any] = {
        "version": 7,
        "queues": {
            "Todo": [
                {
                    "due": "friday",
                    "name": "one",
                    "id": 1,
                    "points": 1.5,
                    "comments": ["plain", {"by": "x", "text": "rich"}],
                    "extra": {"deep": [None, True]},
                },
                {"id": 2, "name": "two", "zzz": 1},
            ],
            "Done": [],
        },
        "meta": {"colour": "blue"},
    }
    path.write_text(json.dumps(before))
    board = JsonFileAdapter(path, user=None)
    board.move_task("1", "Done")
    board.update_task("1", name="renamed")
    board.create_queue("Extra")
    board.update_queue("Done", new_name="Finished")
    board.delete_queue("Extra")
    after = content(path)
    assert list(after) == ["version", "queues", "meta"]
    assert after["meta"] == {"colour": "blue"}
    assert after["queues"]["Todo"] == [{"id": 2, "name": "two", "zzz": 1}]
    (moved,) = after["queues"]["Finished"]
    assert moved == before["queues"]["Todo"][0] | {"name": "renamed"}
    assert list(moved) == list(before["queues"]["Todo"][0])


def test_comments_are_objects_and_plain_ones_are_kept(path: Path) -> None:
    rich = {"text": "rich", "author": "grace", "created_at": "2025-01-02T03:04:05Z", "id": 9}
    board = board_of(path, Todo=[task("1", comments=["plain", rich])])
    before = datetime.now(UTC) - timedelta(seconds=1)
    board.add_comment("1", "new")
    plain, kept, new = content(path)["queues"]["Todo"][0]["comments"]
    assert (plain, kept) == ("plain", rich)
    assert set(new) == {"text", "author", "created_at"}
    first, second, third = board.get_task("1").comments
    assert first == Comment("plain")
    assert second == Comment("rich", "grace", datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC), id="9")
    assert (third.text, third.author) == ("new", "ada")
    assert third.created_at is not None
    assert before < third.created_at < datetime.now(UTC) + timedelta(seconds=1)


def test_comments_of_nobody_are_signed_by_athanore(path: Path) -> None:
    board = board_of(path, user=None, Todo=[task("1")])
    board.add_comment("1", "hello")
    assert board.get_task("1").comments[0].author == "athanore"


def test_checklist_is_read_in_all_its_spellings(path: Path) -> None:
    items = [
        "plain",
        {"name": "a", "is_completed": True, "id": 5},
        {"name": "b", "isCompleted": True},
        {"name": "c", "done": True},
        {"name": "d", "completed": True},
        {"name": "e", "done": False},
    ]
    board = board_of(path, Todo=[task("1", tasks=items)])
    assert board.get_task("1").tasks == (
        ChecklistItem("plain"),
        ChecklistItem("a", True, "5"),
        ChecklistItem("b", True),
        ChecklistItem("c", True),
        ChecklistItem("d", True),
        ChecklistItem("e"),
    )


@pytest.mark.parametrize(
    ("field", "value", "attribute", "expected"),
    [
        ("name", 42, "name", "42"),
        ("description", None, "description", ""),
        ("description", 1.5, "description", "1.5"),
        ("labels", None, "labels", ()),
        ("labels", "bug", "labels", ("bug",)),
        ("labels", ["bug", None, 3, ""], "labels", ("bug", "3")),
        ("assignees", "ada", "assignees", ("ada",)),
        ("comments", "one", "comments", (Comment("one"),)),
        ("comments", [{"text": "x", "created_at": "soon"}], "comments", (Comment("x"),)),
        ("comments", [{"author": 3}], "comments", (Comment("", "3"),)),
        ("tasks", {"name": "one"}, "tasks", (ChecklistItem("one"),)),
        ("author", "ada", "author", "ada"),
        ("author", "", "author", None),
        ("priority", 1, "priority", "1"),
        (
            "created_at",
            "2025-01-02T03:04:05Z",
            "created_at",
            datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC),
        ),
        ("updated_at", "yesterday", "updated_at", None),
    ],
)
def test_what_people_write_is_read_leniently(
    path: Path, field: str, value: object, attribute: str, expected: object
) -> None:
    board = board_of(path, Todo=[task("1") | {field: value}])
    assert getattr(board.get_task("1"), attribute) == expected


def test_time_without_a_zone_counts_as_utc(path: Path) -> None:
    comments = [{"text": "x", "created_at": "2025-01-02T03:04:05"}]
    board = board_of(path, Todo=[task("1", comments=comments)])
    assert board.get_task("1").comments[0].created_at == datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_additions_to_a_single_value_keep_it(path: Path) -> None:
    board = board_of(path, Todo=[task("1", comments="old", assignees="grace")], Doing=[])
    board.add_comment("1", "new")
    claimed = claim_task(board, "1", source_queue="Todo", target_queue="Doing")
    assert [c.text for c in claimed.comments] == ["old", "new"]
    assert claimed.assignees == ("grace", "ada")


def test_whole_numbers_are_ids_and_stay_numbers(path: Path) -> None:
    board = board_of(path, Todo=[task(1), task(22)], Done=[])
    board.move_task("22", "Done")
    assert [t.id for t in board.get_ready_tasks(["Todo", "Done"])] == ["1", "22"]
    assert content(path)["queues"]["Done"] == [task(22)]


def test_byte_order_mark_is_no_damage(path: Path) -> None:
    path.write_bytes(b'\xef\xbb\xbf{"queues": {"Todo": []}}')
    assert JsonFileAdapter(path).create_task("Todo", "x").id == "1"


# --- ids and users ---


def test_new_ids_follow_the_highest_number_on_the_board(path: Path) -> None:
    board = board_of(path, Todo=[task("7"), task(12)], Done=[task("3"), {"id": 40}])
    assert [board.create_task("Todo", "x").id for _ in range(2)] == ["41", "42"]


def test_new_ids_are_random_where_ids_are_no_numbers(path: Path) -> None:
    board = board_of(path, Todo=[task("PRJ-1"), task("PRJ-2")])
    new = {board.create_task("Todo", "x").id for _ in range(5)}
    assert len(new) == 5
    assert all(len(n) == 32 for n in new)


def test_id_of_a_deleted_task_is_not_given_again(path: Path) -> None:
    board = board_of(path, Todo=[])
    assert board.create_task("Todo", "x").id == "1"
    path.write_text('{"queues": {"Todo": []}}')
    assert board.create_task("Todo", "x").id == "2"


def test_user_is_the_login_name_by_default(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "grace")
    assert JsonFileAdapter(path).user == "grace"
    assert JsonFileAdapter(path, user="ada").user == "ada"
    assert JsonFileAdapter(path, user=None).user is None


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "half \ud800"},
        {"description": "half \ud800"},
        {"labels": "bug"},
        {"labels": [""]},
        {"assignees": [3]},
        {"name": 3},
    ],
)
def test_values_that_json_cannot_hold_are_refused(path: Path, fields: dict[str, Any]) -> None:
    board = board_of(path, Todo=[task("1")])
    before = path.read_bytes()
    with pytest.raises(InvalidTaskError):
        board.update_task("1", **fields)
    assert path.read_bytes() == before


NUMBERS = st.from_regex(
    r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True
)


@settings(max_examples=100, deadline=None)
@given(NUMBERS)
@pytest.mark.nightly
def test_a_number_is_kept_or_refused(number: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "board.json"
        path.write_text(f'{{"queues": {{"Todo": [], "Done": []}}, "n": {number}}}')
        with suppress(BoardBrokenError):
            JsonFileAdapter(path).create_task("Todo", "x")
            kept = json.loads(path.read_text(), parse_float=Decimal, parse_int=Decimal)["n"]
            assert kept == Decimal(number)


# --- a damaged file ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b'{"queues": {\n  "Todo": [}\n}', "line 2, column 12: unexpected character"),
        (b'{"queues": {"Todo": [', "line 1, column 22: unexpected end of data"),
        (b'{"queues": {}}\n}', "line 2, column 1: unexpected content after document"),
        (
            b'{"queues":\n {"\xc3\xa9\xff": []}}',
            "line 2, column 5: the byte 0xff is not valid UTF-8",
        ),
        (b'{"queues": {"a\x00": []}}', "line 1, column 15: a NUL character"),
        (b"\x00" * 64, "line 1, column 1: a NUL character"),
        (b'{"queues": {}, "n": NaN}', "line 1, column 21"),
        (b'{"queues": {"Todo": [],\n "Todo": []}}', "line 2, column 2: 'Todo' stands twice"),
        (b'{"queues": {},\n "n": 123456789012345678901234567890}', "line 2, column 7: the number"),
        (b'{"queues": {}, "n": 0.1000000000000000055}', "line 1, column 21: the number 0.1"),
        (b'{"queues": {}, "n": 1e-400}', "is more exact than can be kept"),
        (b'{"queues": {}, "n": 1.' + b"1" * 5000 + b"}", "is more exact than can be kept"),
        (b'{"queues": {}, "n": ' + b"[" * 500 + b"]" * 500 + b"}", "nested too deeply"),
        (b"[]", 'must be an object with "queues", not a list'),
        (b"{}", '"queues" must be an object of queues by name, but it is missing'),
        (b'{"queues": []}', "but it is a list"),
        (b'{"queues": {"Todo": [], "Done": {}}}', "the queue 'Done' must be a list"),
        (b'{"queues": {"Done": null}}', "the queue 'Done' must be a list of tasks, not null"),
    ],
)
def test_broken_file_is_an_error_that_says_where_and_is_left_alone(
    path: Path, text: bytes, expected: str
) -> None:
    path.write_bytes(text)
    board = JsonFileAdapter(path)
    calls: list[Callable[[], object]] = [
        lambda: board.prepare(["Todo"]),
        lambda: board.get_ready_tasks(["Todo"]),
        lambda: board.create_task("Todo", "x"),
    ]
    for call in calls:
        with pytest.raises(BoardBrokenError) as caught:
            call()
        assert str(path) in str(caught.value)
        assert expected in str(caught.value)
    assert path.read_bytes() == text
    assert others(path) == []


def test_work_goes_on_when_a_broken_file_is_mended(path: Path) -> None:
    board = board_of(path, Todo=[task("1")])
    good = path.read_text()
    board.get_task("1")
    path.write_text(good[:-3])
    with pytest.raises(BoardBrokenError):
        board.add_comment("1", "x")
    path.write_text(good)
    board.add_comment("1", "x")
    assert [c.text for c in board.get_task("1").comments] == ["x"]


def test_malformed_tasks_are_reported_once_skipped_and_kept(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad: list[Any] = ["text", None, {"name": "no id"}, {"id": "9"}, task("8", ""), task(True)]
    board = board_of(path, Todo=[bad[0], task("1"), *bad[1:], task("2")], Done=[])
    with caplog.at_level(logging.WARNING, "athanore.runtime.boards.board"):
        assert [t.id for t in board.get_ready_tasks(["Todo"])] == ["1", "2"]
        board.move_task("1", "Done")
        path.write_text(path.read_text() + "\n")
        board.get_ready_tasks(["Todo"])
    (record,) = caplog.records
    assert "'no id' has no id" in record.getMessage()
    assert "'9' has no name" in record.getMessage()
    assert "1 more" in record.getMessage()
    assert content(path)["queues"]["Todo"] == [*bad, task("2")]
    for task_id in ("", "8", "9", "True"):
        with pytest.raises(TaskNotFoundError):
            board.get_task(task_id)


def test_queue_with_a_malformed_task_is_not_deleted(path: Path) -> None:
    board = board_of(path, Todo=["text"])
    assert board.get_queue("Todo").task_count == 1
    with pytest.raises(QueueNotEmptyError):
        board.delete_queue("Todo")


def test_copy_with_the_same_id_never_passes_for_the_task_at_work(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy, original = task("1", "copy"), task("1", "original")
    board = board_of(path, user=None, Todo=[copy, original, task("2")], Doing=[])
    with caplog.at_level(logging.WARNING, "athanore.runtime.boards.board"):
        assert [t.name for t in board.get_ready_tasks(["Todo"])] == ["original", "task"]
    assert "'1' is used again" in caplog.text
    claim_task(board, "1", source_queue="Todo", target_queue="Doing")
    for reader in (board, JsonFileAdapter(path)):
        assert [t.id for t in reader.get_ready_tasks(["Todo"])] == ["2"]
        assert reader.get_task("1").name == "original"
        with pytest.raises(TaskMovedError):
            claim_task(reader, "1", source_queue="Todo", target_queue="Doing")
    assert content(path)["queues"]["Todo"] == [copy, task("2")]


def test_many_broken_tasks_make_one_short_warning(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = [{"name": f"{n} " + "x" * 100_000} for n in range(200)]
    board = board_of(path, Todo=[*bad, task("1")])
    with caplog.at_level(logging.WARNING, "athanore.runtime.boards.board"):
        board.add_comment("1", "x")
    (record,) = caplog.records
    assert "195 more" in record.getMessage()
    assert len(record.getMessage()) < 1_000


def test_huge_description_works(path: Path) -> None:
    board = board_of(path, Todo=[task("1")], Done=[])
    text = "ä" * 25_000_000
    board.update_task("1", description=text)
    board.move_task("1", "Done")
    assert JsonFileAdapter(path).get_task("1").description == text


# --- a person at the same file ---


def by_writing(path: Path, text: str) -> None:
    path.write_text(text)


def by_renaming(path: Path, text: str) -> None:
    other = path.with_name("board.json.swp")
    other.write_text(text)
    other.rename(path)


EDITS = pytest.mark.parametrize("edit", [by_writing, by_renaming])


@EDITS
def test_quick_edits_of_one_size_are_all_seen(
    path: Path, edit: Callable[[Path, str], None]
) -> None:
    board = board_of(path, Todo=[task("1", "000")])
    for n in range(200):
        edit(path, json.dumps({"queues": {"Todo": [task("1", f"{n:03}")]}}))
        assert board.get_task("1").name == f"{n:03}"


@EDITS
def test_edit_in_the_middle_of_a_change_is_kept(
    path: Path, edit: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    board = board_of(path, Todo=[task("1")])
    edited = json.dumps({"queues": {"Todo": [task("2", "from a person"), task("1")]}})
    write_json = adapter.write_json

    def edit_first(value: object) -> bytes:
        if content(path)["queues"]["Todo"][0]["id"] == "1":
            edit(path, edited)
        return write_json(value)

    monkeypatch.setattr(adapter, "write_json", edit_first)
    board.add_comment("1", "hello")
    person, ours = content(path)["queues"]["Todo"]
    assert person == task("2", "from a person")
    assert ours["comments"][0]["text"] == "hello"
    assert others(path) == []


def test_half_written_file_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = board_of(path, Todo=[task("1")])
    text = path.read_text()
    path.write_text(text[:20])
    waits: list[float] = []

    def finish(seconds: float) -> None:
        waits.append(seconds)
        path.write_text(text)

    monkeypatch.setattr(adapter.time, "sleep", finish)
    assert board.get_task("1").name == "task"
    assert waits == [adapter.EDIT_POLL]


def test_file_that_is_away_for_a_moment_is_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = board_of(path, Todo=[task("1")])
    board.get_task("1")
    backup = path.rename(path.with_name("board.json~"))

    def put_back(seconds: float) -> None:
        backup.rename(path)

    monkeypatch.setattr(adapter.time, "sleep", put_back)
    board.add_comment("1", "x")
    assert len(content(path)["queues"]["Todo"][0]["comments"]) == 1


def test_file_that_is_gone_is_not_made_anew(path: Path) -> None:
    board = board_of(path, Todo=[task("1")])
    board.get_task("1")
    backup = path.rename(path.with_name("elsewhere"))
    for call in (lambda: board.get_task("1"), lambda: board.add_comment("1", "x")):
        with pytest.raises(BoardUnavailableError, match="does not exist any more") as caught:
            call()
        assert str(path) in str(caught.value)
    assert not path.exists()
    assert board.change_stamp() is None
    backup.rename(path)
    board.add_comment("1", "x")


def test_nothing_is_parsed_while_nothing_changes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = board_of(path, Todo=[task("1")], Done=[])
    board.add_comment("1", "x")

    def parse(text: bytes) -> Any:
        raise AssertionError(f"parsed {len(text)} bytes again")

    monkeypatch.setattr(adapter, "read_json", parse)
    board.move_task("1", "Done")
    board.add_comment("1", "y")
    assert board.get_task("1").queue_name == "Done"
    assert board.change_stamp() is not None


def test_change_that_changes_nothing_leaves_the_file(path: Path) -> None:
    board = board_of(path, Todo=[task("1", "name", labels=["bug"])])
    before = path.read_bytes()
    board.move_task("1", "Todo")
    board.update_task("1", name="name", labels=["bug"])
    board.update_queue("Todo", new_name="Todo")
    assert path.read_bytes() == before


# --- the file system ---


def test_missing_file_is_created_with_the_queues(path: Path) -> None:
    JsonFileAdapter(path).prepare(["Todo", "Done", "Todo"])
    assert content(path) == {"queues": {"Todo": [], "Done": []}}


def test_existing_file_is_left_as_it_is(path: Path) -> None:
    board = board_of(path, Todo=[])
    before = path.read_bytes()
    board.prepare(["Todo", "Done"])
    assert path.read_bytes() == before


def test_leftovers_of_a_killed_writer_are_removed(path: Path) -> None:
    board = board_of(path, Todo=[])
    (path.parent / ".board.json.write-0123.tmp").write_text("half")
    (path.parent / "other.tmp").write_text("mine")
    board.prepare([])
    assert others(path) == ["other.tmp"]


def test_path_that_can_never_work_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    os.mkfifo(tmp_path / "pipe")
    for path, expected in (
        (folder, "is a folder"),
        (tmp_path / "pipe", "not a regular file"),
        (tmp_path / "typo" / "board.json", f"{tmp_path / 'typo'}, which does not exist"),
    ):
        with pytest.raises(ConfigurationError, match=expected):
            JsonFileAdapter(path).prepare(["Todo"])
    assert sorted(os.listdir(tmp_path)) == ["folder", "pipe"]


def test_missing_folder_is_not_made_by_a_change(tmp_path: Path) -> None:
    board = JsonFileAdapter(tmp_path / "typo" / "board.json")
    with pytest.raises(BoardUnavailableError, match="does not exist"):
        board.create_queue("Todo")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("locked", ["folder", "file"])
def test_board_that_may_not_be_written_is_refused(shared_folder: Path, locked: str) -> None:
    path = shared_folder / "board.json"
    with ordinary_user():
        board = board_of(path, Todo=[task("1")])
    where = path if locked == "file" else shared_folder
    where.chmod(0o444 if locked == "file" else 0o555)
    with ordinary_user():
        with pytest.raises(ConfigurationError, match=f"no permission to write {where}"):
            board.prepare(["Todo"])
        assert board.get_task("1").name == "task"
        with pytest.raises(BoardNotWritableError) as caught:
            board.add_comment("1", "x")
    assert str(path) in str(caught.value)
    assert "ermission" in str(caught.value)
    where.chmod(0o777)
    assert content(path)["queues"]["Todo"] == [task("1")]


def test_unreadable_file_is_unavailable(shared_folder: Path) -> None:
    path = shared_folder / "board.json"
    with ordinary_user():
        board = board_of(path, Todo=[])
        path.chmod(0o000)
        with pytest.raises(BoardNotWritableError, match="Permission denied"):
            board.list_queues()
        path.chmod(0o600)
        assert board.list_queues()[0].name == "Todo"


def test_full_disk_leaves_the_file_and_nothing_else(path: Path) -> None:
    board = board_of(path, Todo=[task("1")])
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, hard))
    try:
        with pytest.raises(BoardNotWritableError, match="File too large") as caught:
            board.update_task("1", description="x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before
    assert others(path) == []
    assert board.get_task("1").description == ""


def test_link_is_followed_and_stays_a_link(path: Path, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    path.symlink_to(real / "target.json")
    board = JsonFileAdapter(path)
    board.prepare(["Todo"])
    board.create_task("Todo", "x")
    assert path.is_symlink()
    assert len(content(real / "target.json")["queues"]["Todo"]) == 1
    assert sorted(os.listdir(real)) == [".target.json.lock", "target.json"]
    assert sorted(os.listdir(tmp_path)) == ["board.json", "real"]


def test_mode_of_the_file_is_kept(path: Path) -> None:
    board = board_of(path, Todo=[])
    path.chmod(0o640)
    board.create_task("Todo", "x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    JsonFileAdapter("~/board.json").prepare(["Todo"])
    assert content(tmp_path / "board.json") == {"queues": {"Todo": []}}


def test_change_of_the_working_folder_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    board = JsonFileAdapter("board.json")
    monkeypatch.chdir("/")
    board.prepare(["Todo"])
    assert (tmp_path / "board.json").exists()


def test_lock_that_is_never_free_is_an_error_that_names_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "LOCK_TIMEOUT", 0.05)
    board = board_of(path, Todo=[task("1")])
    lock = path.with_name(".board.json.lock")
    with lock.open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(BoardUnavailableError, match="busy") as caught:
            board.add_comment("1", "x")
        assert str(lock) in str(caught.value)
        assert board.get_task("1").comments == ()
    board.add_comment("1", "x")
    assert len(board.get_task("1").comments) == 1
