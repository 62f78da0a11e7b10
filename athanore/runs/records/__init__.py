"""What a run keeps of itself and beside itself in Prefect."""
