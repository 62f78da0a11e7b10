"""The session of an agent is kept with its run: a retry goes on with it, or starts anew at once."""

from __future__ import annotations

from pathlib import Path

from athanore import AgentDispatcher, CliAgentAdapter, MemoryAdapter
from athanore.agent_adapters.given.sessions import Session
from tests.harness import app_name, prompt, running

CODEX = """#!/bin/sh
[ "$1" = --version ] && exec echo codex-cli 0.169.0
echo "$*" >> calls-$ATHANORE_TASK_ID
case "$*" in *" resume "*)
    test -e session-$ATHANORE_TASK_ID && exit 0
    echo "no rollout found" >&2
    exit 1;;
esac
echo '{"type":"thread.started","thread_id":"thread-of-'$ATHANORE_ATTEMPT'"}'
[ $ATHANORE_ATTEMPT = 2 ] || exit 3
"""


def test_a_retry_goes_on_with_the_session_and_one_that_is_deleted_costs_no_attempt(
    prefect_api: str, tmp_path: Path
) -> None:
    program = tmp_path / "codex"
    program.write_text(CODEX, encoding="utf-8")
    program.chmod(0o755)
    board = MemoryAdapter(["Todo", "In Progress", "Done", "Failed"])
    kept, deleted = (board.create_task("Todo", name).id for name in ("Kept", "Deleted"))
    (tmp_path / f"session-{kept}").touch()
    agent = CliAgentAdapter("codex", program=program, resume_on_retry=True, board_access="curl")
    dispatcher = AgentDispatcher(
        name=app_name("session"), queue_backend=board, poll_interval=3600, api_port=0,
        max_retries=1, dead_letter_queue="Failed", default_agent=agent,
    )  # fmt: skip
    dispatcher.route("Todo", done_queue="Done", retry_delay=0, cwd=tmp_path)(prompt)
    with running(dispatcher, prefect_api) as it:
        for task in (kept, deleted):
            it.in_queue(task, "Done")
        runs = {task: it.prefect.ended(task) for task in (kept, deleted)}
    calls = {task: (tmp_path / f"calls-{task}").read_text().splitlines() for task in runs}
    assert ["resume" in call for call in calls[kept]] == [False, True]
    assert ["resume" in call for call in calls[deleted]] == [False, True, False]
    assert all("thread-of-1" in made[1] for made in calls.values())
    assert all(call.endswith(prompt(kept, "Kept")) for call in calls[kept])
    for task, thread in ((kept, "thread-of-1"), (deleted, "thread-of-2")):
        labels = it.prefect.labels(runs[task]["id"])
        assert (labels["athanore.start"], labels.get("athanore.given-back")) == (2, None)
        session = Session.parse(labels["athanore.session"])
        assert session is not None
        assert (session.id, session.place.folder) == (thread, str(tmp_path.resolve()))
