"""A bare FastAPI app that returns given bytes: what the framework itself costs.

`bare.py PORT TASK_FILE COMMENT_FILE` answers GET /tasks/{id} and POST /tasks/{id}/comments.
"""

import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Response
from pydantic import BaseModel

app = FastAPI()
TASK, COMMENT = (Path(p).read_bytes() for p in sys.argv[2:4])


class Comment(BaseModel):
    """What a comment is posted with."""

    comment: str


@app.get("/tasks/{task_id}")
async def get_task(task_id: str) -> Response:
    """Return the task's bytes."""
    return Response(TASK, media_type="application/json")


@app.post("/tasks/{task_id}/comments", status_code=201)
async def add_comment(task_id: str, body: Comment) -> Response:
    """Return the comment's bytes."""
    return Response(COMMENT, status_code=201, media_type="application/json")


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_config=None, access_log=False)
