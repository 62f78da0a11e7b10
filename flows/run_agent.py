"""The agent flow: claims one task, has an agent work on it, and sees to what comes of it.

Deployed once a route; a run is one visit of a task. Its code is in `athanore/flows/run_agent.py`.
"""

from athanore.flows.run_agent import run_agent

__all__ = ["run_agent"]
