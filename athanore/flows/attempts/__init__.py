"""One attempt of an agent: where it works, what it is told, what it says."""
