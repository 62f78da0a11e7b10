"""Which runs are at work in this process, and whether a worker and a start still hold theirs."""
