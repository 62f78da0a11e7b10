"""Whose token it is, in the environment and on Jira."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

from athanore.queue_adapters.tracker.answers import Json
from athanore.queue_adapters.tracker.tokens import TokenVariables, first_set

OWN_VARIABLE: Final = "ATHANORE_JIRA_TOKEN"
COMMON_VARIABLES: Final = ("JIRA_API_TOKEN", "JIRA_TOKEN")

PERMISSIONS: Final = (
    "BROWSE_PROJECTS",
    "CREATE_ISSUES",
    "EDIT_ISSUES",
    "ASSIGN_ISSUES",
    "TRANSITION_ISSUES",
    "ADD_COMMENTS",
)
"""What the account needs in the project, by Jira's names."""


class _Variables(TokenVariables):
    athanore_jira_token: SecretStr | None = None
    jira_api_token: SecretStr | None = None
    athanore_jira_email: str | None = None
    jira_email: str | None = None


def credentials_of_the_environment() -> tuple[str | None, str | None]:
    """The email and the token that are set; the board's own first."""
    found = _Variables()
    email = (found.athanore_jira_email or found.jira_email or "").strip() or None
    return email, first_set((found.athanore_jira_token, found.jira_api_token))


@dataclass(frozen=True, slots=True)
class Person:
    """A user: how Jira names him in requests, and to people."""

    reference: Json
    name: str

    @classmethod
    def of(cls, row: Json) -> Person:
        """Read a user: Cloud has ids of accounts, Data Center names."""
        if "accountId" in row:
            return cls({"accountId": row["accountId"]}, str(row["displayName"]))
        return cls({"name": row["name"]}, str(row.get("displayName") or row["name"]))
