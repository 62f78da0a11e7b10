"""After the storm: the agents' own record against the board, Prefect and the comments."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from athanore.models import Task
from chaos.site import MAX_CRASHES, MAX_RETRIES, QUEUES, Site
from chaos.storm import Storm

STAGES = ("Todo", "Review")
_ACTIVE = frozenset({"PENDING", "RUNNING", "CANCELLING", "PAUSED"})
_COMMENTS = {
    "retried": re.compile(r"Retry \d+/\d+: "),
    "crashed": re.compile(r"Worker lost; returned to queue, attempt \d+\.$"),
    "returned": re.compile(r"Worker (is shutting down|was cut off from Prefect); returned to"),
    "exhausted": re.compile(r"Max retries \(\d+\) exhausted\."),
    "gave up": re.compile(r"Max crashes \(\d+\) exhausted\."),
    "stopped": re.compile(r"Agent stopped: "),
    "cancelled": re.compile(r"Cancelled"),
    "late": re.compile(r"Agent failed \(.*\) after the task was moved to '"),
}


@dataclass
class Verdict:
    """What was found; `violations` is empty if every promise was kept."""

    figures: Counter[str] = field(default_factory=Counter[str])
    violations: list[str] = field(default_factory=list[str])

    def blame(self, kind: str, text: str) -> None:
        """Note a broken promise."""
        self.figures[kind] += 1
        self.violations.append(f"{kind}: {text}")


_KINDS = ("lost", "doubled", "overlapping", "stuck", "unaccounted", "orphans", "crashed service")


def judge(site: Site, storm: Storm) -> Verdict:
    """Compare what the agents wrote down with what the board and Prefect say."""
    verdict = Verdict(Counter(dict.fromkeys(_KINDS, 0)))
    runs: list[Any] = list(site.runs())
    record: dict[str, list[Any]] = defaultdict(list)
    for line in site.record():
        record[str(line["task"])].append(line)
    runs_of: dict[str, list[Any]] = defaultdict(list)
    for run in runs:
        runs_of[str(run["parameters"]["task_id"])].append(run)
    on_board = Counter(t.id for t in site.board.get_ready_tasks(QUEUES))
    verdict.figures["tasks"] = len(site.tasks)
    for task_id in site.tasks:
        if on_board[task_id] != 1:
            verdict.blame("lost", f"task {task_id} is {on_board[task_id]} times on the board")
            continue
        task = site.board.get_task(task_id)
        _judge_task(verdict, storm, task, record[task_id], runs_of[task_id])
    for task_id in on_board.keys() - set(site.tasks):
        verdict.blame("doubled", f"task {task_id} came from nowhere")
    for run in runs:
        if run["state_type"] in _ACTIVE or run["state_type"] == "SCHEDULED":
            verdict.blame("stuck", f"run {run['name']!r} is {run['state_name']} ({run['id']})")
    verdict.figures["runs"] = len(runs)
    return verdict


def judge_polls(site: Site, verdict: Verdict) -> None:
    """Nobody works any more: then no poll may say that it does."""
    for run in site.runs("poll"):
        if run["state_type"] in _ACTIVE:
            verdict.blame("stuck", f"poll {run['id']} is {run['state_name']}")


def _judge_task(
    verdict: Verdict, storm: Storm, task: Task, lines: list[Any], runs: list[Any]
) -> None:
    comments = [c.text for c in task.comments]
    counts = Counter(
        {kind: sum(bool(p.match(c)) for c in comments) for kind, p in _COMMENTS.items()}
    )
    events = Counter(line["event"] for line in lines)
    verdict.figures["agents started"] += events["start"]
    for kind in ("retried", "crashed", "returned", "exhausted", "gave up"):
        verdict.figures[kind] += counts[kind]
    for line in lines:
        if line["event"] == "overlap":
            verdict.blame("overlapping", f"two agents of task {task.id} at {line['time']}")
        if line["event"] == "too many":
            verdict.blame("overlapping", f"more agents than allowed: task {task.id}")
    _judge_place(verdict, storm, task, lines, runs, counts)
    interfered = task.id in storm.moved | storm.cancelled
    _judge_comments(verdict, task, lines, comments, interfered)
    _judge_counts(verdict, task, events["start"], runs, counts, interfered)


def _judge_place(
    verdict: Verdict, storm: Storm, task: Task, lines: list[Any], runs: list[Any],
    counts: Counter[str],
) -> None:  # fmt: skip
    """The task is where it should be, and there is a reason for it."""
    where = f"task {task.id} is in {task.queue_name!r}"
    verdict.figures[task.queue_name] += 1
    match task.queue_name:
        case "Done":
            for stage in STAGES:
                did = {"Done": f"Done {stage}"}["Done"]
                if not any(x["event"] == "commenting" and x["text"].startswith(did) for x in lines):
                    verdict.blame("lost", f"{where}, but no agent did its stage {stage!r}")
        case "Failed":
            if counts["exhausted"] + counts["gave up"] != 1:
                verdict.blame("unaccounted", f"{where} without one reason: {dict(counts)}")
        case "Cancelled":
            if task.id not in storm.cancelled:
                verdict.blame("lost", f"{where}, but nobody cancelled it")
        case "Parked":
            if task.id not in storm.moved:
                verdict.blame("lost", f"{where}, but nobody moved it there")
        case _:
            states = ", ".join(f"{r['parameters']['queue_name']} {r['state_name']}" for r in runs)
            verdict.blame("stuck", f"{where}; its runs: {states}")


def _judge_comments(
    verdict: Verdict, task: Task, lines: list[Any], comments: list[str], interfered: bool
) -> None:
    """What the API acknowledged is on the board, and nothing is there twice."""
    on_board = Counter(comments)
    for line in lines:
        if line["event"] == "commented" and on_board[line["text"]] == 0:
            verdict.blame("lost", f"task {task.id} has no comment {line['text']!r}")
        if line["event"] == "commenting" and on_board[line["text"]] > 1:
            verdict.blame("doubled", f"task {task.id} has {line['text']!r} twice")
        # An agent that a person has stopped, and one whose attempt is over, may not write any more.
        allowed = (401, 403, 409) if interfered else (401, 403)
        if line["event"] == "refused" and line["code"] not in allowed:
            verdict.blame("unaccounted", f"task {task.id}: the API answered {line['answer']}")


def _judge_counts(
    verdict: Verdict,
    task: Task,
    starts: int,
    runs: list[Any],
    counts: Counter[str],
    interfered: bool,
) -> None:
    """Every start of an agent has its reason, every retry and every crash its comment."""
    who = f"task {task.id}"
    labels = [r["labels"] for r in runs]
    attempts = [
        max(0, int(x.get("athanore.start", 0)) - int(x.get("athanore.given-back", 0)))
        for x in labels
    ]
    visits = sum(a > 0 for a in attempts)
    explained = visits + counts["retried"] + counts["crashed"] + counts["returned"]
    if starts > explained:
        verdict.blame("unaccounted", f"{who}: {starts} starts, {explained} explained: {counts}")
    retries = sum(a - 1 for a in attempts if a > 1)
    # A person may have cancelled the run before the retry that its comment speaks of.
    if counts["retried"] - retries not in ((0, 1) if interfered else (0,)):
        verdict.blame("unaccounted", f"{who}: {retries} retries, {counts['retried']} comments")
    crashes = sum(int(x.get("athanore.crashes", 0)) for x in labels)
    verdict.figures["crashes counted"] += crashes
    if counts["crashed"] > crashes:
        verdict.blame("unaccounted", f"{who}: {crashes} crashes, {counts['crashed']} comments")
    if any(a > MAX_RETRIES + 1 for a in attempts):
        verdict.blame("unaccounted", f"{who}: {attempts} attempts")
    if any(int(x.get("athanore.crashes", 0)) > MAX_CRASHES for x in labels):
        verdict.blame("unaccounted", f"{who}: more than {MAX_CRASHES} crashes")
