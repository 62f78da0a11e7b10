"""What an agent is given with its job, besides the prompt."""
