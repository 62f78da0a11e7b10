"""The Prefect worker that runs both flows as coroutines in its own process."""

from athanore.worker.worker import AthanoreWorker

__all__ = ["AthanoreWorker"]
