"""A Planka for tests: `with planka_double() as planka: ... planka.board()`."""

from athanore.testing.doubles.planka.server import PlankaDouble, planka_double

__all__ = ["PlankaDouble", "planka_double"]
