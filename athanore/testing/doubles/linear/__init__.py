"""A Linear for tests: `with linear_double() as linear: ... linear.board()`."""

from athanore.testing.doubles.linear.server import LinearDouble, linear_double

__all__ = ["LinearDouble", "linear_double"]
