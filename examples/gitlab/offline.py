"""The same app on a GitLab of its own on this machine, with one issue: no account is needed."""

import os

from athanore.testing.doubles.gitlab import gitlab_double
from athanore.testing.doubles.gitlab.server import TOKEN

QUEUES = ("Todo", "In Progress", "Review", "Done", "Failed")

if __name__ == "__main__":
    with gitlab_double("octo-group/website", [f"agent::{queue}" for queue in QUEUES]) as gitlab:
        os.environ |= {"GITLAB_URL": gitlab.url, "ATHANORE_GITLAB_TOKEN": TOKEN}
        gitlab.issue("Say hello", "agent::Todo")
        from run import dispatcher

        dispatcher.run()
