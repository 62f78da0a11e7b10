"""What each endpoint about merge requests does; see `endpoints`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from athanore.testing.doubles import rest
from athanore.testing.doubles.gitlab.endpoints import page_of, project_of
from athanore.testing.doubles.gitlab.merges import Merges
from athanore.testing.doubles.gitlab.state import Account, State, not_found
from athanore.testing.doubles.rest import Answer, RefusalError, Row

type Call = rest.Call[State, Account]

_DEVELOPER = 30


def endpoints(merges: Merges) -> Mapping[tuple[str, str], Callable[[Call], Answer]]:
    """The handlers by method and path."""

    def number(call: Call, *, write: bool = False) -> int:
        project_of(call, write=write)
        if write and call.account.role < _DEVELOPER:
            raise RefusalError(403, {"message": "403 Forbidden"})
        iid = call.arg("merge_request_iid")
        return int(iid) if iid.isdecimal() else 0

    def listed(call: Call) -> Answer:
        project_of(call)
        wanted, source = call.query("state", "all"), call.query("source_branch", "")
        rows = [
            row
            for row in merges.listed()
            if wanted in ("all", row["state"]) and source in ("", row["source_branch"])
        ]
        return page_of(call, rows)

    def create(call: Call) -> Answer:
        project_of(call, write=True)
        if call.account.role < _DEVELOPER:
            raise RefusalError(403, {"message": "403 Forbidden"})
        return merges.open(call.account.username, call.fields), 201, {}

    def one(call: Call) -> Answer:
        return merges.told(number(call)), 200, {}

    def update(call: Call) -> Answer:
        return merges.set_fields(number(call, write=True), call.fields), 200, {}

    def discussions(call: Call) -> Answer:
        iid = number(call)
        merges.row(iid)
        return page_of(call, merges.discussions[iid])

    def reviewers(call: Call) -> Answer:
        iid = number(call)
        merges.row(iid)
        return merges.reviewers[iid], 200, {}

    def jobs(call: Call) -> Answer:
        project_of(call)
        found = merges.jobs.get(int(call.arg("pipeline_id")))
        if found is None:
            raise not_found()
        wanted = call.query("scope", "")
        return page_of(call, [job for job in found if wanted in ("", job["status"])])

    def trace(call: Call) -> Answer:
        project_of(call)
        log = merges.traces.get(int(call.arg("job_id")))
        if log is None:
            raise not_found()
        return log, 200, {}

    def member(call: Call) -> Answer:
        project_of(call)
        for name, role in merges.roles.items():
            user: Row = call.state.users[name]
            if str(user["id"]) == call.arg("user_id"):
                return user | {"access_level": role, "expires_at": None}, 200, {}
        raise not_found()

    project = "/projects/{id:path}"
    merge = f"{project}/merge_requests/{{merge_request_iid}}"
    return MappingProxyType(
        {
            ("GET", f"{merge}/discussions"): discussions,
            ("GET", f"{merge}/reviewers"): reviewers,
            ("GET", f"{project}/merge_requests"): listed,
            ("POST", f"{project}/merge_requests"): create,
            ("GET", merge): one,
            ("PUT", merge): update,
            ("GET", f"{project}/pipelines/{{pipeline_id}}/jobs"): jobs,
            ("GET", f"{project}/jobs/{{job_id}}/trace"): trace,
            ("GET", f"{project}/members/all/{{user_id}}"): member,
        }
    )
