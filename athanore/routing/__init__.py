"""Routes and scheduled work: their options, their rules, and what users write for them."""
