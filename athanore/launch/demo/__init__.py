"""`athanore demo`: a pipeline at work, with nothing but what is installed."""
