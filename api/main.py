"""The task API on its own: `ATHANORE_APP=run.py:dispatcher uvicorn api.main:app`.

Set PREFECT_API_URL as well; without it the board's part works, and nothing that needs Prefect.
"""

import os

from athanore.api.app import create_api
from athanore.errors import ConfigurationError
from athanore.runtime.registry import registry

reference = os.environ.get("ATHANORE_APP", "")
if not reference:
    raise ConfigurationError("Set ATHANORE_APP to the app to serve: run.py:dispatcher.")

app = create_api(registry.find(reference))
