"""Title and text of a pull request, from templates or functions.

What a task or a commit says is anybody's text: a forge defuses it before it is sent.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from athanore.errors import ConfigurationError, PublishRefusedError, reason
from athanore.models import Task
from athanore.texts import cut

BODY: Final = "{description}\n\nTask: {task_url}\n\n{commits}"
"""The text of a pull request, where none is said."""

_FIELDS: Final = ("task_id", "task_name", "task_url", "description", "branch", "base", "commits")
_LONGEST_DESCRIPTION: Final = 20_000
_SHOWN: Final = 50  # commits
_BEGIN, _END = "<!-- athanore:begin -->", "<!-- athanore:end -->"


@dataclass(frozen=True, slots=True)
class PullRequestTask:
    """What a pull request is about.

    Attributes:
        task: the task, as it is on the board.
        branch: the branch with the agent's work.
        base: the branch that it is to be merged into.
        commits: the first lines of the commits' messages, oldest first.
    """

    task: Task
    branch: str
    base: str
    commits: tuple[str, ...]


type PullRequestText = str | Callable[[PullRequestTask], str]
"""A template, with fields as `{task_name}`, or a function."""


class Texts:
    """Writes title and text of pull requests.

    Args:
        title, body: templates or functions.

    Raises:
        ConfigurationError: a template is none, or has a field that there is not.
    """

    def __init__(self, title: PullRequestText, body: PullRequestText) -> None:
        for name, text in (("title", title), ("body", body)):
            if isinstance(text, str):
                _check(name, text)
        self._title, self._body = title, body

    def title(self, about: PullRequestTask) -> str:
        """The title, on one line.

        Raises:
            PublishRefusedError: the function for it failed.
        """
        line = " ".join(_made(self._title, about).split())
        return line or f"Task {about.task.id}"

    def body(self, about: PullRequestTask) -> str:
        """The text.

        Raises:
            PublishRefusedError: the function for it failed.
        """
        return _made(self._body, about).strip()


def _check(name: str, template: str) -> None:
    try:
        named = {field for _, field, _, _ in string.Formatter().parse(template) if field}
    except ValueError as exc:
        raise ConfigurationError(f"{name}={template!r} is no template: {exc}.") from None
    if unknown := named - set(_FIELDS):
        raise ConfigurationError(
            f"{name}={template!r} has the field {unknown.pop()!r}; there are {', '.join(_FIELDS)}."
        )


def _made(text: PullRequestText, about: PullRequestTask) -> str:
    if not isinstance(text, str):
        try:
            return str(text(about))
        except Exception as exc:
            raise PublishRefusedError(
                f"the function for the text of the pull request failed ({type(exc).__name__}: "
                f"{reason(exc)})"
            ) from exc
    task = about.task
    more = len(about.commits) - _SHOWN
    commits = [f"- {line}" for line in about.commits[:_SHOWN]]
    if more > 0:
        commits.append(f"- and {more} more")
    return text.format(
        task_id=task.id,
        task_name=task.name,
        task_url=task.url or f"{task.id} ({task.name})",
        description=cut(task.description, _LONGEST_DESCRIPTION),
        branch=about.branch,
        base=about.base,
        commits="\n".join(commits),
    )


def marked(text: str) -> str:
    """A text between marks, by which it is found again in what people add to it."""
    for mark in (_BEGIN, _END):
        text = text.replace(mark, "")
    return f"{_BEGIN}\n{text}\n{_END}"


def renewed(there: str, text: str) -> str | None:
    """A text of a forge with what is between our marks replaced; None if there are none."""
    found = re.search(f"{_BEGIN}.*?{_END}", there.replace("\r\n", "\n"), re.DOTALL)
    if found is None:
        return None
    plain = found.string
    return plain[: found.start()] + marked(text) + plain[found.end() :]
