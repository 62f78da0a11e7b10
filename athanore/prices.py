"""What tokens cost, estimated by a table of public prices (the package `genai-prices`).

An estimate only: it knows no discounts, and nothing of subscriptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

_KINDS = {"input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"}


def is_installed() -> bool:
    """Tell whether there is a table; it comes with the extra `prices`."""
    return find_spec("genai_prices") is not None


def is_known(model: str) -> bool:
    """Tell whether the table has the prices of a model."""
    return estimate(model, {"input_tokens": 1, "output_tokens": 1}) is not None


def estimate(model: str, usage: Mapping[str, Any]) -> float | None:
    """What tokens of a model cost in US dollars; None if the table does not have it.

    Args:
        model: as its provider calls it, with or without the provider before a slash.
        usage: the usage of an attempt. Tokens that were read from a cache, or written to one
            (`cache_read_tokens`, `cache_write_tokens`), are among `input_tokens`.
    """
    counts = {k: int(v) for k, v in usage.items() if k in _KINDS and isinstance(v, int | float)}
    if not is_installed() or not {"input_tokens", "output_tokens"} & set(counts):
        return None
    table: Any = import_module("genai_prices")
    for name in dict.fromkeys((model, model.rpartition("/")[2])):
        try:
            price = table.calc_price(table.Usage(**counts), model_ref=name)
            return float(price.total_price)
        except (LookupError, ValueError):
            continue
    return None
