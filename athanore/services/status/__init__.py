"""How an app is doing: what is shown of it, and why its tasks are where they are."""
