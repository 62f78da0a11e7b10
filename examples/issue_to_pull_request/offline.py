"""The same app on a GitHub of its own on this machine, with one issue: no account is needed."""

import os
import subprocess
from pathlib import Path

from athanore.testing.doubles.github import github_double
from athanore.testing.doubles.github.server import TOKEN

QUEUES = ("Todo", "In Progress", "Review", "Done", "Failed")
REMOTE = Path(__file__).parent / "website.git"


def make_repository(path: Path) -> None:
    """Make a bare repository with an empty commit on `main`."""
    as_somebody = ["-c", "user.name=A person", "-c", "user.email=person@example.org"]
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", str(path)], check=True)
    git = ["git", "-C", str(path), *as_somebody]
    tree = subprocess.run([*git, "mktree"], check=True, capture_output=True, input=b"").stdout
    words = ["commit-tree", tree.decode().strip(), "-m", "Begin"]
    commit = subprocess.run([*git, *words], check=True, capture_output=True).stdout
    subprocess.run([*git, "update-ref", "refs/heads/main", commit.decode().strip()], check=True)


if __name__ == "__main__":
    if not REMOTE.exists():
        make_repository(REMOTE)
    with github_double("octo-org/website", [f"agent:{queue}" for queue in QUEUES]) as github:
        github.forge(REMOTE)
        os.environ |= {"GITHUB_URL": github.url, "GITHUB_TOKEN": TOKEN, "REMOTE": str(REMOTE)}
        github.issue("Say hello", "agent:Todo")
        from run import dispatcher

        dispatcher.run()
