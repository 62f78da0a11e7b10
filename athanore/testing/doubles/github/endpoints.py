"""What each endpoint of the double does: a function of a call on the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast
from urllib.parse import urlencode

from athanore.testing.doubles import rest
from athanore.testing.doubles.github.apps import AppTables
from athanore.testing.doubles.github.pulls import Pulls
from athanore.testing.doubles.github.state import (
    Account,
    RefusalError,
    Row,
    State,
    invalid,
    not_found,
    user,
)
from athanore.testing.doubles.rest import Answer


@dataclass
class Call(rest.Call[State, Account]):
    """One request, by somebody whom the double knows."""

    pulls: Pulls
    app: AppTables

    def repository(self, *, write: bool = False) -> State:
        """The repository that the path names, if the account sees it, and may change its issues."""
        state = self.state
        named = (self.arg("owner").lower(), self.arg("repo").lower())
        if not state.is_visible or named != (state.owner.lower(), state.repo.lower()):
            raise not_found()
        if state.moved_to is not None:
            headers = {"location": state.moved_to}
            raise RefusalError(301, "Moved Permanently", url=state.moved_to, headers=headers)
        if write and not self.account.may_write:
            raise self.forbidden("issues=write")
        return state

    def forbidden(self, lacks: str) -> RefusalError:
        """The refusal of an account that lacks a permission, such as `issues=write`."""
        whose = "integration" if self.account.is_installation else "personal access token"
        headers = {"x-accepted-github-permissions": lacks}
        return RefusalError(403, f"Resource not accessible by {whose}", headers=headers)

    def tracker(self, *, write: bool = False) -> State:
        """The repository, if it has issues."""
        state = self.repository(write=write)
        if not state.has_issues:
            raise RefusalError(410, "Issues has been disabled in this repository.")
        state.count_links()
        return state

    def issue(self, *, write: bool = False) -> Row:
        """The issue that the path names."""
        state = self.tracker(write=write)
        number = self.arg("issue_number")
        return state.issue(int(number) if number.isdecimal() else 0)

    def page(self, rows: list[Row]) -> Answer:
        """One page of a list, and in the header where the next is."""
        size = min(max(int(self.query("per_page", "30")), 1), 100)
        page = max(int(self.query("page", "1")), 1)
        headers: dict[str, str] = {}
        if page * size < len(rows):
            query = urlencode({**self.request.query_params, "page": str(page + 1)})
            headers["link"] = f'<{self.request.url.replace(query=query)}>; rel="next"'
        return rows[(page - 1) * size : page * size], 200, headers


type Handler = Callable[[Call], Answer]


def get_user(call: Call) -> Answer:
    if call.account.is_installation:
        raise RefusalError(403, "Resource not accessible by integration")
    row = user(call.account.login)
    more = {
        "name": None,
        "company": None,
        "blog": None,
        "location": None,
        "email": None,
        "hireable": None,
        "bio": None,
        "public_repos": 0,
        "public_gists": 0,
        "followers": 0,
        "following": 0,
        "created_at": "2020-01-01T00:00:00Z",
        "updated_at": "2020-01-01T00:00:00Z",
        "user_view_type": "public",
    }
    return row | more, 200, {}


def get_installation(call: Call) -> Answer:
    return call.app.told(call.repository().owner), 200, {}


def get_installation_of_org(call: Call) -> Answer:
    if call.arg("org").lower() != call.state.owner.lower():
        raise not_found()
    return call.app.told(call.state.owner), 200, {}


def create_installation_token(call: Call) -> Answer:
    return call.app.new_token(call.arg("installation_id"), call.state.now()), 201, {}


def check_assignee(call: Call) -> Answer:
    people = {login.lower() for login in call.repository().collaborators}
    if call.arg("assignee").lower() not in people:
        raise not_found()
    return None, 204, {}


def list_issues(call: Call) -> Answer:
    state = call.tracker()
    wanted, since = call.query("state", "open"), call.query("since", "")
    labels = [name.lower() for name in call.query("labels", "").split(",") if name]
    rows = [
        row
        for row in state.listed()
        if wanted in ("all", row["state"])
        and row["updated_at"] >= since
        and set(labels) <= {label["name"].lower() for label in row["labels"]}
    ]
    key = "updated_at" if call.query("sort", "created") == "updated" else "created_at"
    newest_first = call.query("direction", "desc") == "desc"
    rows.sort(key=lambda row: (row[key], row["number"]), reverse=newest_first)
    return call.page(rows)


def create_issue(call: Call) -> Answer:
    state, fields = call.tracker(write=True), call.fields
    names = [str(name) for name in cast("list[object]", fields.get("labels") or [])]
    row = state.add_issue(
        call.account.login, str(fields.get("title") or ""), fields.get("body"), names
    )
    return row, 201, {}


def get_issue(call: Call) -> Answer:
    return call.issue(), 200, {}


def update_issue(call: Call) -> Answer:
    row = call.issue(write=True)
    call.state.set_fields(row, call.fields)
    return row, 200, {}


def list_comments(call: Call) -> Answer:
    number, since = call.issue()["number"], call.query("since", "")
    rows = [row for row in call.state.comments[number] if row["updated_at"] >= since]
    return call.page(rows)


def create_comment(call: Call) -> Answer:
    row = call.issue(write=True)
    text = str(call.fields.get("body") or "")
    if row["locked"]:
        raise RefusalError(403, "Unable to create comment because issue is locked.")
    return call.state.add_comment(row, call.account.login, text), 201, {}


def add_labels(call: Call) -> Answer:
    row = call.issue(write=True)
    names = [str(name) for name in cast("list[object]", call.fields.get("labels") or [])]
    if not names:
        raise invalid("labels", "missing_field")
    call.state.label_issue(row, names)
    return row["labels"], 200, {}


def remove_label(call: Call) -> Answer:
    row = call.issue(write=True)
    call.state.unlabel_issue(row, call.arg("name"))
    return row["labels"], 200, {}


def assign(call: Call) -> Answer:
    row = call.issue(write=True)
    names = [str(name) for name in cast("list[object]", call.fields.get("assignees") or [])]
    off = call.request.method == "DELETE"
    call.state.assign(row, names, off=off)
    return row, 200 if off else 201, {}


def list_labels(call: Call) -> Answer:
    rows = sorted(call.repository().labels, key=lambda row: row["name"].lower())
    return call.page(rows)


def create_label(call: Call) -> Answer:
    state, fields = call.repository(write=True), call.fields
    color = str(fields.get("color") or "ededed")
    return state.add_label(str(fields.get("name") or ""), color, fields.get("description")), 201, {}


def _label(call: Call, *, write: bool = False) -> Row:
    row = call.repository(write=write).label(call.arg("name"))
    if row is None:
        raise not_found()
    return row


def update_label(call: Call) -> Answer:
    row = _label(call, write=True)
    if (name := call.fields.get("new_name")) is not None:
        call.state.rename_label(row, str(name))
    return row, 200, {}


def delete_label(call: Call) -> Answer:
    call.state.delete_label(_label(call, write=True))
    return None, 204, {}


def _pull(call: Call, *, write: bool = False) -> int:
    call.repository(write=write)
    number = call.arg("pull_number")
    return int(call.pulls.issue(int(number) if number.isdecimal() else 0)["number"])


def list_pulls(call: Call) -> Answer:
    call.repository()
    rows = call.pulls.listed(call.query("state", "open"), call.query("head", ""))
    newest_first = call.query("direction", "desc") == "desc"
    rows.sort(key=lambda row: (row["created_at"], row["number"]), reverse=newest_first)
    return call.page(rows)


def open_pull(call: Call) -> Answer:
    call.repository(write=True)
    return call.pulls.open(call.account.login, call.fields), 201, {}


def get_pull(call: Call) -> Answer:
    return call.pulls.told(_pull(call)), 200, {}


def update_pull(call: Call) -> Answer:
    return call.pulls.set_fields(_pull(call, write=True), call.fields), 200, {}


def list_reviews(call: Call) -> Answer:
    return call.page(call.pulls.reviews[_pull(call)])


def list_remarks(call: Call) -> Answer:
    return call.page(call.pulls.comments[_pull(call)])


def list_checks(call: Call) -> Answer:
    call.repository()
    if not call.pulls.has_checks:
        raise call.forbidden("checks=read")
    ref = call.arg("ref")
    rows = call.pulls.checks.get(call.pulls.commit(ref) if len(ref) < 40 else ref, [])
    page, status, headers = call.page(rows)
    return {"total_count": len(rows), "check_runs": page}, status, headers


def job_log(call: Call) -> Answer:
    call.repository()
    number = int(call.arg("job_id"))
    if number not in call.pulls.logs:
        raise not_found()
    return None, 302, {"location": f"{call.state.site.removesuffix('/api/v3')}/logs/{number}"}


_REPO = "/repos/{owner}/{repo}"
_PULL = f"{_REPO}/pulls/{{pull_number}}"
_ISSUE = f"{_REPO}/issues/{{issue_number}}"

ENDPOINTS: Mapping[tuple[str, str], Handler] = MappingProxyType(
    {
        ("GET", "/user"): get_user,
        ("GET", f"{_REPO}/installation"): get_installation,
        ("GET", "/orgs/{org}/installation"): get_installation_of_org,
        ("POST", "/app/installations/{installation_id}/access_tokens"): create_installation_token,
        ("GET", f"{_REPO}/assignees/{{assignee}}"): check_assignee,
        ("GET", f"{_REPO}/issues"): list_issues,
        ("POST", f"{_REPO}/issues"): create_issue,
        ("GET", _ISSUE): get_issue,
        ("PATCH", _ISSUE): update_issue,
        ("GET", f"{_ISSUE}/comments"): list_comments,
        ("POST", f"{_ISSUE}/comments"): create_comment,
        ("POST", f"{_ISSUE}/labels"): add_labels,
        ("DELETE", f"{_ISSUE}/labels/{{name}}"): remove_label,
        ("POST", f"{_ISSUE}/assignees"): assign,
        ("DELETE", f"{_ISSUE}/assignees"): assign,
        ("GET", f"{_REPO}/labels"): list_labels,
        ("POST", f"{_REPO}/labels"): create_label,
        ("PATCH", f"{_REPO}/labels/{{name}}"): update_label,
        ("DELETE", f"{_REPO}/labels/{{name}}"): delete_label,
        ("GET", f"{_REPO}/pulls"): list_pulls,
        ("POST", f"{_REPO}/pulls"): open_pull,
        ("GET", _PULL): get_pull,
        ("PATCH", _PULL): update_pull,
        ("GET", f"{_PULL}/reviews"): list_reviews,
        ("GET", f"{_PULL}/comments"): list_remarks,
        ("GET", f"{_REPO}/commits/{{ref}}/check-runs"): list_checks,
        ("GET", f"{_REPO}/actions/jobs/{{job_id}}/logs"): job_log,
    }
)
