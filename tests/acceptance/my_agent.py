"""The agent of the story: tells what it was given, waits for leave, does what the README says.

`FOLDER/started-ID` is written when it starts, it goes on when `FOLDER/go-ID` is there, and every
start and end is a line of `FOLDER/journal`.
"""

import json
import os
import subprocess
import sys
import time

folder, readme_agent = sys.argv[1:3]
task_id = os.environ["ATHANORE_TASK_ID"]


def note(what: str) -> None:
    journal = os.open(f"{folder}/journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(journal, f"{what}\n".encode())


note("start")
started = {"argv": sys.argv[3:], "env": dict(os.environ)}
with open(f"{folder}/started-{task_id}.new", "w") as file:
    json.dump(started, file)
os.replace(file.name, f"{folder}/started-{task_id}")
while not os.path.exists(f"{folder}/go-{task_id}"):
    time.sleep(0.02)
code = subprocess.run(["sh", readme_agent, *sys.argv[3:]]).returncode
note("end")
sys.exit(code)
