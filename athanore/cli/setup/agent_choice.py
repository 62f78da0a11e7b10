"""What `athanore init --agent` writes: the same app with a coding agent that is installed."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

type AgentKind = Literal["own", "claude", "codex", "opencode", "gemini", "qwen", "mock"]

_COMMAND = re.compile(r"    # The program that works on.*?\"agent\.py\"\)\]\),\n", re.DOTALL)
_IMPORT = re.compile(r"^(from athanore import AgentDispatcher)(.*)\n", re.MULTILINE)
_GAP = re.compile(r"\n{3,}from athanore")
_PROMPT = re.compile(r'^    return f"(Work on .*?)\."\n', re.MULTILINE)
_SIGNATURE = "def work(task_id: str, task_name: str) -> str:"

_MOCK = """\
    # The mock agent only pretends: it streams words, reports progress, and fails its first attempt
    # at a task with the label "flaky". Put your own program here: command="my-agent".
    command=shlex.join(
        [sys.executable, "-m", "athanore.agent_adapters.mock_agent", "--pace", "2"]
    ),
"""
_MAY_BY_MODE = """\
    # What it may do is its mode=, in its own words; see the page on agents.
"""
_MAY: Mapping[str, str] = MappingProxyType(
    {
        "claude": """\
    # It may edit files, and with Bash run every command as you do, without asking: it needs that to
    # run tests, and to call the task API with curl. Without Bash it can only read and edit.
"""
    }
)
_OPTIONS: Mapping[str, str] = MappingProxyType({"claude": ', extra_args=["--allowedTools=Bash"]'})
_SECOND_TASK = (
    'are enough."\n      }\n',
    'are enough."\n      },\n'
    '      {"id": "2", "name": "Fix the flaky test", "labels": ["flaky"]},\n'
    '      {"id": "3", "name": "Write the changelog"}\n',
)

_AGENTS_MD = """\
# For the agents

Rules for the work in this folder, which the agents read. Write here what each of them should know:
how to run the tests, which files to leave alone, when a task is done.

- Do what your task says, and nothing else.
- Run the tests before you say that you are done.
- End with a short comment on the task: what you did, and what is left.
"""

_GITIGNORE = """\
.env
.venv/
__pycache__/
.board.json.*
"""


def with_agent(files: Mapping[str, str], agent: AgentKind) -> Mapping[str, str]:
    """The files of a new app with an agent that Athanore knows instead of one of its own.

    Args:
        files: the contents by name; see `athanore.cli.setup.templates.FILES`.
    """
    always = {"AGENTS.md": _AGENTS_MD, ".gitignore": _GITIGNORE}
    if agent == "own":
        return {**files, **always}
    if agent == "mock":
        return {**_with_mock(files), **always}
    others = {name: text for name, text in files.items() if name not in ("agent.py", "run.py")}
    return {"run.py": _with_agent(files["run.py"], agent), **others, **always}


def _with_mock(files: Mapping[str, str]) -> Mapping[str, str]:
    found = {name: text for name, text in files.items() if name != "agent.py"}
    script = _COMMAND.sub(lambda _: _MOCK, files["run.py"], count=1)
    found["run.py"] = _without_unused(
        script.replace('done_queue="Done")', 'done_queue="Done", args=["-p"])', 1)
    )
    if "board.json" in found:
        found["board.json"] = found["board.json"].replace(*_SECOND_TASK, 1)
    return found


def _without_unused(script: str) -> str:
    """The script without the folder of its own, if nothing is beside it any more."""
    if script.count("HERE") > 1:
        return script
    script = script.replace("HERE = Path(__file__).parent\n\n", "", 1)
    script = script.replace("from pathlib import Path\n", "", 1)
    return _GAP.sub("\n\nfrom athanore", script, count=1)


def _with_agent(script: str, agent: AgentKind) -> str:
    chosen = (
        f"    # `{agent}` works on a task, and has to be installed and signed in.\n"
        f"{_MAY.get(agent, _MAY_BY_MODE)}"
        f'    default_agent=CliAgentAdapter("{agent}"{_OPTIONS.get(agent, "")}),\n'
    )
    script = _COMMAND.sub(lambda _: chosen, script, count=1)
    script = script.replace("import shlex\n", "", 1).replace("import sys\n", "", 1)
    script = _IMPORT.sub(r"\1, CliAgentAdapter\2, Task\n", script, count=1)
    script = script.replace("agent_timeout=600,", "agent_timeout=1800,", 1)
    script = script.replace(
        _SIGNATURE, "def work(task_id: str, task_name: str, task: Task) -> str:"
    )
    script = _without_unused(script)
    return _PROMPT.sub(
        lambda found: (
            f'    return (\n        f"{found[1]}.\\n\\n{{task.description}}\\n\\n"\n'
            '        "Read the comments on the task first. Say in a comment what you did."\n'
            "    )\n"
        ),
        script,
        count=1,
    )


AGENTS: Final[Mapping[AgentKind, str]] = MappingProxyType(
    {
        "own": "a script, to begin with",
        "claude": "Claude Code",
        "codex": "Codex",
        "opencode": "OpenCode",
        "gemini": "Gemini CLI",
        "qwen": "Qwen Code",
        "mock": "one that only pretends, to see it all move",
    }
)
"""What the agents are, for people."""


BUILT_IN: Final = frozenset({"own", "mock"})
"""Those that need nothing to be installed."""


class _Login(NamedTuple):
    """Where a login of an agent may be: variables, and a file in a folder that one may name."""

    variables: tuple[str, ...]
    home: str
    folder: str
    file: str


_LOGINS: Mapping[AgentKind, _Login] = MappingProxyType(
    {
        "claude": _Login(
            (
                "ANTHROPIC_API_KEY",
                "ANTHROPIC_AUTH_TOKEN",
                "CLAUDE_CODE_OAUTH_TOKEN",
                "CLAUDE_CODE_USE_BEDROCK",
                "CLAUDE_CODE_USE_VERTEX",
            ),
            "CLAUDE_CONFIG_DIR",
            "~/.claude",
            ".credentials.json",
        ),
        "codex": _Login(("CODEX_API_KEY", "OPENAI_API_KEY"), "CODEX_HOME", "~/.codex", "auth.json"),
        "gemini": _Login(
            ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI"),
            "",
            "~/.gemini",
            "oauth_creds.json",
        ),
        "qwen": _Login(("OPENAI_API_KEY", "DASHSCOPE_API_KEY"), "", "~/.qwen", "oauth_creds.json"),
    }
)
"""Those of agents that cannot work without one. On macOS Claude Code has it in the keychain."""


def proposed_agent() -> AgentKind:
    """The agent that is installed, the first of several; else a script of one's own."""
    for kind in AGENTS:
        if kind not in BUILT_IN and shutil.which(kind):
            return kind
    return "own"


def missing(agent: AgentKind) -> str | None:
    """What is to be done before an agent can be started; None if nothing is known.

    Nobody is asked whether a login is still good.
    """
    if agent in BUILT_IN:
        return None
    if shutil.which(agent) is None:
        return f"{agent!r} is not on the PATH yet: install it, and sign in."
    if agent not in _LOGINS or (agent == "claude" and sys.platform == "darwin"):
        return None
    login = _LOGINS[agent]
    folder = Path(os.environ.get(login.home) or Path(login.folder).expanduser())
    if any(os.environ.get(name) for name in login.variables) or (folder / login.file).exists():
        return None
    return (
        f"{agent!r} is installed, and no login of it is seen ({folder / login.file}, or a variable "
        f"such as {login.variables[0]}): start it once by itself, and sign in."
    )
