"""Command line agents that tell what they do as a stream of JSON: one file for each preset."""

from athanore.agent_adapters.cli.adapter import CliAgentAdapter

__all__ = ["CliAgentAdapter"]
