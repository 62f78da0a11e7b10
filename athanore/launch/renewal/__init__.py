"""The code of an app that runs: where it is, whether it has changed, and beginning anew with it."""
