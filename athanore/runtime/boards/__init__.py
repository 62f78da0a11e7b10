"""The board of an app, for async callers."""
