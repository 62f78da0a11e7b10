"""The folders in which agents work: looking after them, and running commands in them."""
