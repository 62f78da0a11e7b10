"""Agents that speak the Agent Client Protocol (https://agentclientprotocol.com).

Needs the extra `acp`.
"""

from athanore.agent_adapters.acp.adapter import AcpAgentAdapter

__all__ = ["AcpAgentAdapter"]
