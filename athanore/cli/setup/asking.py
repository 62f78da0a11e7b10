"""Questions on a terminal, one at a time; Enter takes what is proposed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from athanore.cli.output import say
from athanore.errors import ConfigurationError


def is_there_somebody() -> bool:
    """Whether somebody sits at a terminal and can be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def choose[T: str](question: str, choices: Mapping[T, str], proposed: T) -> T:
    """Have somebody choose by number or name.

    Args:
        choices: what each is, by name.
    """
    names = list(choices)
    say(question, "bold")
    for number, name in enumerate(names, start=1):
        say(f"  {number}  {name:<16} {choices[name]}".rstrip())

    def read(said: str) -> T:
        if said.isdecimal() and 1 <= int(said) <= len(names):
            return names[int(said) - 1]
        for name in names:
            if name == said:
                return name
        raise ValueError(f"{said!r} is none of them; type a number from 1 to {len(names)}.")

    return ask("Number or name", proposed, read)


def ask[T](question: str, proposed: str, read: Callable[[str], T]) -> T:
    """Have somebody type something.

    Args:
        read: returns what is meant, or raises a ValueError that says what is wrong.
    """
    while True:
        try:
            said = input(f"{question} [{proposed}]: ").strip()
        except EOFError:
            raise ConfigurationError("Nothing was written.") from None
        try:
            return read(said or proposed)
        except ValueError as exc:
            say(f"  {exc}", "yellow")
