"""Endpoints that show how an app is doing, and what it has cost."""
