"""The double's merge requests, their discussions and reviewers, and the pipelines of commits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from athanore.testing.doubles.gitlab.state import State, check_texts, not_found
from athanore.testing.doubles.rest import RefusalError, Row
from athanore.testing.doubles.tables import NO_COMMIT, commit_of


@dataclass
class Merges:
    """The tables.

    Attributes:
        state: the project.
        folder: the repository itself, with the branches; without it every branch is there.
        rows: merge requests by number.
        discussions, reviewers: of each merge request, oldest first.
        jobs: of each pipeline, by its number.
        traces: the log of a job, by its number.
        roles: GitLab's number of a member's role, by username; others are no members.
    """

    state: State
    folder: Path | None = None
    rows: dict[int, Row] = field(default_factory=dict[int, Row])
    discussions: dict[int, list[Row]] = field(default_factory=dict[int, list[Row]])
    reviewers: dict[int, list[Row]] = field(default_factory=dict[int, list[Row]])
    jobs: dict[int, list[Row]] = field(default_factory=dict[int, list[Row]])
    traces: dict[int, str] = field(default_factory=dict[int, str])
    roles: dict[str, int] = field(default_factory=dict[str, int])

    def clear(self) -> None:
        """Forget everything."""
        tables = (self.rows, self.discussions, self.reviewers, self.jobs, self.traces, self.roles)
        for table in tables:
            table.clear()
        self.folder = None

    def commit(self, branch: str) -> str:
        """The commit that a branch is at; "" if there is no such branch."""
        return commit_of(self.folder, branch)

    def open(self, author: str, fields: Row) -> Row:
        """Open a merge request."""
        state = self.state
        source, target = str(fields["source_branch"]), str(fields["target_branch"])
        title = str(fields.get("title") or "")
        check_texts(title, fields.get("description"))
        for name, branch in (("source_branch", source), ("target_branch", target)):
            if not self.commit(branch):
                raise RefusalError(400, {"message": [f"{name} {branch!r} does not exist"]})
        for number, row in self.rows.items():
            if row["source_branch"] == source and row["state"] == "opened":
                said = (
                    f"Another open merge request already exists for this source branch: !{number}"
                )
                raise RefusalError(409, {"message": [said]})
        iid = max(self.rows, default=0) + 1
        is_draft = title.lower().startswith("draft:")
        row: Row = {
            "id": state.new_id(),
            "iid": iid,
            "project_id": state.number,
            "title": title,
            "description": None,
            "state": "opened",
            "created_at": state.time(),
            "updated_at": state.time(),
            "merged_by": None,
            "merge_user": None,
            "merged_at": None,
            "closed_by": None,
            "closed_at": None,
            "target_branch": target,
            "source_branch": source,
            "user_notes_count": 0,
            "upvotes": 0,
            "downvotes": 0,
            "author": state.users[author],
            "assignees": [],
            "assignee": None,
            "reviewers": [],
            "source_project_id": state.number,
            "target_project_id": state.number,
            "labels": [],
            "draft": is_draft,
            "work_in_progress": is_draft,
            "milestone": None,
            "merge_when_pipeline_succeeds": False,
            "merge_status": "can_be_merged",
            "detailed_merge_status": "draft_status" if is_draft else "mergeable",
            "merge_commit_sha": None,
            "squash_commit_sha": None,
            "discussion_locked": None,
            "should_remove_source_branch": None,
            "force_remove_source_branch": None,
            "reference": f"!{iid}",
            "squash": False,
            "conflicting": "",
            "references": {
                "short": f"!{iid}",
                "relative": f"!{iid}",
                "full": f"{state.path}!{iid}",
            },
            "web_url": f"{state.site}/{state.path}/-/merge_requests/{iid}",
            "task_completion_status": {"count": 0, "completed_count": 0},
            "blocking_discussions_resolved": True,
            "head_commit": None,
            "head_pipeline": None,
        }
        row["description"] = state.without_commands(row, fields.get("description"))
        self.rows[iid] = row
        self.discussions[iid], self.reviewers[iid] = [], []
        return self.told(iid)

    def row(self, iid: int) -> Row:
        """One merge request, as the tables have it."""
        if iid not in self.rows:
            raise not_found("Not found")
        return self.rows[iid]

    def listed(self) -> list[Row]:
        """All of them, as lists tell them, newest first."""
        found = [self.told(iid) for iid in sorted(self.rows, reverse=True)]
        return [{name: row[name] for name in row if name != "head_pipeline"} for row in found]

    def told(self, iid: int) -> Row:
        """A merge request as it is told by itself."""
        row = self.row(iid)
        sha = row["head_commit"] or self.commit(row["source_branch"]) or NO_COMMIT
        own = ("head_commit", "conflicting")
        told = {name: value for name, value in row.items() if name not in own}
        return told | {"sha": sha, "has_conflicts": row["conflicting"] == sha}

    def conflict(self, iid: int) -> None:
        """Have its commit conflict with the branch that it is to be merged into."""
        self.row(iid)["conflicting"] = self.told(iid)["sha"]

    def set_fields(self, iid: int, fields: Row) -> Row:
        """Set title, description or state."""
        row = self.row(iid)
        check_texts(fields.get("title", row["title"]), fields.get("description"))
        if "title" in fields:
            row["title"] = fields["title"]
        if "description" in fields:
            row["description"] = self.state.without_commands(row, fields["description"])
        if (event := fields.get("state_event")) in ("close", "reopen"):
            row["state"] = "closed" if event == "close" else "opened"
        row["updated_at"] = self.state.time()
        return self.told(iid)

    def merge(self, iid: int) -> None:
        """Have a person merge a merge request."""
        row = self.row(iid)
        row["head_commit"] = self.commit(row["source_branch"])
        row |= {"state": "merged", "merged_at": self.state.time()}

    def review(self, iid: int, username: str, verdict: str) -> None:
        """Have somebody review: `unreviewed`, `reviewed`, `requested_changes`, `approved`."""
        rows = [r for r in self.reviewers[iid] if r["user"]["username"] != username]
        user = self.state.users[username]
        new = {"user": user, "state": verdict, "created_at": self.state.time()}
        self.reviewers[iid] = [*rows, new]

    def note(
        self,
        iid: int,
        author: str,
        text: str,
        *,
        path: str = "",
        thread: bool = False,
        system: bool = False,
    ) -> Row:
        """Have somebody write: on a line of a file, as a thread, or a comment by itself."""
        state, row = self.state, self.row(iid)
        is_open = bool(path) or thread
        note: Row = {
            "id": state.new_id(),
            "type": "DiffNote" if path else None,
            "body": text,
            "author": state.users[author],
            "created_at": state.time(),
            "updated_at": state.time(),
            "system": system,
            "noteable_id": row["id"],
            "noteable_type": "MergeRequest",
            "project_id": state.number,
            "noteable_iid": iid,
            "resolvable": is_open,
            "confidential": False,
            "internal": False,
            "imported": False,
            "imported_from": "none",
        }
        if is_open:
            note |= {"resolved": False, "resolved_by": None}
        if path:
            note["position"] = {
                "base_sha": NO_COMMIT,
                "start_sha": NO_COMMIT,
                "head_sha": NO_COMMIT,
                "old_path": path,
                "new_path": path,
                "position_type": "text",
                "old_line": None,
                "new_line": 1,
            }
        self.discussions[iid].append(
            {"id": f"{note['id']:040x}", "individual_note": not is_open, "notes": [note]}
        )
        return note

    def pipeline(self, iid: int, status: str, **jobs: str) -> Row:
        """Have a pipeline run for a merge request; each job has failed, with that log."""
        state = self.state
        number = state.new_id()
        page = f"{state.site}/{state.path}/-/pipelines/{number}"
        row: Row = {
            "id": number,
            "iid": number,
            "project_id": state.number,
            "sha": self.told(iid)["sha"],
            "ref": self.row(iid)["source_branch"],
            "status": status,
            "source": "push",
            "created_at": state.time(),
            "updated_at": state.time(),
            "web_url": page,
        }
        self.row(iid)["head_pipeline"] = row
        self.jobs[number] = []
        for name, log in jobs.items():
            job = state.new_id()
            self.traces[job] = log
            self.jobs[number].append(
                {
                    "id": job,
                    "status": "failed",
                    "stage": "test",
                    "name": name,
                    "ref": row["ref"],
                    "tag": False,
                    "allow_failure": False,
                    "created_at": state.time(),
                    "started_at": state.time(),
                    "finished_at": state.time(),
                    "failure_reason": "script_failure",
                    "web_url": f"{state.site}/{state.path}/-/jobs/{job}",
                    "pipeline": {
                        "id": number,
                        "project_id": state.number,
                        "ref": row["ref"],
                        "sha": row["sha"],
                        "status": status,
                    },
                }
            )
        return row
