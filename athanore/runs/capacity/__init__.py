"""How many agents may work, and which routes and accounts are held: limits, slots, pauses."""
