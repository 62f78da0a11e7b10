"""Claude, through either SDK."""

from athanore.agent_adapters.claude.adapter import ClaudeAgentAdapter

__all__ = ["ClaudeAgentAdapter"]
