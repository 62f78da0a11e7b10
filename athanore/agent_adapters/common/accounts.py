"""Which account an agent uses at its provider, so that a limit of it holds all who use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b

_KEY = b"athanore account"


def account(
    kind: str, env: Mapping[str, str], credentials: Sequence[str], homes: Sequence[str]
) -> str:
    """Name an account: the kind, and a keyed digest of its credential.

    Args:
        kind: the provider or its program.
        env: the agent's environment.
        credentials: the variables that may hold a key or a token.
        homes: those that name the folder of its login, first one first, for an agent without any.
    """
    said = [env[name] for name in credentials if env.get(name)]
    if not said:
        said = [env[name] for name in homes if env.get(name)][:1]
    digest = blake2b("\0".join(said).encode(), key=_KEY, digest_size=12)
    return f"{kind}:{digest.hexdigest()}"


def claude_account(env: Mapping[str, str]) -> str:
    """The account of Claude Code, however it is started."""
    credentials = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
    return account("claude", env, credentials, ("CLAUDE_CONFIG_DIR", "HOME"))
