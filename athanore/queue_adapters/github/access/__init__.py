"""Who a board is on GitHub: a token or an app, and what the account may do."""
