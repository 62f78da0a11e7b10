"""Who may call, and what may leave."""
