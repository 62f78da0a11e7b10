"""Sharing the cards that a page can show among the queues."""

from __future__ import annotations

from collections.abc import Mapping


def fair_shares(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """Share out a total: the small get all that they need, the large what is left, evenly."""
    shares: dict[str, int] = {}
    for place, name in enumerate(sorted(sizes, key=lambda n: sizes[n])):
        shares[name] = min(sizes[name], total // (len(sizes) - place))
        total -= shares[name]
    return shares
