"""`supervise` for adapters that users write; see `athanore.processes.supervisor`."""

from athanore.processes.supervisor import supervise

__all__ = ["supervise"]
