"""What agents do not inherit, and what nobody is shown."""
