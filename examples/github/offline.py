"""The same app on a GitHub of its own on this machine, with one issue: no account is needed."""

import os

from athanore.testing.doubles.github import github_double
from athanore.testing.doubles.github.server import TOKEN

QUEUES = ("Todo", "In Progress", "Review", "Done", "Failed")

if __name__ == "__main__":
    with github_double("octo-org/website", [f"agent:{queue}" for queue in QUEUES]) as github:
        os.environ |= {"GITHUB_SERVER_URL": github.url, "ATHANORE_GITHUB_TOKEN": TOKEN}
        github.issue("Say hello", "agent:Todo")
        from run import dispatcher

        dispatcher.run()
