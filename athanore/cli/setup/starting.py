"""Commands for the beginning, and for when something is wrong: init, doctor."""

from __future__ import annotations

import asyncio
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from athanore.cli.context import AppArgument, AsJson, app_name, find_app
from athanore.cli.output import console, print_json, say, warn
from athanore.cli.setup.agent_choice import (
    AGENTS,
    BUILT_IN,
    AgentKind,
    missing,
    proposed_agent,
    with_agent,
)
from athanore.cli.setup.asking import ask, choose, is_there_somebody
from athanore.cli.setup.templates import BOARDS, FILES, TO_FILL_IN, WHAT, BoardKind
from athanore.errors import ConfigurationError
from athanore.launch.terminal.display import text
from athanore.names import folder_name

if TYPE_CHECKING:
    from athanore.launch.inspection.findings import Finding

_MAY_BE_THERE: Final[Mapping[str, str]] = MappingProxyType(
    {
        ".gitignore": ": let it name .env, __pycache__/ and .board.json.*",
        "AGENTS.md": "",
        ".env.example": "",
    }
)
"""Files that a repository may have already, and what is said of them then."""


def init(
    folder: Annotated[Path, Parameter(name="FOLDER", help="Made if it is not there.")] = Path(),
    /,
    *,
    board: Annotated[BoardKind | None, Parameter(help="Where the tasks are; json.")] = None,
    agent: Annotated[
        AgentKind | None, Parameter(help="What works on them; own, a script to begin with.")
    ] = None,
    name: Annotated[
        str | None, Parameter(help="What the app is called in Prefect; as its folder.")
    ] = None,
) -> None:
    """Write a commented run.py, a board and an agent that work at once. Nothing is overwritten.

    On a terminal it asks for what is not said, one question at a time; Enter takes what it
    proposes. Elsewhere that is a JSON board, a script as the agent, and the folder's name.

    With `--board github` the board is a repository's issues, with `--board github-project` those in
    a project, with `--board gitlab` or `--board jira` a project's, with `--board linear` a
    team's, with `--board planka` a board's cards; and .env.example says what to set.
    With `--board sql` it is in a database, which the first start makes. `--agent claude` and the
    like start that agent with what it needs for its work; it has to be installed and signed in.
    `--agent mock` only pretends to work, and needs nothing.
    """
    if name is not None:
        try:
            _checked_name(name)
        except ValueError as exc:
            raise ConfigurationError(f"--name: {exc}") from None
    if is_there_somebody():
        agent = agent or _asked_agent()
        board = board or _asked_board()
        if name is None:
            name = ask("What is the app called?", folder_name(folder.resolve()), _checked_name)
    board, agent = board or "json", agent or "own"
    _write(folder, with_agent(FILES[board], agent), name or folder_name(folder.resolve()))
    _tell_next(folder, board, agent)


def _asked_board() -> BoardKind:
    proposed: BoardKind = "json"
    return choose("Where are the tasks?", BOARDS, proposed)


def _asked_agent() -> AgentKind:
    choices = dict(AGENTS)
    for kind in choices:
        if kind not in BUILT_IN and shutil.which(kind) is None:
            choices[kind] += " (not installed)"
    return choose("Which agent works on tasks?", choices, proposed_agent())


def _checked_name(name: str) -> str:
    """Refuse a name that Prefect would refuse, or that would have to be quoted.

    Raises:
        ValueError: it is one.
    """
    if folder_name(Path(name)) != name:
        raise ValueError(
            f"{name!r} is no name for an app: letters, digits, dots and dashes, at most 60, and "
            "not 'prefect' at the beginning."
        )
    return name


def _write(folder: Path, files: Mapping[str, str], name: str) -> None:
    try:
        if folder.exists() and not folder.is_dir():
            raise ConfigurationError(
                f"{folder} is a file; name another folder: athanore init FOLDER."
            )
        stay = [n for n in files if n in _MAY_BE_THERE and (folder / n).exists()]
        files = {file_name: text for file_name, text in files.items() if file_name not in stay}
        there = [str(folder / name) for name in files if (folder / name).exists()]
        if there:
            raise ConfigurationError(
                f"{', '.join(there)} {'is' if len(there) == 1 else 'are'} there already, and "
                "nothing was written; name another folder: athanore init FOLDER."
            )
        folder.mkdir(parents=True, exist_ok=True)
        for file_name, content in files.items():
            with (folder / file_name).open("x", encoding="utf-8") as file:
                file.write(content.replace("name=NAME", f'name="{name}"'))
        if "agent.py" in files:
            (folder / "agent.py").chmod(0o755)
    except OSError as exc:
        where = exc.filename or folder
        raise ConfigurationError(f"{where} cannot be written: {exc.strerror or exc}.") from exc
    for file_name in files:
        what = f"  ({WHAT[file_name]})" if file_name in WHAT else ""
        say(f"  {folder / file_name}{what}", "dim")
    for file_name in stay:
        care = _MAY_BE_THERE[file_name]
        say(f"  {folder / file_name} was there already, and stays as it is{care}")


def _tell_next(folder: Path, board: BoardKind, agent: AgentKind) -> None:
    """Say what is to be done, and at last the one command that starts it."""
    say(
        "\nIt starts Prefect, a worker and the task API, and prints their addresses; "
        "Ctrl-C stops it.\n"
        + ("Put your own agent into command= in run.py. " if agent == "own" else "")
        + "`athanore doctor` says what is missing."
    )
    if (says := missing(agent)) is not None:
        say(says, "yellow")
    if board == "sql":
        say("While it runs, from a second terminal in its folder:")
        say('  athanore create Todo "Say hello"', "bold")
    place = "" if folder == Path() else f"cd {shlex.quote(str(folder))} && "
    if board in TO_FILL_IN:
        say(f"\nFirst:\n  {place}cp .env.example .env")
        say(TO_FILL_IN[board])
        place = ""
    say("\nNow:")
    say(f"  {place}python run.py", "bold")


def doctor(
    app: AppArgument = None,
    /,
    *,
    fix: Annotated[
        bool, Parameter(negative="", help="Make the queues that are missing on the board first.")
    ] = False,
    json: AsJson = False,
) -> int:
    """Look at everything that an app needs, and say what to mend. Without --fix it changes nothing.

    The exit code is 1 if something fails.
    """
    from athanore.launch.inspection.doctor import examine

    if fix:
        from athanore.launch.inspection.mending import make_queues

        for queue in make_queues(find_app(app)[1]):
            warn(f"The board has the queue {queue!r} now.")

    return _show(asyncio.run(examine(app_name(app), lambda name: find_app(name)[1])), json)


def validate(app: AppArgument = None, /, *, json: AsJson = False) -> int:
    """Check an app's code without its board, Prefect or network: for a hook or CI.

    Whether it can be imported, its routes and options, the programs of agents and checks. The exit
    code is 1 if something fails.
    """
    from athanore.launch.inspection import validation

    return _show(validation.validate(app_name(app), lambda name: find_app(name)[1]), json)


def _show(findings: Sequence[Finding], as_json: bool) -> int:
    from athanore.launch.inspection.findings import Level

    if as_json:
        print_json(findings)
    else:
        out = console()
        styles = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}
        wide = max((len(finding.what) for finding in findings), default=0)
        for finding in findings:
            line = text(
                (f"{finding.level:<5}", styles[finding.level]),
                f"{finding.what:<{wide}} ",
                finding.says,
            )
            out.print(line, soft_wrap=True)
            if finding.mend:
                say(f"{'':<{wide + 6}}{finding.mend}", "dim")
    return 1 if any(f.level is Level.FAIL for f in findings) else 0
