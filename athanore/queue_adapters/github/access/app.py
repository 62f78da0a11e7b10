"""What a user writes of a GitHub App, and the tokens that its installation gets.

An app signs a short note with its private key, and is given a token for an hour for it. The token
is renewed before it ends, by GitHub's clock, and when GitHub refuses it.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, override
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from athanore.errors import BoardAccessError, BoardUnavailableError, ConfigurationError
from athanore.http_client.client import HttpClient
from athanore.http_client.patience import Patience
from athanore.queue_adapters.github.client import HEADERS, limit_in, said
from athanore.queue_adapters.tracker.answers import Json, details, sent_at
from athanore.queue_adapters.tracker.tokens import TokenVariables

VARIABLES: Final = ("ATHANORE_GITHUB_APP_KEY", "ATHANORE_GITHUB_APP_KEY_FILE")

_NOTE_LASTS: Final = timedelta(minutes=9)  # GitHub takes ten
_BACKDATED: Final = timedelta(minutes=1)
_RENEWED_BEFORE: Final = timedelta(minutes=5)
_SKEWED: Final = 30.0
_LEVELS: Final = ("none", "read", "write", "admin")
_KEY_LINE: Final = re.compile(r"[A-Za-z0-9+/=]{20,}")


class _Variables(TokenVariables):
    athanore_github_app_id: str | None = None
    athanore_github_app_installation: str | None = None
    athanore_github_app_key: SecretStr | None = None
    athanore_github_app_key_file: str | None = None


@dataclass(frozen=True, slots=True)
class GitHubApp:
    """A GitHub App, as which a board works, instead of a person's token.

    What is not given is read when the adapter is made, from the environment or `.env`.

    Attributes:
        id: its client ID, or its app ID; by default ATHANORE_GITHUB_APP_ID.
        key: its private key, the text of the `.pem` file; by default ATHANORE_GITHUB_APP_KEY.
        key_file: the file with the key instead; by default ATHANORE_GITHUB_APP_KEY_FILE.
        installation: the id of the installation; by default ATHANORE_GITHUB_APP_INSTALLATION, or
            the one that GitHub names for the board's repository.
    """

    id: str | int | None = None
    key: str | None = field(default=None, repr=False)
    key_file: str | Path | None = None
    installation: int | None = None

    def signed_by(self) -> AppKey:
        """The app with its key read.

        Raises:
            ConfigurationError: something is missing, or the key is none.
        """
        found = _Variables()
        id_ = str(self.id or found.athanore_github_app_id or "").strip()
        if not id_:
            raise ConfigurationError(
                "A GitHub App needs its id: GitHubApp(id=...), or ATHANORE_GITHUB_APP_ID; it is "
                "the client ID in the settings of the app."
            )
        installation = self.installation or found.athanore_github_app_installation
        if installation is not None and not str(installation).isdecimal():
            raise ConfigurationError(
                f"installation={installation!r} of the GitHub App {id_} must be a number, that at "
                "the end of the address of the installation's settings; or leave it out."
            )
        number = int(installation) if installation else None
        key = self.key
        if key is None and self.key_file is None and (secret := found.athanore_github_app_key):
            key = secret.get_secret_value()
        if not key:
            key = _read(id_, self.key_file or found.athanore_github_app_key_file)
        # In a variable the line breaks may be written as \n.
        return AppKey(id_, key.replace("\\n", "\n").strip(), number)


def app_of_the_environment() -> GitHubApp | None:
    """The app that is set; None if there is none."""
    return GitHubApp() if _Variables().athanore_github_app_id else None


def _read(id_: str, file: str | Path | None) -> str:
    if file is None:
        raise ConfigurationError(
            f"The GitHub App {id_} needs its private key: generate one in the app's settings, and "
            "set ATHANORE_GITHUB_APP_KEY to the text of the .pem file, or "
            "ATHANORE_GITHUB_APP_KEY_FILE to its path."
        )
    try:
        return Path(file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(
            f"The private key of the GitHub App {id_} cannot be read from {str(file)!r}: {exc}."
        ) from exc


class AppKey:
    """An app that can sign.

    Raises:
        ConfigurationError: it cannot: the key is none, or a package is missing.
    """

    def __init__(self, app_id: str, key: str, installation: int | None) -> None:
        self.id = app_id
        self.installation = installation
        self._key = key
        self.note(datetime.now().astimezone())

    @property
    def secrets(self) -> frozenset[str]:
        """The key, and each line of it, because what programs write is looked at by lines."""
        return frozenset({self._key, *_KEY_LINE.findall(self._key)})

    def note(self, now: datetime) -> str:
        """A note (JWT) that says who we are, signed with the key."""
        try:
            import jwt
        except ModuleNotFoundError as exc:
            raise ConfigurationError(
                "A GitHub App signs with a package that is missing. Beside your clone of Athanore: "
                'pip install "./athanore[github-app]"'
            ) from exc
        claims = {"iat": now - _BACKDATED, "exp": now + _NOTE_LASTS, "iss": self.id}
        try:
            return jwt.encode(claims, self._key, algorithm="RS256")
        except (jwt.PyJWTError, ValueError, TypeError) as exc:
            raise ConfigurationError(
                f"The private key of the GitHub App {self.id} cannot be used: {exc}. It is the "
                "text of the .pem file that GitHub gives, from BEGIN to END, with its line breaks."
            ) from exc


class _Auth(httpx.Auth):
    """Puts the installation's token on requests; one that is refused is renewed, once."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    @override
    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        token = self._installation.token()
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == 401:  # nothing was done, so that a write may be sent again
            token = self._installation.token(refused=token)
            request.headers["Authorization"] = f"Bearer {token}"
            yield request


