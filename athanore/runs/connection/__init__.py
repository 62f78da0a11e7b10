"""The way to Prefect's API: connections, what is said while one waits, and Prefect's clock."""
