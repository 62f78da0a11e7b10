"""Branches that are published, and what comes back of their pull requests."""
