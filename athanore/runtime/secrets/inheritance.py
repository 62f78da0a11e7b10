"""What agents do not inherit of the worker's environment, and what stands there instead.

An agent works on the same machine as the worker, but elsewhere: in its own folder, without a
terminal, and not in the session of the person or service that started the worker. What describes
those is left out. What describes the machine (PATH, HOME, proxies, keys) is inherited.
docs/agents.md shows the lists; a test compares.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import translate
from types import MappingProxyType

OF_THE_LAUNCHER: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "its folder": (
            "PWD",
            "OLDPWD",
            "INIT_CWD",
            "DIRENV_*",
        ),
        "its git repository and commit": (
            # `git rev-parse --local-env-vars`
            "GIT_ALTERNATE_OBJECT_DIRECTORIES",
            "GIT_COMMON_DIR",
            "GIT_CONFIG",
            "GIT_CONFIG_COUNT",
            "GIT_CONFIG_KEY_*",
            "GIT_CONFIG_PARAMETERS",
            "GIT_CONFIG_VALUE_*",
            "GIT_DIR",
            "GIT_GRAFT_FILE",
            "GIT_IMPLICIT_WORK_TREE",
            "GIT_INDEX_FILE",
            "GIT_INTERNAL_SUPER_PREFIX",
            "GIT_NO_REPLACE_OBJECTS",
            "GIT_OBJECT_DIRECTORY",
            "GIT_PREFIX",
            "GIT_REPLACE_REF_BASE",
            "GIT_SHALLOW_FILE",
            "GIT_WORK_TREE",
            # What git sets for its hooks.
            "GIT_AUTHOR_DATE",
            "GIT_COMMITTER_DATE",
            "GIT_QUARANTINE_PATH",
            "GIT_REFLOG_ACTION",
        ),
        "the agent that it runs in": (
            "AI_AGENT",
            "CLAUDECODE",
            "CLAUDE_CODE_CHILD_*",
            "CLAUDE_CODE_ENTRYPOINT",
            "CLAUDE_CODE_MESSAGING_*",
            "CLAUDE_CODE_SESSION_*",
            "CLAUDE_CODE_SSE_PORT",
            "CLAUDE_PID",
            "CODEX_CI",
            "CODEX_SANDBOX*",
            "CODEX_THREAD_ID",
            "CURSOR_AGENT",
            "CURSOR_TRACE_ID",
            "GEMINI_CLI",
            "OPENCODE",
        ),
        "its Python": (
            "CONDA_DEFAULT_ENV",
            "CONDA_PREFIX*",
            "CONDA_PROMPT_MODIFIER",
            "CONDA_SHLVL",
            "PIPENV_ACTIVE",
            "POETRY_ACTIVE",
            "PYENV_VERSION",
            "PYENV_VIRTUAL_ENV",
            "PYTHONEXECUTABLE",
            "PYTHONHOME",
            "PYTHONINSPECT",
            "PYTHONPATH",
            "PYTHONSTARTUP",
            "UV_RUN_RECURSION_DEPTH",
            "VIRTUAL_ENV*",
            "__PYVENV_LAUNCHER__",
        ),
        "its terminal and editor": (
            "ALACRITTY_*",
            "COLORTERM",
            "COLUMNS",
            "EDITOR",
            "EMACS",
            "GHOSTTY_*",
            "GIT_EDITOR",
            "GIT_SEQUENCE_EDITOR",
            "GNOME_TERMINAL_*",
            "GPG_TTY",
            "INSIDE_EMACS",
            "ITERM_*",
            "KITTY_*",
            "KONSOLE_*",
            "LC_TERMINAL*",
            "LINES",
            "NVIM*",
            "STY",
            "TERM",
            "TERMCAP",
            "TERMINAL_EMULATOR",
            "TERMINFO",
            "TERM_*",
            "TMUX*",
            "VIM",
            "VIMRUNTIME",
            "VISUAL",
            "VSCODE_*",
            "VTE_VERSION",
            "WEZTERM_*",
            "WINDOW",
            "WINDOWID",
            "WT_PROFILE_ID",
            "WT_SESSION",
            "ZELLIJ*",
        ),
        "colours for it": (
            "CLICOLOR",
            "CLICOLOR_FORCE",
            "FORCE_COLOR",
            "PY_COLORS",
        ),
        "its shell and login": (
            "PROMPT_COMMAND",
            "PS1",
            "SHLVL",
            "SSH_CLIENT",
            "SSH_CONNECTION",
            "SSH_TTY",
            "_",
        ),
        "its service, make or npm": (
            "INVOCATION_ID",
            "JOURNAL_STREAM",
            "LISTEN_FDNAMES",
            "LISTEN_FDS",
            "LISTEN_PID",
            "MAINPID",
            "MAKEFLAGS",
            "MAKELEVEL",
            "MAKE_TERMERR",
            "MAKE_TERMOUT",
            "MANAGERPID",
            "MFLAGS",
            "NOTIFY_SOCKET",
            "SYSTEMD_EXEC_PID",
            "WATCHDOG_PID",
            "WATCHDOG_USEC",
            "npm_lifecycle_*",
            "npm_package_*",
        ),
    }
)
"""Names by what they tell of whoever started the worker; `*` stands for any end of a name."""

WITHOUT_TERMINAL: Mapping[str, str] = MappingProxyType(
    {
        "GIT_PAGER": "cat",
        "GIT_TERMINAL_PROMPT": "0",
        "NO_COLOR": "1",
        "PAGER": "cat",
        "TERM": "dumb",
    }
)
"""What tells programs that nobody looks at a terminal and nobody answers."""

_LEFT_OUT = re.compile("|".join(translate(p) for ps in OF_THE_LAUNCHER.values() for p in ps))


def is_of_the_launcher(name: str) -> bool:
    """Tell whether a variable describes whoever started the worker, and not the machine."""
    return _LEFT_OUT.fullmatch(name) is not None
