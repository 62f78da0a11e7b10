"""Commands for the beginning and for trouble: what they do, ask and write."""
