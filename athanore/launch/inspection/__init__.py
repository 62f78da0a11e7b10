"""What an app needs, looked at before it starts, by `doctor` and by `validate`."""
