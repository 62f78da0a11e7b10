"""The example app that `prefect.yaml` deploys: three routes, two priorities, a small agent.

From the top of the repository, with a Prefect server running (`prefect server start`):

    cp deployments/example_board.json example-board.json
    athanore pools && prefect deploy --all
    athanore worker deployments/example_app.py:dispatcher
    athanore api deployments/example_app.py:dispatcher

or all in one: `athanore up deployments/example_app.py:dispatcher`.
"""

import os

from athanore import AgentDispatcher, JsonFileAdapter
from flows.example_routes import add_routes

dispatcher = AgentDispatcher(
    name="example",
    command="deployments/example_agent.py",
    poll_interval=30,
    max_concurrent_agents=2,
    dead_letter_queue="Failed",
    queue_backend=JsonFileAdapter(os.environ.get("EXAMPLE_BOARD", "example-board.json")),
)

add_routes(dispatcher)
