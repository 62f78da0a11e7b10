"""The same app on a Jira of its own on this machine, with one issue: no account is needed."""

import os

from athanore.testing.doubles.jira import jira_double
from athanore.testing.doubles.jira.server import EMAIL, TOKEN

QUEUES = ("Todo", "In Progress", "Review", "Failed", "Done")

if __name__ == "__main__":
    with jira_double("ENG", QUEUES) as jira:
        os.environ |= {"JIRA_URL": jira.url, "ATHANORE_JIRA_EMAIL": EMAIL}
        os.environ["ATHANORE_JIRA_TOKEN"] = TOKEN
        jira.issue("Say hello", "Todo")
        from run import dispatcher

        dispatcher.run()
