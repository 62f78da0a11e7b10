"""The routes of the example pipeline: Todo -> Review -> Docs -> Done.

What is further along goes first, so that a task is finished before the next one is begun.
"""

from athanore import AgentDispatcher


def add_routes(dispatcher: AgentDispatcher) -> None:
    """Let an app watch the three queues of the example."""

    @dispatcher.route("Todo", args=["--next", "Review"], priority=2, max_retries=2)
    def build(task_id: str, task_name: str) -> str:  # pyright: ignore[reportUnusedFunction]
        return f"Do what task {task_id} asks for: {task_name}."

    @dispatcher.route("Review", args=["--next", "Docs"], priority=1, timeout=300)
    def review(task_id: str, task_name: str) -> str:  # pyright: ignore[reportUnusedFunction]
        return f"Check what was done for task {task_id}: {task_name}."

    @dispatcher.route("Docs", args=["--next", "Done"], priority=1, poll_interval=60)
    def document(task_id: str, task_name: str) -> str:  # pyright: ignore[reportUnusedFunction]
        return f"Write down what changed with task {task_id}: {task_name}."
