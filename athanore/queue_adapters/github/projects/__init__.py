"""Projects of GitHub as task boards: their columns are queues."""
