"""ClaudeAgentAdapter, with the real CLI and a scripted model, keeps the contract."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack

import pytest

from athanore.testing.agent_contract import AgentAdapterContract, Behaviour, Case, CaseMaker
from tests.claude.endpoint import Reply, bash, fail, hang, say
from tests.claude.rig import bundled_cli, claude_rig

CLI = bundled_cli()
if CLI is None:
    pytest.skip(
        "claude-agent-sdk, which bundles the real CLI, is not installed", allow_module_level=True
    )

from athanore.agent_adapters.claude.adapter import ClaudeAgentAdapter  # noqa: E402

pytestmark = pytest.mark.nightly

FOREVER = "nohup tail -f /dev/null >/dev/null 2>&1 &"
STUBBORN = f"trap '' TERM; {FOREVER} (exec {FOREVER})"

SCRIPTS: dict[Behaviour, list[Reply]] = {
    "succeeds": [say("hello from the agent")],
    "fails": [fail(500, "it went wrong")],
    "hangs": [bash(FOREVER), hang("ready")],
    "ignores TERM": [bash(STUBBORN), hang("ready")],
}


class TestClaudeAgent(AgentAdapterContract):
    @pytest.fixture
    def case(self) -> Generator[CaseMaker]:
        with ExitStack() as rigs:

            def make(behaviour: Behaviour) -> Case:
                rig = rigs.enter_context(claude_rig(SCRIPTS[behaviour]))
                claude = ClaudeAgentAdapter(permission_mode="bypassPermissions", cli_path=CLI)
                return Case(claude, rig.job())

            yield make
