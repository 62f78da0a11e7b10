"""What follows the end of an attempt, and of a run."""
