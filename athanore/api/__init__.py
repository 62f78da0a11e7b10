"""The task API: what agents and operators talk to."""

# Registers the `name` path parameter, which the routers' paths use when they are imported.
from athanore.api.security import paths as paths
