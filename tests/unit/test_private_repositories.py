"""A repository that asks who fetches is fetched with the login of the forge of it."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import override

import pytest

from athanore import AgentOutcome, GitWorkspace, Task
from athanore.errors import WorkspaceError
from athanore.models import AgentResult
from athanore.workspaces.base import WorkspaceRequest
from athanore.workspaces.git.address import Address
from tests.repositories import Repository, git
from tests.unit.test_outgoing import TOKEN, Remote, holds


class Private(ThreadingHTTPServer):
    """A repository that is served to who has its login."""

    def __init__(self, repository: Repository) -> None:
        git(repository.path, "update-server-info")
        super().__init__(("127.0.0.1", 0), partial(_Guarded, directory=repository.path.parent))
        self.login = TOKEN
        self.seen: set[str | None] = set()
        self.address = f"http://127.0.0.1:{self.server_port}/{repository.path.name}"


class _Guarded(SimpleHTTPRequestHandler):
    @override
    def do_GET(self) -> None:
        assert isinstance(self.server, Private)
        given = self.headers["authorization"]
        self.server.seen.add(given)
        if given == f"Basic {base64.b64encode(self.server.login.encode()).decode()}":
            super().do_GET()
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="toy"')
            self.send_header("Content-Length", "0")
            self.end_headers()

    @override
    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Private]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Private(Repository(tmp_path / "toy.git")) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join(30)


async def fetch(provider: GitWorkspace, task_id: str = "1") -> None:
    """Have a folder made of a repository."""

    async def run(*_: object) -> AgentResult:
        return AgentResult(AgentOutcome.SUCCEEDED)

    task = Task(task_id, "Fix it", "Todo")
    workspace = await provider.open(WorkspaceRequest("app", task, run, lambda line: None, False))
    assert (workspace.path / "README.md").read_text() == "hello"
    await provider.close(workspace, AgentOutcome.SUCCEEDED)


async def test_it_is_fetched_with_the_login_that_the_forge_has_then(
    server: Private, tmp_path: Path
) -> None:
    forge = Remote(server.address)
    provider = GitWorkspace(server.address, root=tmp_path / "root", forge=forge)
    for task_id in ("1", "2"):
        server.login = forge.login = f"x-access-token:{TOKEN}-{task_id}"
        await fetch(provider, task_id)
    assert len(server.seen - {None}) == 2
    assert holds(tmp_path, TOKEN) == []


async def test_a_login_of_its_own_comes_first(server: Private, tmp_path: Path) -> None:
    server.login = "me:s3cret"
    repo = server.address.replace("http://", "http://me:s3cret@")
    forge = Remote(server.address, "x-access-token:other")
    await fetch(GitWorkspace(repo, root=tmp_path / "root", forge=forge))


async def test_a_forge_of_another_repository_gives_no_login(
    server: Private, tmp_path: Path
) -> None:
    server.login = f"x-access-token:{TOKEN}"
    forge = Remote(f"{server.address}-of-another", server.login)
    with pytest.raises(WorkspaceError, match="git fetch failed"):
        await fetch(GitWorkspace(server.address, root=tmp_path / "root", forge=forge))
    assert server.seen == {None}


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("https://github.com/acme/toy", "https://github.com/Acme/toy.git", True),
        ("https://github.com/acme/toy/", "https://github.com/acme/toy.git", True),
        ("https://github.com/acme/toy.git", "http://github.com/acme/toy.git", False),
        ("https://github.com/acme/toy.git", "https://github.com/acme/toys.git", False),
        ("https://example.org/acme/toy.git", "https://github.com/acme/toy.git", False),
        ("git@github.com:acme/toy.git", "https://github.com/acme/toy.git", False),
    ],
)
def test_addresses_of_one_repository_are_known(one: str, other: str, are_one: bool) -> None:
    assert Address(one).is_repository_of(Address(other)) is are_one
