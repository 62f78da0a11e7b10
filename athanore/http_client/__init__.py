"""What boards and forges share of HTTP."""
