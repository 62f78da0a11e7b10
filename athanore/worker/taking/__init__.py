"""Which runs a worker takes, and when it looks for them."""
