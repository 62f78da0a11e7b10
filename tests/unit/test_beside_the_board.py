"""What lies beside a board's file, and what a change carries over to the file itself.

Several users share a folder; some of them may write the board, some may only read it, and some put
there what they like.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from athanore import JsonFileAdapter
from athanore.errors import BoardError, BoardNotWritableError, ConfigurationError
from athanore.queue_adapters.json_file.atomic_file import Signature, put_in_place

TEAM, OTHERS = 64998, 64999
ALICE, BOB, READER = 65001, 65002, 65003
HOUR = timedelta(hours=1)
NOTES = (".board.json.lock", ".board.json.watchers", ".board.json.id")

by_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for several users")


@contextmanager
def acting_as(user: int, groups: Sequence[int] = (), umask: int = 0o022) -> Generator[None]:
    """Have the rights of an ordinary user."""
    had = os.getgroups()
    mask = os.umask(umask)
    os.setgroups([*groups])
    os.setegid(user)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(had)
        os.umask(mask)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that any user can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        yield Path(name)


def new_board(folder: Path) -> Path:
    path = folder / "board.json"
    tasks = [{"id": "1", "name": "Fix crash"}, {"id": "2", "name": "Other"}]
    path.write_text(json.dumps({"queues": {"Todo": tasks, "Done": []}}))
    return path


def use(path: Path, watcher: str) -> None:
    """Do everything that makes or changes a file beside the board."""
    board = JsonFileAdapter(path, user=None)
    board.prepare(["Todo"])
    board.board_identity()
    board.watched_by("Todo", watcher, "here", HOUR)
    board.add_comment("1", watcher)


# --- who may use the files ---


@by_root
@pytest.mark.parametrize("mode", [0o664, 0o660, 0o666, 0o620])
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_files_of_one_user_serve_all_who_may_write_the_board(
    folder: Path, mode: int, umask: int
) -> None:
    path = new_board(folder)
    os.chown(path, ALICE, TEAM)
    path.chmod(mode)
    with acting_as(ALICE, [TEAM], umask):
        use(path, "alice")
    board = JsonFileAdapter(path, user=None)
    alone = mode == 0o620
    with acting_as(BOB, [] if mode == 0o666 else [TEAM], umask):
        if not alone:
            use(path, "bob")
            assert board.watched_by("Todo", "eve", "there", HOUR) == ["here", "here"]
        for note in NOTES:
            os.close(os.open(folder / note, os.O_RDWR))
    assert path.stat().st_gid == TEAM or mode == 0o666


@by_root
def test_a_lock_that_an_earlier_umask_closed_is_opened_by_its_owner(folder: Path) -> None:
    path = new_board(folder)
    os.chown(path, ALICE, TEAM)
    path.chmod(0o664)
    lock = folder / ".board.json.lock"
    lock.touch()
    os.chown(lock, ALICE, OTHERS)
    lock.chmod(0o644)
    with acting_as(BOB, [TEAM]):
        board = JsonFileAdapter(path, user=None)
        with pytest.raises(ConfigurationError, match=f"lock {lock} cannot be taken.*delete it"):
            board.check_place()
        with pytest.raises(BoardNotWritableError, match="lock"):
            board.add_comment("1", "x")
    with acting_as(ALICE, [TEAM]):
        JsonFileAdapter(path, user=None).add_comment("1", "x")
    with acting_as(BOB, [TEAM]):
        board.check_place()
        board.add_comment("1", "x")


@by_root
def test_who_may_only_read_the_board_cannot_hold_its_lock(folder: Path) -> None:
    path = new_board(folder)
    os.chown(path, ALICE, ALICE)
    path.chmod(0o644)
    with acting_as(ALICE):
        use(path, "alice")
    with acting_as(READER), pytest.raises(PermissionError):
        (folder / ".board.json.lock").open()


# --- what others put in their place ---


def _link(place: Path, victim: Path) -> None:
    place.symlink_to(victim)


def _dangling(place: Path, victim: Path) -> None:
    place.symlink_to(victim.with_name("made"))


def _fifo(place: Path, _: Path) -> None:
    os.mkfifo(place)


def _folder(place: Path, _: Path) -> None:
    place.mkdir()


@pytest.mark.parametrize("trap", [_link, _dangling, _fifo, _folder])
@pytest.mark.parametrize("name", [*NOTES, ".board.json.watchers.new"])
def test_a_trap_in_the_place_of_a_file_is_neither_followed_nor_waited_for(
    tmp_path: Path, name: str, trap: object
) -> None:
    path = new_board(tmp_path)
    victim = tmp_path / "elsewhere" / "victim"
    victim.parent.mkdir()
    victim.write_text("precious")
    victim.chmod(0o600)
    assert callable(trap)
    trap(tmp_path / name, victim)
    refused: list[Exception] = []

    def work() -> None:
        try:
            use(path, "me")
        except (BoardError, ConfigurationError) as exc:
            refused.append(exc)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert [victim.name] == os.listdir(victim.parent)
    assert victim.read_text() == "precious"
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600
    if name == ".board.json.lock":
        assert refused
        assert name in str(refused[0])


# --- what a change keeps of the file ---


@by_root
def test_another_member_of_the_group_leaves_the_file_to_the_group(folder: Path) -> None:
    path = new_board(folder)
    os.chown(path, ALICE, TEAM)
    path.chmod(0o664)
    with acting_as(BOB, [TEAM]):
        JsonFileAdapter(path, user=None).add_comment("1", "x")
    status = path.stat()
    assert (status.st_gid, stat.S_IMODE(status.st_mode)) == (TEAM, 0o664)


@by_root
def test_the_rights_of_a_group_are_not_given_to_another(folder: Path) -> None:
    path = new_board(folder)
    os.chown(path, ALICE, TEAM)
    path.chmod(0o676)
    with acting_as(BOB):
        JsonFileAdapter(path, user=None).add_comment("1", "x")
    status = path.stat()
    assert (status.st_gid, stat.S_IMODE(status.st_mode)) == (BOB, 0o606)


@pytest.mark.skipif(sys.platform != "linux", reason="attributes are Linux'")
def test_attributes_of_the_file_are_kept(tmp_path: Path) -> None:
    path = new_board(tmp_path)
    try:
        os.setxattr(path, "user.note", b"ours")
    except OSError:
        pytest.skip("the file system has no attributes")
    JsonFileAdapter(path, user=None).add_comment("1", "x")
    assert os.getxattr(path, "user.note") == b"ours"


@pytest.mark.skipif(sys.platform != "linux", reason="attributes are Linux'")
def test_a_board_is_changed_where_the_file_system_has_no_attributes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_: object) -> list[str]:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    board = JsonFileAdapter(new_board(tmp_path), user=None)
    monkeypatch.setattr(os, "listxattr", none)
    board.add_comment("1", "x")
    assert [comment.text for comment in board.get_task("1").comments] == ["x"]


# --- edits that are easily missed ---


def test_an_edit_of_one_size_whose_time_is_put_back_is_seen_and_kept(tmp_path: Path) -> None:
    path = new_board(tmp_path)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    board = JsonFileAdapter(path, user=None)
    assert board.get_task("1").name == "Fix crash"
    before = path.stat()
    text = path.read_bytes().replace(b"Fix crash", b"Fix smash")
    with path.open("r+b") as file:
        file.write(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert board.get_task("1").name == "Fix smash"
    board.move_task("2", "Done")
    assert "Fix smash" in path.read_text()


@pytest.mark.parametrize("by_renaming", [True, False])
def test_an_edit_between_the_last_look_and_the_rename_is_put_back(
    tmp_path: Path, by_renaming: bool
) -> None:
    path = new_board(tmp_path)
    expected = Signature.at(path)
    ours = tmp_path / "ours"
    ours.write_text("ours")
    written = Signature.at(ours)
    assert written is not None
    if by_renaming:
        (tmp_path / "theirs").write_text("theirs")
        os.replace(tmp_path / "theirs", path)
    else:
        path.write_text("theirs")
    assert not put_in_place(ours, path, written, expected)
    assert path.read_text() == "theirs"
    assert put_in_place(ours, path, written, Signature.at(path))
    assert path.read_text() == "ours"


# --- a file that is mounted by itself ---


def test_a_file_that_is_mounted_by_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a folder").mkdir()
    path = new_board(tmp_path / "a folder")
    outside = tmp_path / "outside.json"
    outside.write_bytes(path.read_bytes())
    code = (
        "import sys; from athanore import JsonFileAdapter\n"
        "try: JsonFileAdapter(sys.argv[1]).prepare(['Todo'])\n"
        "except Exception as exc: print(type(exc).__name__, exc)"
    )
    words = ["unshare", "-m", "sh", "-c", 'mount --bind "$1" "$2" && exec "$3" -c "$4" "$2"', "-"]
    try:
        run = subprocess.run(
            [*words, str(outside), str(path), sys.executable, code],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("there is no unshare")
    if run.returncode:
        pytest.skip(f"nothing can be mounted here: {run.stderr}")
    assert "ConfigurationError" in run.stdout
    assert "is mounted by itself" in run.stdout
    assert "mount its folder" in run.stdout


# --- taking a note back ---


def test_who_stops_watching_is_in_nobodys_way(tmp_path: Path) -> None:
    board = JsonFileAdapter(new_board(tmp_path), user=None)
    board.watched_by("Todo", "me", "here", HOUR)
    board.watched_by("Todo", "me", "here", timedelta(0))
    assert board.watched_by("Todo", "another", "there", HOUR) == []
    assert board.watched_by("Done", "me", "here", timedelta(0)) == []
    assert list(json.loads((tmp_path / ".board.json.watchers").read_text())) == ["Todo"]
