"""Starting things: Prefect's server, everything in one process, one part each, and the checks."""
