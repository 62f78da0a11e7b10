"""What agents do, live and later."""
