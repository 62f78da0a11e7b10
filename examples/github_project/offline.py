"""The same app on a GitHub of its own on this machine, with two issues: no account is needed."""

import os

from athanore.testing.doubles.github import github_double
from athanore.testing.doubles.github.server import TOKEN

COLUMNS = ["Todo", "In Progress", "Review", "Done", "Failed"]

if __name__ == "__main__":
    with github_double("octo-org/website", (), project=("octo-org", 1)) as github:
        os.environ |= {"GITHUB_SERVER_URL": github.url, "ATHANORE_GITHUB_TOKEN": TOKEN}
        github.project.start_anew(COLUMNS)
        for title in ("Say hello", "Say goodbye"):
            github.project.add(github.issue(title), "Todo")
        from run import dispatcher

        dispatcher.run()
