"""The Prefect server: found, or started as a child, and watched."""
