"""Figures for /status and /metrics."""
