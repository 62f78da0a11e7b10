"""Eight processes that claim the tasks of one board in a database, all at once.

Run as a program by test_sql_board_processes.py: `sql_board_worker.py ADDRESS FOLDER`. Each process
writes the ids that it has claimed into a file of the folder.
"""

from __future__ import annotations

import os
import random
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from athanore.errors import TaskMovedError
from athanore.queue_adapters.sql import SqlBoard

WORKERS = 8


def work(address: str, report: Path, number: int) -> NoReturn:
    """Try to claim each task, in an order of one's own; and make the board first, as all do."""
    status = 1
    try:
        board = SqlBoard(address, user=f"w{number}")
        board.prepare(["Todo", "In Progress", "Done"])
        tasks = board.get_ready_tasks(["Todo"])
        random.Random(number).shuffle(tasks)
        won: list[str] = []
        for task in tasks:
            try:
                board.claim_task(
                    task.id,
                    source_queue="Todo",
                    target_queue="In Progress",
                    assignee=board.user,
                )
            except TaskMovedError:
                continue
            won.append(task.id)
        report.write_text("\n".join(won))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def main(address: str, folder: Path) -> None:
    """Fork the processes, so that only the first one pays for the imports."""
    pids = [os.fork() or work(address, folder / f"w{number}", number) for number in range(WORKERS)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    raise SystemExit(max(codes))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
