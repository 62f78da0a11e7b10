"""What the API remembers: values that are read often, and what has been done once."""
