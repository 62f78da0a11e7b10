"""The double's GitHub App: it looks at what is signed, and gives tokens that end."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from athanore.testing.doubles.github.state import Account, RefusalError, Row, not_found, user

_LONGEST: Final = timedelta(minutes=10)


@dataclass
class AppTables:
    """One app, and its one installation.

    Attributes:
        id: its client ID.
        installation: the id of the installation; None while it is not installed.
        permissions: of the installation.
        lasts: how long a token is valid.
        tokens: when each ends, by GitHub's clock.
        is_suspended: whether the account has suspended the installation.
    """

    id: str = "Iv23liOfTheDouble"
    installation: int | None = 4711
    permissions: dict[str, str] = field(
        default_factory=lambda: {
            "issues": "write",
            "metadata": "read",
            "contents": "write",
            "pull_requests": "write",
            "organization_projects": "write",
        }
    )
    lasts: timedelta = timedelta(hours=1)
    tokens: dict[str, datetime] = field(default_factory=dict[str, datetime])
    is_suspended: bool = False
    _pair: list[Any] = field(default_factory=list[Any])

    def clear(self) -> None:
        """As it was at first; the key stays."""
        fresh = AppTables()
        self.installation, self.lasts, self.is_suspended = fresh.installation, fresh.lasts, False
        self.permissions = fresh.permissions
        self.tokens.clear()

    @property
    def key(self) -> str:
        """The app's private key, as GitHub gives it."""
        from cryptography.hazmat.primitives import serialization as form

        pem, plain = form.Encoding.PEM, form.NoEncryption()
        return self._key.private_bytes(pem, form.PrivateFormat.TraditionalOpenSSL, plain).decode()

    @property
    def _key(self) -> Any:
        from cryptography.hazmat.primitives.asymmetric import rsa

        if not self._pair:
            self._pair.append(rsa.generate_private_key(public_exponent=65537, key_size=2048))
        return self._pair[0]

    def account(self, token: str, now: datetime) -> Account | None:
        """Whose token it is, while it is valid."""
        if token not in self.tokens or self.tokens[token] <= now or self.is_suspended:
            return None
        may_write = self.permissions.get("issues") == "write"
        return Account("octo-agents[bot]", may_write, is_installation=True)

    def check(self, note: str, now: datetime) -> None:
        """Refuse a note that is not signed with the app's key, or not for now."""
        import jwt

        try:
            claims = jwt.decode(
                note,
                self._key.public_key(),
                algorithms=["RS256"],
                # By the double's clock, which a test sets.
                options={
                    "require": ["iat", "exp", "iss"],
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
        except jwt.PyJWTError as exc:
            raise RefusalError(401, "A JSON web token could not be decoded") from exc
        if claims["iss"] != self.id:
            raise RefusalError(401, "Integration not found")
        if claims["iat"] > now.timestamp():
            said = "'Issued at' claim ('iat') must be an Integer representing the time that the "
            raise RefusalError(401, f"{said}assertion was issued")
        left = claims["exp"] - now.timestamp()
        if not 0 < left <= _LONGEST.total_seconds():
            said = "'Expiration time' claim ('exp') must be a numeric value representing the future"
            raise RefusalError(401, f"{said} time at which the assertion expires")

    def new_token(self, installation: str, now: datetime) -> Row:
        """A token of the installation."""
        if installation != str(self.installation):
            raise not_found()
        if self.is_suspended:
            raise RefusalError(403, "This installation has been suspended")
        token = f"ghs_{secrets.token_hex(18)}"
        self.tokens[token] = now + self.lasts
        return {
            "token": token,
            "expires_at": f"{self.tokens[token]:%Y-%m-%dT%H:%M:%SZ}",
            "permissions": dict(self.permissions),
            "repository_selection": "all",
        }

    def told(self, owner: str) -> Row:
        """The installation, as it is told to the app."""
        if self.installation is None:
            raise not_found()
        url = f"https://api.github.test/app/installations/{self.installation}"
        return {
            "id": self.installation,
            "account": user(owner),
            "app_id": 1,
            "app_slug": "octo-agents",
            "client_id": self.id,
            "target_id": 1,
            "target_type": "Organization",
            "permissions": dict(self.permissions),
            "events": ["issues"],
            "repository_selection": "all",
            "single_file_name": None,
            "suspended_at": None,
            "suspended_by": None,
            "access_tokens_url": f"{url}/access_tokens",
            "repositories_url": "https://api.github.test/installation/repositories",
            "html_url": f"https://github.test/settings/installations/{self.installation}",
            "created_at": "2026-01-01T00:00:00Z",
            "updated_at": "2026-01-01T00:00:00Z",
        }
