"""Planka 2."""

from athanore.queue_adapters.planka.backend import PlankaBackend

__all__ = ["PlankaBackend"]
