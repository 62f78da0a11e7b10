"""A whole board as one document: what the JSON file and the board in memory share."""
