"""An app on the terminal in which it runs: how it looks, its keys, and its end."""
