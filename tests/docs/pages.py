"""Taking the documentation apart: its pages, their code blocks and the commands in them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GENERATED = "api-reference.md"

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?<=\n\n)((?: {4}[^\n]*\n)(?:(?: {4}[^\n]*)?\n)*)")
_INLINE = re.compile(r"`(athanore (?!\d)[^`]+)`")
_ASSIGNMENT = re.compile(r"[A-Z_]+=\S*")


@dataclass(frozen=True)
class Block:
    """A block of code, and the page that it is on."""

    page: str
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}: {self.code.splitlines()[0][:40]}"


def pages() -> dict[str, str]:
    """The text of every page that people wrote, and of the README, by name."""
    found = {p.name: p.read_text() for p in sorted(DOCS.glob("*.md")) if p.name != GENERATED}
    return {**found, "README.md": (ROOT / "README.md").read_text()}


def blocks(*languages: str) -> list[Block]:
    """All fenced blocks in some languages."""
    return [
        Block(page, language, code)
        for page, text in pages().items()
        for language, code in _FENCED.findall(text)
        if language in languages
    ]


def shell_blocks() -> list[Block]:
    """Fenced blocks of commands, no scripts."""
    return [b for b in blocks("sh", "bash", "console") if not b.code.startswith("#!")]


def commands(program: str) -> dict[str, list[str]]:
    """Every command of a program that the pages show, as written, with its words."""
    found: dict[str, list[str]] = {}
    for text in pages().values():
        prose = _FENCED.sub("\n", text)
        lines = [line.strip() for block in _INDENTED.findall(prose) for line in block.splitlines()]
        lines += [line for block in shell_blocks() for line in block.code.splitlines()]
        lines += _INLINE.findall(prose)
        for line in lines:
            for part in re.split(r"&&|;|\s#\s", line):
                words = _words(part.strip())
                if words[:1] == [program]:
                    found[part.strip()] = words[1:]
    return found


def _words(line: str) -> list[str]:
    if line.startswith(("#", "|", ">")):
        return []
    try:
        words = shlex.split(line.replace("[", " ").replace("]", " "))
    except ValueError:
        return []  # prose, or a picture
    while words and _ASSIGNMENT.fullmatch(words[0]):
        words.pop(0)
    return words
