"""The tutorials, one an agent and a board: their apps, with the real agents, on boards of our own.

The agents' models are scripted; each is told to make one commit.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from athanore.runtime import apps
from athanore.runtime.margins import Margins
from athanore.testing.doubles.github import github_double
from athanore.testing.doubles.github.server import TOKEN as GITHUB_TOKEN
from athanore.testing.doubles.gitlab import gitlab_double
from athanore.testing.doubles.gitlab.server import TOKEN as GITLAB_TOKEN
from athanore.testing.doubles.jira import jira_double
from athanore.testing.doubles.jira.server import EMAIL
from athanore.testing.doubles.jira.server import TOKEN as JIRA_TOKEN
from athanore.testing.doubles.linear import linear_double
from athanore.testing.doubles.linear.server import TOKEN as LINEAR_TOKEN
from athanore.testing.doubles.planka import planka_double
from athanore.testing.doubles.planka.server import BOT_KEY
from tests.agents.model import Model, scripted
from tests.agents.real_programs import AGENTS, MAKE, home_folder, needs, shell
from tests.docs.pages import DOCS
from tests.harness import Running, app_name, running
from tests.repositories import Repository, git
from tests.support import LOCAL, wait_until

pytestmark = pytest.mark.nightly

COMMIT = "echo fixed >>fix.txt; git add fix.txt; git commit -q -m Fix"


def nothing(_it: Running, _task_id: str) -> None:
    """Nobody has to do anything."""


@dataclass(frozen=True, slots=True)
class Desk:
    """A board of our own, with what a page's app needs to use it.

    Attributes:
        instead: what stands in the page, and what the test has in its place.
        env: what the page's reader sets.
        task: makes the task, of the name "Fix crash"; returns its id.
        reviewed: the queue in which the worker leaves it.
        approve: what a person does before that.
        merge: merges what was opened for the task; without it a branch was pushed, and that is all.
    """

    instead: Mapping[str, str]
    env: Mapping[str, str]
    task: Callable[[Running], str]
    reviewed: str = "Review"
    approve: Callable[[Running, str], None] = nothing
    merge: Callable[[], None] | None = None


@contextmanager
def on_gitlab(repository: Path) -> Generator[Desk]:
    labels = [f"agent::{queue}" for queue in ("Todo", "In Progress", "Review", "Failed", "Done")]
    with gitlab_double("octo-group/website", labels) as gitlab:
        gitlab.forge(repository)

        def merge() -> None:
            with gitlab.wire.lock:
                gitlab.merges.merge(1)

        yield Desk(
            {
                "GitLabBoard(PROJECT": f"GitLabBoard(PROJECT, url={gitlab.url!r}",
                "GitLabForge(PROJECT": f"GitLabForge(PROJECT, url={gitlab.url!r}, "
                f"remote={str(repository)!r}",
                'f"https://gitlab.com/{PROJECT}.git"': repr(str(repository)),
            },
            {"ATHANORE_GITLAB_TOKEN": GITLAB_TOKEN},
            lambda _it: str(gitlab.issue("Fix crash", "agent::Todo")["iid"]),
            merge=merge,
        )
        assert gitlab.wire.violations == []


@contextmanager
def github_as_forge(repository: Path) -> Generator[tuple[dict[str, str], Callable[[], None]]]:
    """A GitHub for pull requests: what stands instead of the page's, and what merges the first."""
    with github_double("octo-org/website") as github:
        github.forge(repository)

        def merge() -> None:
            with github.wire.lock:
                (pull,) = github.pulls.listed("open", "")
                github.pulls.merge(pull["number"])

        instead = {
            "GitHubForge(REPOSITORY": f"GitHubForge(REPOSITORY, url={github.url!r}, "
            f"remote={str(repository)!r}",
            'f"https://github.com/{REPOSITORY}.git"': repr(str(repository)),
        }
        yield instead, merge
        assert github.wire.violations == []


@contextmanager
def on_linear(repository: Path) -> Generator[Desk]:
    with linear_double("ENG") as linear, github_as_forge(repository) as (instead, merge):
        yield Desk(
            {'LinearBoard("ENG"': f'LinearBoard("ENG", url="{linear.url}/graphql"', **instead},
            {"ATHANORE_LINEAR_API_KEY": LINEAR_TOKEN, "ATHANORE_GITHUB_TOKEN": GITHUB_TOKEN},
            lambda _it: str(linear.issue("Fix crash", "Todo")["id"]),
            "In Review",
            merge=merge,
        )
        assert linear.wire.violations == []


