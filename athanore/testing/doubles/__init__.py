"""Doubles of trackers for tests: real HTTP servers that behave as the tracker does."""
