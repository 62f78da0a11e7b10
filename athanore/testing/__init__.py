"""What an adapter author needs for tests: the contract suites, importable. Needs pytest."""

import pytest

# Without this a failing assertion of a suite would not show its values.
pytest.register_assert_rewrite(
    "athanore.testing.agent_contract",
    "athanore.testing.queue_contract",
    "athanore.testing.task_contract",
    "athanore.testing.workspace_contract",
)

from athanore.testing.queue_contract import QueueAdapterContract  # noqa: E402

__all__ = ["QueueAdapterContract"]
