"""What Prefect keeps for us: runs, their records, pauses, slots, and its clock."""
