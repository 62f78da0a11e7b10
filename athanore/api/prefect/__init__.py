"""What the API asks of Prefect."""
