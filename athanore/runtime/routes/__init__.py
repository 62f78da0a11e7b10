"""The routes of an app as they are now, those that were made over HTTP included."""
