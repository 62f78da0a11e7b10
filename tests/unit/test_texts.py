"""Texts at their boundaries: cleaned where they come in, escaped for where they go."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from base64 import b64encode
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import cast
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pydantic import ValidationError

from athanore import AgentDispatcher, Route, Task
from athanore.agent_adapters.base import AgentJob, RouteView
from athanore.agent_adapters.common.output import LINE_LIMIT, LineSplitter, Tail
from athanore.agent_adapters.subprocess import SubprocessAgentAdapter
from athanore.api.models import CommentRequest, ProgressRequest, TaskRequest
from athanore.models import AgentEvent
from athanore.queue_adapters.planka import PlankaBackend
from athanore.runs.records import tokens
from athanore.runtime.secrets.environment import agent_environment
from athanore.runtime.secrets.redaction import REDACTED, Redactor
from athanore.texts import cut, cut_lines, is_storable, markdown, readable, shown

ROOT = Path(__file__).parents[2]

READ = {
    "colours": ("\x1b[31mfailed\x1b[0m\x1b[2K", "failed"),
    "a progress bar": ("0%\r50%\r100%", "100%"),
    "a progress bar and its end": ("0%\r100%\r\nnext\r\n", "100%\nnext\n"),
    "a title": ("\x1b]0;title\x07text", "text"),
    "a link": ("\x1b]8;;http://x\x1b\\here\x1b]8;;\x1b\\", "here"),
    "a string that nothing ends": ("\x1b]0;text\nnext", "0;text\nnext"),
    "C1": ("\x9b31mred\x9d0;x\x9c\x85", "red"),
    "a device string": ("\x1bP1$r\x1b\\text\x1b(B", "text"),
    "letters that are rubbed out": ("N\bNA\bAME |\b/\b-\b\ndone", "NAME \ndone"),
    "rubbing out no line": ("a\nb\b\b\bc", "a\nc"),
    "bells and shifts": ("\x07a\x0eb\x0fc\x7f\x0b\x0c", "abc"),
    "NUL and half a pair": ("a\0b\ud800c", "a\ufffdb\ufffdc"),
    "a lone escape": ("a\x1b", "a"),
    "nothing special": ("Größe\t3 µm\n 完了 👩‍👩‍👧\u202e", "Größe\t3 µm\n 完了 👩‍👩‍👧\u202e"),
}


@pytest.mark.parametrize("name", READ)
def test_what_is_read_of_a_text(name: str) -> None:
    text, read = READ[name]
    assert readable(text) == read


@given(st.text(st.sampled_from("\x1b[]0;m\x07\\P\r\b\na \x9b\x9d\x9c\0\ud800X")))
def test_what_was_read_is_read_the_same_again_and_can_be_stored(text: str) -> None:
    read = readable(text)
    assert is_storable(read)
    assert readable(read) == read
    assert shown(read) == read


@given(st.text())
def test_what_is_shown_does_nothing_and_stays(text: str) -> None:
    assert shown(shown(text)) == shown(text)
    assert all(c in "\n\t" or ord(c) >= 0x20 for c in shown(text))


IMAGES = (
    "![x](http://h/a.png) [click](javascript:alert) <img src=x> <http://h> `c` *e* ~~s~~ &copy; #1"
)
MARKDOWN = (
    IMAGES,
    f"a | b\n| {IMAGES} |",
    "# head\n\n- item\n1. x",
    "\\",
    "a\\",
    "<b>",
    "]: x",
    "|",
)


@pytest.mark.parametrize("text", MARKDOWN)
def test_a_cell_holds_text_only(text: str) -> None:
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    document = f"| head | next |\n| --- | --- |\n| x {markdown(text)} | end |"
    tokens_ = reader.parse(document)
    cells = [t for t in tokens_ if t.type == "inline"]
    assert [t.content for t in cells][-1] == "end"
    assert len(cells) == 4
    kinds = {child.type for cell in cells for child in cell.children or ()}
    assert kinds <= {"text", "text_special"}, kinds
    said = "".join(child.content for child in cells[2].children or ())
    assert said == "x " + " ".join(text.split())


def test_what_is_cut_says_so() -> None:
    assert cut("abc", 3) == "abc"
    assert cut("abcdef", 3) == "abc... [3 more cut]"
    assert cut_lines("1\n2\nabcdef", 3, 2) == "2\nabc... [3 more cut]"


SECRET = "correct-horse-battery-staple"
TOKEN = tokens.new_token(uuid4())


def read(data: bytes) -> list[str]:
    splitter = LineSplitter()
    return [*splitter.feed(data), *splitter.close()]


@pytest.mark.parametrize("secret", [SECRET, TOKEN], ids=["password", "token"])
@pytest.mark.parametrize("kept", [0, 1, 5, 10, 20, 27])
def test_no_beginning_of_a_secret_is_left_where_a_line_is_cut(secret: str, kept: int) -> None:
    clean = Redactor([SECRET])
    (line,) = read(b"x" * (LINE_LIMIT - kept) + secret.encode() + b"\n")
    leaked = [n for n in range(4, len(secret)) if secret[:n] in clean.text(f"{line}\nnext")]
    assert not leaked


def test_what_is_cut_for_a_comment_is_redacted_before() -> None:
    tail = Tail()
    tail.add("x" * 990 + SECRET)
    assert cut_lines(Redactor([SECRET]).text(str(tail)), 1000, 20) == "x" * 990 + REDACTED


def test_colours_hide_no_secret() -> None:
    assert Redactor([SECRET]).text(f"{SECRET[:7]}\x1b[0m{SECRET[7:]}\x1b[1m") == REDACTED


def test_a_password_is_known_as_curl_shows_it() -> None:
    basic = b64encode(f"admin:{SECRET}".encode()).decode()
    assert Redactor([f"admin:{SECRET}"]).text(f"> Authorization: Basic {basic}") == (
        f"> Authorization: Basic {REDACTED}{'=' * basic.count('=')}"
    )


@pytest.mark.parametrize(
    "backend",
    [
        PlankaBackend("http://127.0.0.1:1", token=SECRET),
        PlankaBackend("http://127.0.0.1:1", username="me", password=SECRET),
    ],
)
def test_credentials_that_were_given_in_the_code_are_known(backend: PlankaBackend) -> None:
    board = backend.create_adapter()
    clean = Redactor.of(AgentDispatcher(name="x", command="sh", queue_backend=board))
    assert clean.text(f"it is {SECRET}") == f"it is {REDACTED}"
    board.close()


def test_of_a_long_line_that_is_drawn_again_the_last_state_is_kept() -> None:
    bar = b"".join(b"\r%d %% of the work" % n for n in range(9000))
    assert len(bar) > 2 * LINE_LIMIT
    (line,) = read(bar + b"\n")
    assert readable(line) == "8999 % of the work"
    splitter = LineSplitter()
    (line,) = [
        *(x for n in range(0, len(bar), 999) for x in splitter.feed(bar[n : n + 999])),
        *splitter.close(),
    ]
    assert readable(line) == "8999 % of the work"


@pytest.mark.parametrize(
    ("model", "field", "fields"),
    [
        (CommentRequest, "comment", {}),
        (TaskRequest, "name", {"queue_name": "Todo"}),
        (TaskRequest, "description", {"queue_name": "Todo", "name": "a"}),
        (ProgressRequest, "text", {"percent": 1}),
    ],
)
def test_what_comes_over_the_api_is_cleaned(
    model: type[CommentRequest | TaskRequest | ProgressRequest], field: str, fields: dict[str, str]
) -> None:
    made = model.model_validate({**fields, field: "\x1b[31m50%\r100%\x1b[0m\0"})
    assert getattr(made, field) == "100%\ufffd"


@pytest.mark.parametrize(
    ("text", "kept"),
    [("\x1b[0m", "[0m"), ("ab\b\b", "ab"), ("50%\r ", "50% "), ("\x1b]0;title\x07", "]0;title")],
)
def test_of_a_comment_of_which_a_terminal_shows_nothing_the_characters_are_kept(
    text: str, kept: str
) -> None:
    assert CommentRequest.model_validate({"comment": text}).comment == kept


@given(st.text(alphabet="a[A;0 \n\r\t\b\x07\x1b\x9b\x9c\x00\x85\u2028\u3000\ufeff", max_size=12))
def test_what_the_schema_of_a_text_allows_is_taken_and_nothing_else(text: str) -> None:
    pattern = CommentRequest.model_json_schema()["$defs"]["Name"]["pattern"]
    try:
        made = CommentRequest.model_validate({"comment": text})
    except ValidationError:
        assert re.search(pattern, text) is None
    else:
        assert re.search(pattern, text) is not None
        assert made.comment.strip()


def prompt(task_id: str, task_name: str) -> str:
    return ""


def test_a_long_title_is_cut_in_the_environment_of_an_agent() -> None:
    task = Task(id="1", name="x" * 150_000, queue_name="Todo")
    env = agent_environment(Route("Todo", prompt), task, attempt=1, api_url="", base={})
    assert env["ATHANORE_TASK_NAME"] == "x" * 1000 + "... [149000 more cut]"


def job(tmp_path: Path, **changes: object) -> AgentJob:
    def ignore(_: AgentEvent) -> None:
        """Nobody listens."""

    route = cast(RouteView, Route("Todo", prompt))
    task = Task(id="1", name="a", queue_name="Todo")
    made = AgentJob(
        task=task,
        route=route,
        prompt="",
        attempt=1,
        timeout=timedelta(seconds=60),
        env={"PATH": os.defpath},
        cwd=tmp_path,
        emit=ignore,
        command=("sh",),
    )
    return replace(made, **changes)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"prompt": "x" * 200_000}, "the prompt of 200000 bytes is too long"),
        ({"command": ("sh", "é" * 100_000)}, "argument 1 of 200000 bytes is too long"),
        (
            {"env": {"PATH": os.defpath, "NOTES": "x" * 150_000}},
            "the variable NOTES of 150006",
        ),
        (
            {"env": {"PATH": os.defpath} | {f"N{n}": "x" * 100_000 for n in range(100)}},
            "arguments and environment together have 100",
        ),
    ],
)
async def test_a_text_that_is_too_long_is_named(
    tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    result = await SubprocessAgentAdapter().run(job(tmp_path, **changes))
    assert says in result.reason


LOCALE = """
import asyncio, sys
from pathlib import Path
from tests.unit.test_texts import job
from athanore.agent_adapters.subprocess import SubprocessAgentAdapter
name = ascii(sys.stdin.buffer.read().decode())
agent = SubprocessAgentAdapter()
script = 'printf "%s %s" "$0" "$NAME" >&2; exit 3'
made = job(Path("."), prompt=eval(name), command=("sh", "-c", script))
made.env["NAME"] = eval(name)
result = asyncio.run(agent.run(made))
print(ascii(result.output_tail), ascii(result.reason))
"""


@pytest.mark.nightly
def test_an_agent_is_told_in_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    words = "Größe prüfen 任务"
    done = subprocess.run(
        [sys.executable, "-c", LOCALE],
        input=words.encode(),
        capture_output=True,
        check=False,
        cwd=ROOT,
        env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PATH": os.defpath},
    )
    assert done.stdout.decode() == f"{f'{words} {words}'!a} 'exit code 3'\n", done.stderr