@contextmanager
def on_jira(repository: Path) -> Generator[Desk]:
    statuses = ("To Do", "In Progress", "In Review", "Blocked", "Done")

    def approve(it: Running, task_id: str) -> None:
        wait_until(
            "it asks whether to publish",
            lambda: any("May the branch" in text for text in it.comments(task_id)),
            180,
        )
        url = f"{it.api_url}/tasks/{task_id}/approve"
        LOCAL.post(url, json={"by": "eve"}, timeout=60).raise_for_status()

    with jira_double("ENG", statuses) as jira, github_as_forge(repository) as (instead, merge):
        gate = 'approve_before="publish",'
        yield Desk(
            {
                "https://example.atlassian.net": jira.url,
                gate: f"{gate} approve_insecurely=True,",
                **instead,
            },
            {
                "ATHANORE_JIRA_EMAIL": EMAIL,
                "ATHANORE_JIRA_TOKEN": JIRA_TOKEN,
                "ATHANORE_GITHUB_TOKEN": GITHUB_TOKEN,
            },
            lambda _it: str(jira.issue("Fix crash", "To Do")["key"]),
            "In Review",
            approve,
            merge,
        )
        assert jira.wire.violations == []


@contextmanager
def on_sql(repository: Path) -> Generator[Desk]:
    yield Desk(
        {'"git@git.example.com:website.git"': repr(str(repository))},
        {},
        lambda it: it.board.create_task("Todo", "Fix crash", "").id,
    )


@contextmanager
def on_planka(repository: Path) -> Generator[Desk]:
    with planka_double(lists=("Todo", "In Progress", "Review", "Failed")) as planka:
        yield Desk(
            {
                '"git@git.example.com:website.git"': repr(str(repository)),
                "https://planka.example.com": planka.url,
            },
            {"PLANKA_TOKEN": BOT_KEY},
            lambda _it: str(planka.card("Todo", "Fix crash")["id"]),
        )


PAGES: dict[str, tuple[str, str, Callable[[Path], AbstractContextManager[Desk]]]] = {
    "codex": ("codex", 'CliAgentAdapter("codex"', on_gitlab),
    "gemini-cli": ("gemini", 'CliAgentAdapter("gemini"', on_linear),
    "opencode": ("opencode", 'CliAgentAdapter("opencode"', on_jira),
    "qwen-code": ("qwen", 'CliAgentAdapter("qwen"', on_sql),
    "planka-acp": ("opencode", 'AcpAgentAdapter("opencode acp"', on_planka),
}


def code_of(page: str) -> str:
    """The app of a page, which polls as quickly as a test wants."""
    text = (DOCS / f"{page}.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.S | re.M)
    begins = "dispatcher = AgentDispatcher(\n"
    return code.replace(begins, f"{begins}    poll_interval=2,\n")


def with_model(name: str, agent: str, model: Model, home: Path) -> tuple[str, dict[str, str]]:
    """How the page's agent is made for a scripted model, and what it needs in its environment."""
    made, env = MAKE[name](model, home)
    options = {"board_access": "curl"}
    if agent.startswith("Cli"):
        options |= {"model": vars(made)["_model"], "extra_args": vars(made)["_extra_args"]}
    else:  # OpenCode, whose model is in its configuration
        config = home / ".config" / "opencode" / "opencode.jsonc"
        config.write_text(config.read_text().replace("{", '{"model": "stub/m", ', 1))
    return f"{agent}, {', '.join(f'{k}={v!r}' for k, v in options.items())}", env


@pytest.mark.parametrize("page", PAGES)
def test_what_it_shows_works(
    page: str, tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, agent, on_board = PAGES[page]
    needs(name)
    repository = Repository(tmp_path / "website.git").path
    calls = [shell(name, COMMIT)]
    with home_folder() as home, scripted(calls) as model, on_board(repository) as desk:
        (home / ".gitconfig").write_text("[user]\nname = Ada\nemail = ada@example.org\n")
        made, env = with_model(name, agent, model, home)
        code = code_of(page).replace(', model="anthropic/claude-sonnet-4-5"', "")
        for old, new in {agent: made, **desk.instead}.items():
            assert old in code, old
            code = code.replace(old, new)
        env |= {"PATH": f"{AGENTS}:{os.environ['PATH']}", "HOME": str(home)}
        env |= {"GIT_CONFIG_NOSYSTEM": "1", "ATHANORE_API_PORT": "0", **desk.env}
        for key, value in env.items():
            monkeypatch.setenv(key, value)
        (tmp_path / "run.py").write_text(code)
        dispatcher = apps.load(f"{tmp_path / 'run.py'}:dispatcher")
        dispatcher.name = app_name(page)
        margins = Margins(pulls=timedelta(seconds=0.3))
        with running(dispatcher, prefect_api, margins=margins) as it:
            task_id = desk.task(it)
            desk.approve(it, task_id)
            it.in_queue(task_id, desk.reviewed, 480)
            branches = git(
                repository, "branch", "--list", "--format=%(refname:short)", "athanore/*"
            )
            (branch,) = branches.split()
            commits = git(repository, "log", "--format=%an %s", f"main..{branch}").splitlines()
            assert commits == ["Ada Fix"] * (2 if page == "qwen-code" else 1)
            if desk.merge is not None:
                desk.merge()
                it.in_queue(task_id, "Done")
            if page == "qwen-code":  # a person takes it there, as the page says
                it.board.move_task(task_id, "Done")