class Installation:
    """The tokens of an app where it is installed; thread-safe.

    Args:
        places: what has the installation, for a look who it is: paths such as
            `repos/octo-org/website/installation`.
        what: the board, for messages.
        now: seconds of a clock that never goes back.
        wall: the time of day here.
    """

    is_app = True

    def __init__(
        self,
        api: str,
        app: AppKey,
        places: Sequence[str],
        what: str,
        patience: Patience,
        *,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        self.auth: httpx.Auth = _Auth(self)
        self._http = HttpClient(
            "GitHub",
            f"{api}/",
            HEADERS,
            timeout=patience.timeout,
            retry_delays=patience.retry_delays,
            limited=limit_in,
        )
        self._app = app
        self._places = places
        self._what = what
        self._now = now
        self._wall = wall
        self._ahead = timedelta(0)
        self._lock = threading.Lock()
        self._id = app.installation
        self._token = ""
        self._permissions: dict[str, str] = {}
        self._ends = self._due = float("-inf")

    @property
    def account(self) -> str:
        """The installation, which has limits of its own, whichever token it works with."""
        return f"{self._app.id} {self._app.installation or ' '.join(self._places)}"

    @property
    def secrets(self) -> frozenset[str]:
        """The app's key, and the token of the hour."""
        return self._app.secrets | ({self._token} if self._token else frozenset[str]())

    @property
    def secret_env(self) -> frozenset[str]:
        """The variables with the app's key."""
        return frozenset(VARIABLES)

    def token(self, *, refused: str = "") -> str:
        """A token that is valid now.

        Args:
            refused: one that GitHub has just refused, though it should be valid.

        Raises:
            BoardAccessError: GitHub does not give one.
            BoardUnavailableError: GitHub does not answer, and there is none.
        """
        with self._lock:
            is_refused = bool(refused) and self._token == refused
            if self._now() >= self._due or is_refused:
                try:
                    self._renew()
                except BoardUnavailableError:
                    if is_refused or self._now() >= self._ends:
                        raise
            return self._token

    def check(self, wanted: Mapping[str, str]) -> None:
        """Make sure that the installation has permissions.

        Raises:
            BoardAccessError: it lacks some; the message names them.
        """
        self.token()
        missing = [
            f"{name.replace('_', ' ').capitalize()}: "
            f"{'read and write' if level == 'write' else level}"
            for name, level in wanted.items()
            if _LEVELS.index(self._permissions.get(name, "none")) < _LEVELS.index(level)
        ]
        if missing:
            raise BoardAccessError(
                f"The GitHub App {self._app.id} lacks the permission {', '.join(missing)} for "
                f"{self._what}; add it in the app's settings (Permissions & events), and have an "
                "owner accept it in the settings of the installation."
            )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _renew(self) -> None:
        if self._id is None:
            self._id = self._found()
        response = self._sent("POST", f"app/installations/{self._id}/access_tokens")
        if response.status_code == 404:
            raise BoardAccessError(
                f"The GitHub App {self._app.id} has no installation {self._id}; install it where "
                f"{self._what} is, and name no other installation."
            )
        row = self._accepted(response)
        asked = self._now()
        self._token = str(row["token"])
        self._permissions = {str(k): str(v) for k, v in dict(row.get("permissions") or {}).items()}
        lasts = datetime.fromisoformat(str(row["expires_at"])) - sent_at(response)
        self._ends = asked + lasts.total_seconds()
        self._due = self._ends - min(_RENEWED_BEFORE, lasts / 10).total_seconds()

    def _found(self) -> int:
        """The installation that has the board's repository."""
        for place in self._places:
            response = self._sent("GET", place)
            if response.status_code != 404:
                return int(self._accepted(response)["id"])
        raise BoardAccessError(
            f"The GitHub App {self._app.id} is not installed on {self._what}; install it there "
            "(Install App in the app's settings), for this repository."
        )

    def _sent(self, method: str, path: str) -> httpx.Response:
        """Send a request as the app; a clock that is wrong here is corrected by GitHub's."""
        response = self._signed(method, path)
        if response.status_code == 401:
            ahead = sent_at(response) - self._wall()
            if abs((ahead - self._ahead).total_seconds()) > _SKEWED:
                self._ahead = ahead
                response = self._signed(method, path)
        return response

    def _signed(self, method: str, path: str) -> httpx.Response:
        note = self._app.note(self._wall() + self._ahead)
        # A token that is made twice does no harm.
        headers = {"Authorization": f"Bearer {note}"}
        return self._http.send(method, path, headers=headers, reads=True)

    def _accepted(self, response: httpx.Response) -> Json:
        if response.is_success:
            return details(response)
        words = said(response)
        if response.status_code == 401:
            raise BoardAccessError(
                f"GitHub does not take the note that the GitHub App {self._app.id} has signed "
                f"({words}); check the id, and that the private key is one of this app's."
            )
        raise BoardAccessError(
            f"GitHub gives the GitHub App {self._app.id} no token for {self._what} ({words}); look "
            "at the installation in the settings of the account."
        )


def places_of(repositories: Sequence[str], owner: str = "") -> list[str]:
    """Where GitHub says which installation has a repository, or an owner's projects."""
    owners = [f"{kind}/{quote(owner)}/installation" for kind in ("orgs", "users") if owner]
    return [*(f"repos/{name}/installation" for name in repositories[:1]), *owners]
