"""What `athanore init` writes into .env.example: which credentials a board needs."""

from __future__ import annotations

from typing import Final

GITHUB_ENV: Final = """\
# Copy this file to .env, which belongs into .gitignore, and fill it in.

# A fine-grained token for the one repository, with the permission "Issues: read and write":
# https://github.com/settings/personal-access-tokens/new
ATHANORE_GITHUB_TOKEN=

# Or a GitHub App instead of that token, with the same permission: docs/boards.md says how.
# In the key the line breaks may be written as \\n.
# ATHANORE_GITHUB_APP_ID=
# ATHANORE_GITHUB_APP_KEY=

# Agents do not get that token. If they are to use gh or git, set GITHUB_TOKEN in the environment
# in which run.py starts, to a token of their own.
"""

PROJECT_ENV: Final = """\
# Copy this file to .env, which belongs into .gitignore, and fill it in.

# A fine-grained token with the permissions "Issues: read and write" for the repositories, and
# "Projects: read and write" for the organization; for a project of your own a classic token with
# the scopes repo and project: https://github.com/settings/tokens
ATHANORE_GITHUB_TOKEN=
"""

GITLAB_ENV: Final = """\
# Copy this file to .env, which belongs into .gitignore, and fill it in.

# An access token with the scope "api", of the project (Settings, Access tokens; role Reporter or
# Planner, and Developer where a route publishes), or of an account that is a member:
# https://gitlab.com/-/user_settings/personal_access_tokens
ATHANORE_GITLAB_TOKEN=

# Agents do not get that token. If they are to use glab or git, set GITLAB_TOKEN in the environment
# in which run.py starts, to a token of their own.
"""

JIRA_ENV: Final = """\
# Copy this file to .env, which belongs into .gitignore, and fill it in.

# Jira Cloud: the account's email, and an API token of it:
# https://id.atlassian.com/manage-profile/security/api-tokens
# Data Center: no email, and a personal access token (Profile, Personal access tokens).
ATHANORE_JIRA_EMAIL=
ATHANORE_JIRA_TOKEN=
"""

LINEAR_ENV: Final = """\
# Copy this file to .env, which belongs into .gitignore, and fill it in.

# A key of the user whom the agents act as, with the permissions Read and Write for the team
# (Linear: Settings, Account, Security & access).
ATHANORE_LINEAR_API_KEY=
"""

PLANKA_ENV: Final = """\
# Copy this file to .env, which belongs into .gitignore, and fill it in.

# An API key of the user whom the agents act as, an editor of the board (Planka: user settings).
PLANKA_TOKEN=
"""

APP_ENV: Final = """\
# Copy this file to .env, which belongs into .gitignore. To begin with, nothing of it is needed.

# Have the task API ask every caller for a token. Agents get theirs by themselves. The key is yours,
# a long random text: for the board page, and for commands such as `athanore reload`.
# ATHANORE_API_AUTH=token
# ATHANORE_API_KEY=
"""
