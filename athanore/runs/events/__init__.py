"""What is sent and asked as events of Prefect."""
