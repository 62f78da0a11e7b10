"""Claude, through either SDK. What its CLI says (`messages`) is read without one, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from athanore.agent_adapters.claude.adapter import ClaudeAgentAdapter

__all__ = ["ClaudeAgentAdapter"]


def __getattr__(name: str) -> Any:
    """Import the adapter when it is asked for: without an SDK that says what to install."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from athanore.agent_adapters.claude import adapter

    return adapter.ClaudeAgentAdapter
