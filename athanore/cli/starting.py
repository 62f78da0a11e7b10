"""Commands for the beginning, and for when something is wrong: init, doctor."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from athanore.cli.agent_choice import AgentKind, missing, with_agent
from athanore.cli.context import AppArgument, AsJson, app_name, find_app
from athanore.cli.output import console, print_json, say
from athanore.cli.templates import FILES, TO_FILL_IN, WHAT, BoardKind
from athanore.errors import ConfigurationError
from athanore.launch.display import text
from athanore.names import folder_name

if TYPE_CHECKING:
    from athanore.launch.findings import Finding


def init(
    folder: Annotated[Path, Parameter(name="FOLDER", help="Made if it is not there.")] = Path(),
    /,
    *,
    board: Annotated[BoardKind, Parameter(help="Where the tasks are.")] = "json",
    agent: Annotated[
        AgentKind, Parameter(help="What works on them; own is a script to begin with.")
    ] = "own",
) -> None:
    """Write a commented run.py, a board and an agent that work at once. Nothing is overwritten.

    With `--board github` the board is a repository's issues, with `--board github-project` those in
    a project, with `--board gitlab` or `--board jira` a project's, with `--board linear` a
    team's; and .env.example says what to set.
    With `--board sql` it is in a database, which the first start makes. `--agent claude` and the
    like start that agent with what it needs for its work; it has to be installed and signed in.
    """
    files = with_agent(FILES[board], agent)
    there = [str(folder / name) for name in files if (folder / name).exists()]
    if there:
        raise ConfigurationError(
            f"{', '.join(there)} {'is' if len(there) == 1 else 'are'} there already, and nothing "
            "was written; name another folder: athanore init FOLDER."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        app = folder_name(folder.resolve())  # nothing in it would have to be quoted
        for name, content in files.items():
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(content.replace("name=NAME", f'name="{app}"'))
        if agent == "own":
            (folder / "agent.py").chmod(0o755)
    except OSError as exc:
        where = exc.filename or folder
        raise ConfigurationError(f"{where} cannot be written: {exc.strerror or exc}.") from exc
    for name in files:
        say(f"  {folder / name}" + (f"  ({WHAT[name]})" if name in WHAT else ""), "dim")
    say("\nNow:")
    if folder != Path():
        say(f"  cd {folder}", "bold")
    if ".env.example" in files:
        say("  cp .env.example .env", "bold")
        say(f"{TO_FILL_IN[board]}\nThen:")
    say("  python run.py", "bold")
    if board == "sql":
        say("and from a second terminal, in the same folder:")
        say('  athanore create Todo "Say hello"', "bold")
    say(
        "\nIt starts Prefect, a worker and the task API, and prints their addresses; "
        "Ctrl-C stops it.\n"
        + ("Put your own agent into command= in run.py. " if agent == "own" else "")
        + "`athanore doctor` says what is missing."
    )
    if (says := missing(agent)) is not None:
        say(says, "yellow")


def doctor(app: AppArgument = None, /, *, json: AsJson = False) -> int:
    """Look at everything that an app needs, and say what to mend. Changes nothing.

    The exit code is 1 if something fails.
    """
    from athanore.launch.doctor import examine

    return _show(asyncio.run(examine(app_name(app), lambda name: find_app(name)[1])), json)


def validate(app: AppArgument = None, /, *, json: AsJson = False) -> int:
    """Check an app's code without its board, Prefect or network: for a hook or CI.

    Whether it can be imported, its routes and options, the programs of agents and checks. The exit
    code is 1 if something fails.
    """
    from athanore.launch import validation

    return _show(validation.validate(app_name(app), lambda name: find_app(name)[1]), json)


def _show(findings: Sequence[Finding], as_json: bool) -> int:
    from athanore.launch.findings import Level

    if as_json:
        print_json(findings)
    else:
        out = console()
        styles = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}
        for finding in findings:
            line = text(
                (f"{finding.level:<5}", styles[finding.level]), f"{finding.what:<13} ", finding.says
            )
            out.print(line, soft_wrap=True)
            if finding.mend:
                say(f"{'':<19}{finding.mend}", "dim")
    return 1 if any(f.level is Level.FAIL for f in findings) else 0
