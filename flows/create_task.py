"""The flow of scheduled work: creates a task on the board at the times that a schedule names.

Deployed once a schedule of the app. Its code is in `athanore/flows/create_task.py`.
"""

from athanore.flows.create_task import create_task

__all__ = ["create_task"]
