"""Putting right what was left behind, by a timer of the app's."""
