"""What is kept in Prefect that is no run: questions, pull requests, keys, and where folders are."""
