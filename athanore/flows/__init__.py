"""The two Prefect flows and what they share."""
