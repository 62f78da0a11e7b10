"""Agent adapters: `base` is the port, the others implement it."""
