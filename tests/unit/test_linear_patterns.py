"""No text that others write takes long to be searched: each pattern takes linear time."""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import athanore
from athanore.queue_adapters.gitlab import texts as gitlab
from athanore.queue_adapters.jira import texts as jira
from athanore.runtime.secrets.redaction import Redactor
from athanore.texts import readable

_SMALL, _TIMES = 500, 8
_TOO_STEEP = 3 * _TIMES  # in square time it is _TIMES * _TIMES

BOUNDED: Mapping[str, str] = {
    "athanore.cli.setup.agent_choice _COMMAND": "of a template of ours",
    "athanore.cli.setup.agent_choice _GAP": "of a template of ours",
    "athanore.http_client.addresses": "of an address that the operators set",
    "athanore.queue_adapters.gitlab.texts _FENCED": "of a text up to the last end of a block",
    "athanore.queue_adapters.jira.texts _FENCE": "of a text up to the last end of a block",
    "athanore.queue_adapters.jira.texts _CODE": "of a text up to the last end of a block",
}
"""Patterns that see a text of ours or of the operators, or a part of one; with what that is."""


@dataclass(frozen=True)
class Use:
    """A pattern and how it is used: at the beginning of a text, for all of it, or anywhere."""

    place: str
    pattern: re.Pattern[str]
    call: str

    def seconds(self, text: str) -> float:
        return seconds(lambda: getattr(self.pattern, self.call)(text))


def seconds(work: Callable[[], object]) -> float:
    """Seconds of the processor, which others on the machine do not count for."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def uses() -> list[Use]:
    """All patterns in the package that are written down as they are."""
    found: dict[tuple[str, int, str], Use] = {}
    root = Path(athanore.__file__).parent
    for path in sorted(root.rglob("*.py")):
        module = ".".join(path.relative_to(root.parent).with_suffix("").parts)
        if not module.startswith("athanore.testing"):
            for use in uses_in(module, path.read_text()):
                found.setdefault((use.pattern.pattern, use.pattern.flags, use.call), use)
    return list(found.values())


def uses_in(module: str, source: str) -> Iterator[Use]:
    nodes = list(ast.walk(ast.parse(source)))
    called: dict[str, set[str]] = {}
    names: dict[int, str] = {}
    for node in nodes:
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=call):
                called.setdefault(name, set()).add(call)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                names[id(value)] = name
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                names[id(value)] = name
            case _:
                pass
    for node in nodes:
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="re"), attr=call),
                args=[ast.Constant(value=str(pattern)), *rest],
            ):
                name = names.get(id(node), "")
                how = called.get(name, set()) if call == "compile" else {call}
                anchored = how if how and how <= {"match", "fullmatch"} else {"search"}
                flags = [*rest, *(k.value for k in node.keywords if k.arg == "flags")]
                flag = ast.unparse(flags[-1]) if flags and call == "compile" else "0"
                known = eval(flag, {"re": re})
                for each in anchored:
                    yield Use(f"{module} {name}".strip(), re.compile(pattern, known), each)
            case _:
                pass


def pieces(pattern: str) -> list[str]:
    """What a text for this pattern may consist of: its fixed texts, and characters of its sets."""
    fixed = re.sub(r"\(\?[:=!<P][^)>]*>?|\[[^\]]*\]|\\[A-Zwsdb]|[*+?|(){}^$]", "\0", pattern)
    plain = [_unescaped(part) for part in fixed.split("\0")]
    characters = [c for part in re.findall(r"\[\^?(.*?)\]", pattern) for c in _ends(part)]
    both = ["".join(plain[:n]) for n in range(2, 6)]
    found = [*plain, *characters, *both, *(f"{part}x\n" for part in plain if part)]
    found += ["a", "1", " ", "-", "\n", "x1-"]
    return sorted({piece for piece in found if 0 < len(piece) < 60}, key=len)[:40]


def _ends(characters: str) -> tuple[str, str]:
    text = _unescaped(characters)
    return text[:1], text[-1:]


def _unescaped(text: str) -> str:
    def one(escape: re.Match[str]) -> str:
        code = escape[1]
        return ast.literal_eval(f"'\\{code}'") if code[0] in "xntr" else code

    return re.sub(r"\\(x..|.)", one, text)


def is_steep(cost: Callable[[str], float], lead: str, piece: str) -> bool:
    """Whether a text of this kind takes much more than _TIMES as long at _TIMES the size."""
    small, large = (f"{lead}{piece * (size // len(piece))}\0" for size in (_SMALL, _SMALL * _TIMES))
    if cost(large) < 1e-4:  # too short to be measured, and so to be square
        return False
    for _ in range(3):
        if min(cost(large) for _ in range(3)) < _TOO_STEEP * min(cost(small) for _ in range(9)):
            return False
    return True


def test_every_pattern_takes_linear_time_for_whatever_others_write() -> None:
    steep: dict[str, str] = {}
    for use in uses():
        found = pieces(use.pattern.pattern)
        leads = ["", *(p for p in found if len(p) > 1)][:5]
        texts = ((lead, piece) for lead in leads for piece in found)
        if worst := next((text for text in texts if is_steep(use.seconds, *text)), None):
            steep[use.place] = f"{use.place}.{use.call}: {worst[0]!r} and many {worst[1]!r}"
    assert not steep.keys() - BOUNDED.keys(), "\n".join(steep.values())


def test_a_pattern_that_takes_square_time_is_noticed() -> None:
    (use,) = uses_in("athanore.some", 're.search("\\x9d[^\\x07]*\\x07", "")')
    assert is_steep(use.seconds, "", "\x9d")


KEY = "-----BEGIN PRIVATE KEY-----\n" + "\n".join(f"{n:x<64}" for n in range(25))


@pytest.mark.parametrize(
    "piece",
    ["\x9d", "\x1b]", "ath_", "- [cut: line over 1 bytes]", "x... [1 more cut]", "-" * 32, "\b"],
)
def test_a_text_is_read_and_redacted_in_linear_time(piece: str) -> None:
    clean = Redactor([KEY, "hunter2-hunter2", "correct-horse", "battery-staple"])

    def cost(text: str) -> float:
        return seconds(lambda: clean.text(f"{readable(text)} [cut: line over 1 bytes]"))

    assert not is_steep(cost, "", piece)


def test_of_a_secret_that_was_cut_the_longest_beginning_goes() -> None:
    clean = Redactor([KEY, "aabaab-aabaac"])
    mark = " [cut: line over 9 bytes]"
    assert clean.text(f"x aabaab-aabaa{mark}") == f"x [redacted]{mark}"
    assert clean.text(f"aabaabaab{mark}") == f"aab[redacted]{mark}"
    assert clean.text(f"key: {KEY[:700]}{mark}") == f"key: [redacted]{mark}"
    assert clean.text(f"aab{mark} ath_1{mark}") == f"aab{mark} [redacted]{mark}"


@pytest.mark.parametrize("piece", ["```x\n", "{code:x}\n", "```\n", " "])
def test_texts_of_boards_are_written_and_read_in_linear_time(piece: str) -> None:
    for work in (gitlab.TEXTS.body, gitlab.TEXTS.title, jira.written, jira.read):
        assert not is_steep(lambda text, work=work: seconds(lambda: work(text)), "", piece)
