"""`athanore logs -f` without a task: what all agents say, as they say it, a colour each."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from rich.text import Text

from athanore.cli.at_work import AtWork, find_at_work, in_path
from athanore.cli.context import app_name
from athanore.cli.output import console, say
from athanore.errors import ConfigurationError, NotFoundError, PrefectUnavailableError
from athanore.launch.terminal.display import text
from athanore.models import EventKind
from athanore.services.showing.views import Overview, WholeTask
from athanore.texts import as_json, cut

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta")
_BAD = (EventKind.FAILED, EventKind.DEAD_LETTERED)
_LONGEST_NAME = 24
_LONGEST_INPUT = 200


def follow_all(app: str | None, *, json_lines: bool) -> None:
    """Print what the agents of the app that runs here say, until it ends or Ctrl-C."""
    here = find_at_work(app)
    if here is None:
        raise ConfigurationError(
            f"{app_name(app)} does not run on this machine as it is now, or it needs the "
            "operators' key (ATHANORE_API_KEY). `athanore logs TASK -f` follows one task of an app "
            "that runs elsewhere."
        )
    events = here.events("/overview/events")
    if events is None:
        raise PrefectUnavailableError(f"The app at {here.host}:{here.port} does not answer.")
    names = _Names(here)
    if not json_lines:
        say("What agents say, from ten seconds ago on; Ctrl-C ends it.", "dim")
    for event in events:
        if json_lines:
            sys.stdout.write(as_json(event) + "\n")
            sys.stdout.flush()
            continue
        for line, style in lines_of(str(event.get("kind")), event.get("data") or {}):
            console().print(names.before(event).append_text(text((line, style))), soft_wrap=True)
    say("The app has ended, or begins anew.", "dim")


def lines_of(kind: str, data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What an event says, in lines, each with its style."""
    if kind == EventKind.OUTPUT:
        for line in data.get("lines") or ():
            yield str(line.get("text", "")), "dim" if line.get("stream") == "stderr" else ""
    elif kind == EventKind.TOOL_USE:
        given = data.get("input")
        said = given if isinstance(given, str) else as_json(given)
        yield f"uses {data.get('name')} {cut(' '.join(said.split()), _LONGEST_INPUT)}", "dim"
    elif kind == EventKind.PROGRESS:
        percent, words = data.get("percent"), " ".join(str(data.get("text") or "").split())
        if percent is not None or words:
            done = "" if percent is None else f"{percent} %"
            yield ": ".join(part for part in (done, words) if part), ""
    elif kind == EventKind.CLAIMED:
        yield f"attempt {data.get('attempt')} begins, from {data.get('queue')!r}", "bold"
    elif kind == EventKind.COMMENT:
        yield f"comments: {data.get('text')}", ""
    elif kind == EventKind.ASKED:
        yield f"asks: {data.get('question')}", "bold yellow"
    elif kind == EventKind.ANSWERED:
        yield f"is answered by {data.get('by')}: {data.get('answer')}", ""
    elif said := data.get("message") or data.get("reason"):
        # The rest is the end of what the agent has said, which was printed.
        yield str(said).partition("\n")[0], "bold red" if kind in _BAD else "bold"


class _Names:
    """The tasks' names, asked for when one is first heard of, and their colours."""

    def __init__(self, here: AtWork) -> None:
        self._here = here
        self._known: dict[str, tuple[str, str]] = {}

    def _of_board(self, task: str) -> str:
        """The name of a task without a run; "" if it is gone."""
        try:
            whole = self._here.ask(WholeTask, f"/overview/tasks/{in_path(task)}")
        except NotFoundError:
            return ""
        return "" if whole is None else whole.task.name

    def before(self, event: Mapping[str, Any]) -> Text:
        """What stands before a line: when, and whose it is."""
        task = str(event.get("task_id") or "")
        if task not in self._known:
            seen = self._here.ask(Overview, "/overview")
            runs = {} if seen is None else {run.task_id: run.name for run in seen.runs}
            label = f"{task} {runs.get(task) or self._of_board(task)}".strip()
            if len(label) > _LONGEST_NAME:
                label = label[: _LONGEST_NAME - 1] + "…"
            self._known[task] = label, _COLOURS[len(self._known) % len(_COLOURS)]
        label, colour = self._known[task]
        when = datetime.fromisoformat(str(event["at"])).astimezone().strftime("%H:%M:%S")
        return text((f"{when} ", "dim"), (f"{label:<{_LONGEST_NAME}} ", colour))
