"""What one process keeps while it runs an app."""
