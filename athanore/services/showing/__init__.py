"""What commands, the page and answers show of an app."""
