"""The polling flow: looks at one queue and creates an agent run for each task that is ready.

Deployed once a route, on the route's schedule. Its code is in `athanore/flows/poll_route.py`.
"""

from athanore.flows.poll_route import poll_route

__all__ = ["poll_route"]
