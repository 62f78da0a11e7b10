"""The runs of polls: late ones become one, and those that would find nothing are ended together."""
