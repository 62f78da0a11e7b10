"""A GitHub App instead of a token: what it signs, its tokens of an hour, and what it may do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from athanore import AgentDispatcher, GitHubApp
from athanore.errors import BoardAccessError, BoardUnavailableError, ConfigurationError
from athanore.http_client.patience import Patience
from athanore.launch.inspection.doctor import board_finding
from athanore.launch.inspection.findings import Level
from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.github.access.app import Installation, places_of
from athanore.queue_adapters.github.adapter import GitHubAdapter
from athanore.runtime.secrets.redaction import Redactor
from athanore.testing.doubles.github import GitHubDouble, github_double
from athanore.testing.doubles.github.server import TOKEN
from tests.github.conftest import Clock
from tests.harness import prompt

TODO, PROGRESS, DONE = "Todo", "In Progress", "Done"
REPO = "/repos/octo-org/website"
TOKENS = "POST /app/installations/4711/access_tokens"
VARIABLES = ("ID", "KEY", "KEY_FILE", "INSTALLATION")


@pytest.fixture(autouse=True)
def no_app_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(f"ATHANORE_GITHUB_APP_{name}", raising=False)


@pytest.fixture
def of_app(github: GitHubDouble) -> Iterator[GitHubAdapter]:
    adapter = github.board(token=None, app=github.app()).create_adapter()
    assert isinstance(adapter, GitHubAdapter)
    yield adapter
    adapter.close()


def installation(
    github: GitHubDouble,
    now: Callable[[], float],
    ahead: timedelta = timedelta(0),
) -> Installation:
    signed, places = github.app().signed_by(), places_of([github.repository])
    return Installation(
        github.state.site,
        signed,
        places,
        "the board",
        Patience(),
        now=now,
        wall=lambda: datetime.now(UTC) + ahead,
    )


def test_a_board_works_as_an_app_and_assigns_nobody(
    github: GitHubDouble, of_app: GitHubAdapter
) -> None:
    github.issue("a", "agent:Todo")
    of_app.prepare([TODO, PROGRESS, DONE])
    assert of_app.user is None
    assert github.log[:2] == [f"GET {REPO}/installation", TOKENS]
    assert "GET /user" not in github.log
    task = claim_task(of_app, "1", source_queue=TODO, target_queue=PROGRESS)
    assert (task.queue_name, task.assignees) == (PROGRESS, ())
    of_app.add_comment("1", "Done.")
    assert github.state.comments[1][0]["user"]["login"] == "octo-agents[bot]"
    github.block(github.issue("b", "agent:Todo"), github.issue("c"))
    of_app.forget_picture()
    assert [task.blocked_by for task in of_app.get_ready_tasks([TODO])] == [("3",)]
    assert github.log.count(TOKENS) == 1, "GraphQL is asked with the same token"


def test_a_token_is_renewed_before_it_ends_and_once_for_all_threads(
    github: GitHubDouble, clock: Clock
) -> None:
    app = installation(github, clock)
    first = app.token()
    clock.forward(54 * 60)
    assert app.token() == first
    clock.forward(2 * 60)
    with ThreadPoolExecutor(8) as pool:
        found = {asked.result() for asked in [pool.submit(app.token) for _ in range(8)]}
    assert len(found) == 1 and first not in found
    assert github.log.count(TOKENS) == 2
    app.close()


def test_while_github_does_not_answer_the_token_is_used_to_its_end(
    github: GitHubDouble, clock: Clock
) -> None:
    app = installation(github, clock)
    first = app.token()
    clock.forward(56 * 60)
    github.fail("POST", "/access_tokens", 502, times=2)
    assert app.token() == first
    clock.forward(5 * 60)
    with pytest.raises(BoardUnavailableError):
        app.token()
    assert app.token() != first
    app.close()


def test_a_token_that_github_refuses_is_renewed_and_a_write_is_made_once(
    github: GitHubDouble, of_app: GitHubAdapter
) -> None:
    github.issue("a", "agent:Todo")
    assert len(of_app.get_ready_tasks([TODO])) == 1
    github.wire.app.tokens.clear()
    of_app.add_comment("1", "hello")
    assert [text.partition("\n")[0] for text in github.comments(1)] == ["hello"]
    assert github.log.count(TOKENS) == 2
    github.wire.app.tokens.clear()
    github.wire.app.installation = None
    with pytest.raises(BoardAccessError, match="has no installation 4711"):
        of_app.add_comment("1", "again")


@pytest.mark.parametrize("ahead", [timedelta(minutes=20), timedelta(minutes=-20)])
def test_a_clock_that_is_wrong_here_does_not_matter(
    github: GitHubDouble, clock: Clock, ahead: timedelta
) -> None:
    app = installation(github, clock, ahead)
    assert app.token()
    clock.forward(56 * 60)
    assert app.token()
    asked = [f"GET {REPO}/installation"] * 2
    assert github.log == [*asked, TOKENS, TOKENS], "the difference is known from then on"
    app.close()


def app_on(github: GitHubDouble, **options: object) -> AgentDispatcher:
    board = github.board(**({"token": None, "app": github.app()} | options))
    app = AgentDispatcher(name="t", queue_backend=board, command="true")
    app.route(TODO, in_progress_queue=PROGRESS, done_queue=DONE)(prompt)
    return app


def test_doctor_names_what_the_app_lacks(github: GitHubDouble) -> None:
    assert board_finding(app_on(github)).level is Level.OK
    github.wire.app.permissions = {"metadata": "read", "issues": "read"}
    finding = board_finding(app_on(github))
    assert finding.level is Level.FAIL
    assert "lacks the permission Issues: read and write for GitHub's octo-org/web" in finding.says
    assert finding.mend.startswith("Add it in the app's settings")
    github.wire.app.installation = None
    finding = board_finding(app_on(github))
    assert "is not installed on GitHub's octo-org/website" in finding.says
    assert finding.mend.startswith("Install it there")
    github.wire.app.clear()
    github.wire.app.is_suspended = True
    assert "This installation has been suspended" in board_finding(app_on(github)).says
    github.wire.app.clear()
    finding = board_finding(app_on(github, app=github.app(id="Iv23liOther")))
    assert "does not take the note that the GitHub App Iv23liOther has signed" in finding.says
    other = github_double()
    with other as another:
        finding = board_finding(app_on(github, app=github.app(key=another.wire.app.key)))
    assert "could not be decoded" in finding.says and "private key" in finding.mend


@pytest.mark.parametrize(
    ("app", "says"),
    [
        (GitHubApp(), "ATHANORE_GITHUB_APP_ID"),
        (GitHubApp("Iv1"), "needs its private key.*ATHANORE_GITHUB_APP_KEY"),
        (GitHubApp("Iv1", key="no key"), "private key of the GitHub App Iv1 cannot be used"),
        (GitHubApp("Iv1", key_file="nowhere.pem"), "cannot be read from 'nowhere.pem'"),
    ],
)
def test_a_mistake_in_the_app_is_told_before_a_request(
    github: GitHubDouble, app: GitHubApp, says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        github.board(token=None, app=app).create_adapter()
    assert github.log == []


def test_the_app_may_stand_in_the_environment_and_its_key_is_kept_from_agents(
    github: GitHubDouble, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = github.wire.app.key
    monkeypatch.setenv("ATHANORE_GITHUB_APP_ID", github.wire.app.id)
    monkeypatch.setenv("ATHANORE_GITHUB_APP_INSTALLATION", "4711")
    monkeypatch.setenv("ATHANORE_GITHUB_APP_KEY", key.replace("\n", "\\n"))
    monkeypatch.setenv("GITHUB_TOKEN", "of the agents")
    board = github.board(token=None)
    adapter = board.create_adapter()
    assert adapter.get_ready_tasks([TODO]) == []
    assert github.log[0] == TOKENS
    assert adapter.secret_env == {"ATHANORE_GITHUB_APP_KEY", "ATHANORE_GITHUB_APP_KEY_FILE"}
    (token,) = github.wire.app.tokens
    assert token in adapter.secrets
    app = AgentDispatcher(name="t", queue_backend=adapter, command="true")
    redactor = Redactor.of(app)
    github.wire.app.tokens.clear()
    adapter.add_comment(str(github.issue("a")["number"]), "hello")
    (token,) = github.wire.app.tokens
    for secret in (token, key.splitlines()[3]):
        assert redactor.text(f"see {secret} there") == "see [redacted] there"
        assert secret.encode() not in redactor.data(f"see {secret}".encode())
    assert key not in repr(github.board(app=github.app()))
    adapter.close()
    (tmp_path / "app.pem").write_text(key)
    monkeypatch.delenv("ATHANORE_GITHUB_APP_KEY")
    monkeypatch.setenv("ATHANORE_GITHUB_APP_KEY_FILE", str(tmp_path / "app.pem"))
    assert board.create_adapter().get_ready_tasks([TODO]) == []
    monkeypatch.setenv("ATHANORE_GITHUB_TOKEN", TOKEN)
    assert board.create_adapter().secrets == {TOKEN}, "a token of the board's own comes first"


def test_a_forge_pushes_as_the_app(github: GitHubDouble) -> None:
    forge = github.forge(token=None, app=github.app())
    assert forge.check() is None and github.log == []
    assert forge.find("main") is None
    (token,) = github.wire.app.tokens
    assert forge.login == f"x-access-token:{token}"
    assert token in forge.secrets and "ATHANORE_GITHUB_APP_KEY" in forge.secret_env
    wrong = github.forge(token=None, app=GitHubApp("Iv1", key="no key"))
    assert "no GitHub App that can be used" in str(wrong.check())


def test_a_project_is_worked_on_as_the_app_of_its_organization() -> None:
    with github_double(project=("octo-org", 5)) as github:
        github.project.start_anew([TODO, DONE])
        options = {"token": None, "app": github.app(), "repository": None}
        board = github.project_board(**options)
        adapter = board.create_adapter()
        adapter.prepare([TODO, DONE])
        assert github.log[:2] == ["GET /orgs/octo-org/installation", TOKENS]
        assert adapter.user is None
        adapter.close()
        del github.wire.app.permissions["organization_projects"]
        adapter = board.create_adapter()
        with pytest.raises(BoardAccessError, match="Organization projects: read and write"):
            adapter.prepare([TODO])
        adapter.close()
        assert github.wire.violations == []
