"""The use cases, one function each; the API, the command line, polls and hooks call them."""
