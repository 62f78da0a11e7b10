"""Commands about apps that run: start and stop them, reload them, and look after their workers."""
