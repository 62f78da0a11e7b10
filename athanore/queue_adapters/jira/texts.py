"""Texts on their way to Jira, as it takes them on Cloud and Data Center: wiki markup.

Agents write Markdown. A block of code becomes one of Jira's, and back. The rest is sent as it is:
what it would mean as a macro or a mention is broken by a space without width.
"""

from __future__ import annotations

import re
from typing import Final

from athanore.queue_adapters.tracker.texts import SPACE, Breaking, Texts, nowhere, up_to_last

_FENCE = re.compile(r"^```([\w+#.-]*)\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"^\{code(?::([\w+#.-]+))?\}\n(.*?)\n\{code\}$", re.MULTILINE | re.DOTALL)
_FENCE_END = re.compile(r"\n```$", re.MULTILINE)
_CODE_END = re.compile(r"\n\{code\}$", re.MULTILINE)

_MACRO = Breaking(re.compile(r"(\{)(?=[a-z])"), re.compile(rf"(\{{){SPACE}"), spared=nowhere)
_PERSON = Breaking(re.compile(r"(\[)(?=~)"), re.compile(rf"(\[){SPACE}"), spared=nowhere)

TEXTS: Final = Texts(longest_title=255, longest_text=32_767, breakings=(_MACRO, _PERSON))


def written(text: str) -> str:
    """A text of ours as Jira shall have it, cut so that it fits as it is then."""
    harmless = TEXTS.harmless(text)
    room = TEXTS.longest_text
    while True:
        blocks, rest = up_to_last(_FENCE_END, TEXTS.fitting(harmless, room))
        found = _FENCE.sub(_fenced, blocks) + rest
        if (length := _length(found)) <= TEXTS.longest_text:
            return found
        room = min(room - 1, room * TEXTS.longest_text // length)


def read(text: str | None) -> str:
    """A text of Jira as we have written it, or as its author has."""
    blocks, rest = up_to_last(_CODE_END, TEXTS.read(text)[0])
    return _CODE.sub(_plain, blocks) + rest


def _fenced(found: re.Match[str]) -> str:
    language = f":{found[1]}" if found[1] else ""
    return f"{{code{language}}}\n{found[2]}\n{{code}}"


def _plain(found: re.Match[str]) -> str:
    return f"```{found[1] or ''}\n{found[2]}\n```"


def _length(text: str) -> int:
    """As Jira counts: what is beyond the first 65,536 characters of Unicode counts twice."""
    return len(text.encode("utf-16-le")) // 2
