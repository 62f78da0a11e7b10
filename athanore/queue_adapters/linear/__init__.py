"""Linear as a task board; see `backend.LinearBoard`."""

from athanore.queue_adapters.linear.backend import LinearBoard

__all__ = ["LinearBoard"]
