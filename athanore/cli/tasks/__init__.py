"""Commands about tasks: change them, look at one of them, follow their agents."""
