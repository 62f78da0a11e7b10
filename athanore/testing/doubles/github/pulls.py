"""The double's pull requests, their reviews and comments, and the checks of commits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from athanore.testing.doubles.github.state import RefusalError, Row, State, invalid, not_found, user
from athanore.testing.doubles.tables import NO_COMMIT, commit_of


@dataclass
class Pulls:
    """The tables.

    Attributes:
        state: the repository.
        folder: the repository itself, with the branches; without it every branch is there.
        rows: what a pull request has beyond its issue, by number.
        reviews, comments: of each pull request, oldest first.
        checks: the runs of checks, by commit.
        logs: the log of a job, by its number, which is that of its check.
        has_drafts: whether a pull request may be a draft.
        has_checks: whether tokens may read checks.
    """

    state: State
    folder: Path | None = None
    rows: dict[int, Row] = field(default_factory=dict[int, Row])
    reviews: dict[int, list[Row]] = field(default_factory=dict[int, list[Row]])
    comments: dict[int, list[Row]] = field(default_factory=dict[int, list[Row]])
    checks: dict[str, list[Row]] = field(default_factory=dict[str, list[Row]])
    logs: dict[int, str] = field(default_factory=dict[int, str])
    has_drafts: bool = True
    has_checks: bool = True

    def clear(self) -> None:
        """Forget everything."""
        for table in (self.rows, self.reviews, self.comments, self.checks, self.logs):
            table.clear()
        self.folder, self.has_drafts, self.has_checks = None, True, True

    def commit(self, branch: str) -> str:
        """The commit that a branch is at; "" if there is no such branch."""
        return commit_of(self.folder, branch)

    def open(self, author: str, fields: Row) -> Row:
        """Open a pull request."""
        head, base = str(fields["head"]).rpartition(":")[2], str(fields["base"])
        for name, branch in (("head", head), ("base", base)):
            if not self.commit(branch):
                raise invalid(name, "invalid", "PullRequest")
        if any(
            r["head"] == head and self.issue(n)["state"] == "open" for n, r in self.rows.items()
        ):
            said = f"A pull request already exists for {self.state.owner}:{head}."
            errors = [{"resource": "PullRequest", "code": "custom", "message": said}]
            raise RefusalError(422, "Validation Failed", errors=errors)
        if fields.get("draft") and not self.has_drafts:
            said = "Draft pull requests are not supported in this repository."
            raise RefusalError(422, said)
        if self.commit(head) == self.commit(base) != NO_COMMIT:
            said = f"No commits between {base} and {head}"
            errors = [{"resource": "PullRequest", "code": "custom", "message": said}]
            raise RefusalError(422, "Validation Failed", errors=errors)
        row = self.state.add_issue(
            author, str(fields.get("title") or ""), fields.get("body"), is_pull_request=True
        )
        number = int(row["number"])
        self.rows[number] = {
            "head": head,
            "base": base,
            "draft": bool(fields.get("draft")),
            "merged_at": None,
            "conflicting": "",
            "head_commit": None,
        }
        self.reviews[number], self.comments[number] = [], []
        return self.told(number)

    def issue(self, number: int) -> Row:
        """What a pull request has in common with an issue."""
        if number not in self.rows:
            raise not_found()
        return self.state.issue(number)

    def listed(self, state: str, head: str) -> list[Row]:
        """Those in a state (`open`, `closed`, `all`) and of a branch, as lists tell them."""
        found: list[Row] = []
        for number, row in self.rows.items():
            is_of = not head or head == f"{self.state.owner}:{row['head']}"
            if is_of and state in ("all", self.issue(number)["state"]):
                told = self.told(number)
                found.append({name: told[name] for name in told if name not in _SINGLE})
        return found

    def told(self, number: int) -> Row:
        """A pull request as it is told by itself."""
        issue, own = self.issue(number), self.rows[number]
        url = f"{self.state.address}/pulls/{number}"
        common = (
            "id",
            "node_id",
            "html_url",
            "number",
            "state",
            "locked",
            "title",
            "body",
            "user",
            "labels",
            "milestone",
            "created_at",
            "updated_at",
            "closed_at",
            "assignee",
            "assignees",
            "author_association",
            "comments_url",
        )
        links = {
            "self": url,
            "html": issue["html_url"],
            "issue": issue["url"],
            "comments": issue["comments_url"],
            "review_comments": f"{url}/comments",
            "review_comment": f"{url}/comments{{/number}}",
            "commits": f"{url}/commits",
            "statuses": f"{self.state.address}/statuses/{NO_COMMIT}",
        }
        head = self._end(own["head"], own["head_commit"])
        conflicts = own["conflicting"] == head["sha"]
        return {
            **{name: issue[name] for name in common},
            "url": url,
            "diff_url": f"{issue['html_url']}.diff",
            "patch_url": f"{issue['html_url']}.patch",
            "issue_url": issue["url"],
            "commits_url": links["commits"],
            "review_comments_url": links["review_comments"],
            "review_comment_url": links["review_comment"],
            "statuses_url": links["statuses"],
            "_links": {name: {"href": address} for name, address in links.items()},
            "head": head,
            "base": self._end(own["base"], None),
            "auto_merge": None,
            "draft": own["draft"],
            "merged_at": own["merged_at"],
            "merge_commit_sha": None,
            "merged": own["merged_at"] is not None,
            "mergeable": not conflicts,
            "mergeable_state": "dirty" if conflicts else "clean",
            "merged_by": None,
            "comments": issue["comments"],
            "review_comments": len(self.comments[number]),
            "maintainer_can_modify": False,
            "commits": 1,
            "additions": 1,
            "deletions": 0,
            "changed_files": 1,
        }

    def _end(self, branch: str, commit: str | None) -> Row:
        state = self.state
        return {
            "label": f"{state.owner}:{branch}",
            "ref": branch,
            "sha": commit or self.commit(branch) or NO_COMMIT,
            "user": user(state.owner),
            "repo": _repository(state),
        }

    def set_fields(self, number: int, fields: Row) -> Row:
        """Set title, body or state."""
        self.state.set_fields(self.issue(number), fields)
        return self.told(number)

    def conflict(self, number: int) -> None:
        """Have its commit conflict with the branch that it is to be merged into."""
        self.rows[number]["conflicting"] = self.told(number)["head"]["sha"]

    def merge(self, number: int) -> None:
        """Have a person merge a pull request."""
        own = self.rows[number]
        own["head_commit"], own["merged_at"] = self.commit(own["head"]), self.state.time()
        self.state.set_fields(self.issue(number), {"state": "closed"})

    def review(self, number: int, author: str, verdict: str, body: str, association: str) -> Row:
        """Have somebody review a pull request: `APPROVED`, `CHANGES_REQUESTED`, `COMMENTED`."""
        written = self._written(number, author, body, association, "pullrequestreview")
        row: Row = {
            **written,
            "state": verdict,
            "commit_id": self.told(number)["head"]["sha"],
            "submitted_at": self.state.time(),
        }
        self.reviews[number].append(row)
        return row

    def remark(
        self, number: int, author: str, body: str, path: str, association: str, review: int
    ) -> Row:
        """Have somebody comment on a line of a pull request."""
        written = self._written(number, author, body, association, "discussion_r")
        commit = self.told(number)["head"]["sha"]
        row: Row = {
            **written,
            "url": f"{self.state.address}/pulls/comments/{written['id']}",
            "pull_request_review_id": review,
            "diff_hunk": "@@ -1 +1 @@",
            "path": path,
            "line": 1,
            "commit_id": commit,
            "original_commit_id": commit,
            "created_at": self.state.time(),
            "updated_at": self.state.time(),
        }
        self.comments[number].append(row)
        return row

    def _written(self, number: int, author: str, body: str, association: str, kind: str) -> Row:
        new = self.state.new_id()
        url = f"{self.state.address}/pulls/{number}"
        page = f"{self.issue(number)['html_url']}#{kind}-{new}"
        return {
            "id": new,
            "node_id": f"PR_{new}",
            "user": user(author),
            "body": body,
            "html_url": page,
            "pull_request_url": url,
            "author_association": association,
            "_links": {
                "self": {"href": url},
                "html": {"href": page},
                "pull_request": {"href": url},
            },
        }

    def check(self, commit: str, name: str, conclusion: str | None, log: str = "") -> Row:
        """Have a check of a commit run; without a conclusion it is at work."""
        new = self.state.new_id()
        address = f"{self.state.address}/check-runs/{new}"
        row: Row = {
            "id": new,
            "head_sha": commit,
            "node_id": f"CR_{new}",
            "external_id": "",
            "url": address,
            "html_url": f"https://github.test/{self.state.owner}/{self.state.repo}/runs/{new}",
            "details_url": address,
            "status": "completed" if conclusion else "in_progress",
            "conclusion": conclusion,
            "started_at": self.state.time(),
            "completed_at": self.state.time() if conclusion else None,
            "output": {
                "title": None,
                "summary": None,
                "text": None,
                "annotations_count": 0,
                "annotations_url": f"{address}/annotations",
            },
            "name": name,
            "check_suite": {"id": 1},
            "app": {
                "id": 15368,
                "node_id": "A_1",
                "slug": "github-actions",
                "owner": user("github"),
                "name": "GitHub Actions",
                "description": None,
                "external_url": "https://x.test",
                "html_url": "https://x.test",
                "created_at": self.state.time(),
                "updated_at": self.state.time(),
                "permissions": {},
                "events": [],
            },
            "pull_requests": [],
        }
        self.checks.setdefault(commit, []).append(row)
        self.logs[new] = log
        return row


_SINGLE: Final = frozenset(
    {
        "merged",
        "mergeable",
        "mergeable_state",
        "merged_by",
        "comments",
        "review_comments",
        "maintainer_can_modify",
        "commits",
        "additions",
        "deletions",
        "changed_files",
    }
)
"""What lists of pull requests do not tell."""


def _repository(state: State) -> Row:
    addresses = (
        "archive",
        "assignees",
        "blobs",
        "branches",
        "collaborators",
        "comments",
        "commits",
        "compare",
        "contents",
        "contributors",
        "deployments",
        "downloads",
        "events",
        "forks",
        "git_commits",
        "git_refs",
        "git_tags",
        "hooks",
        "issue_comment",
        "issue_events",
        "issues",
        "keys",
        "labels",
        "languages",
        "merges",
        "milestones",
        "notifications",
        "pulls",
        "releases",
        "stargazers",
        "statuses",
        "subscribers",
        "subscription",
        "tags",
        "teams",
        "trees",
        "git",
        "ssh",
        "clone",
        "svn",
    )
    counts = (
        "forks",
        "forks_count",
        "open_issues",
        "open_issues_count",
        "watchers",
        "watchers_count",
        "stargazers_count",
        "size",
    )
    return {
        "id": 1,
        "node_id": "R_1",
        "name": state.repo,
        "full_name": f"{state.owner}/{state.repo}",
        "owner": user(state.owner),
        "private": False,
        "html_url": f"https://github.test/{state.owner}/{state.repo}",
        "description": None,
        "fork": False,
        "url": state.address,
        **{f"{name}_url": f"{state.address}/{name}" for name in addresses},
        **dict.fromkeys(counts, 0),
        **dict.fromkeys(("has_issues", "has_projects", "has_wiki", "has_downloads"), True),
        **dict.fromkeys(("has_pages", "archived", "disabled"), False),
        **dict.fromkeys(("homepage", "language", "mirror_url", "license")),
        "default_branch": "main",
        **dict.fromkeys(("pushed_at", "created_at", "updated_at"), state.time()),
    }
