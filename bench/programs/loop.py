"""The bare minimum: a plain loop over the board's file, without what Athanore promises.

`loop.py BOARD SLOTS PROGRAM` has the program run for each task in Todo, so many at once, with each
task in In Progress meanwhile and in Done afterwards, and prints the seconds that it took. There are
no retries, timeouts, priorities, logs or pages, and what it does when it is killed is lost.
"""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock


def main(board: Path, slots: int, program: str) -> None:
    """Work on all tasks and print the time."""
    lock = Lock()

    def move(task: dict[str, str], source: str, target: str) -> None:
        with lock:
            data = json.loads(board.read_text())
            queues = data["queues"]
            queues[source] = [t for t in queues[source] if t["id"] != task["id"]]
            queues[target].append(task)
            new = board.with_suffix(".new")
            new.write_text(json.dumps(data, indent=2))
            new.replace(board)

    def work(task: dict[str, str]) -> None:
        move(task, "Todo", "In Progress")
        subprocess.run([program, "prompt"], capture_output=True, check=True)
        move(task, "In Progress", "Done")

    began = time.perf_counter()
    with ThreadPoolExecutor(slots) as pool:
        list(pool.map(work, json.loads(board.read_text())["queues"]["Todo"]))
    sys.stdout.write(f"{time.perf_counter() - began}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
