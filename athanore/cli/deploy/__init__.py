"""Commands that tell Prefect about an app, and that take it out of Prefect again."""
