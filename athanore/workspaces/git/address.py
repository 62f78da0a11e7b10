"""Where a repository is: a path or a URL, with the login in it apart."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from athanore.errors import ConfigurationError
from athanore.workspaces.places import slug

_URL = re.compile(r"(https?|ssh|git)://[^/]|file:///", re.IGNORECASE)
_SCHEME = re.compile(r"^[\w+.-]+::?//|^[\w+.-]+::")
_SCP = re.compile(r"^(?:[\w.-]+@)?[\w.-]+:(?!//)")


@dataclass(frozen=True, slots=True)
class Login:
    """A name and a password for a server.

    Attributes:
        server: as `https://git.example.com:8443`; others are not told them.
    """

    server: str
    name: str
    password: str

    @classmethod
    def at(cls, url: str, login: str) -> Login:
        """The login, as `name:password` or as a name alone, for the server of a URL."""
        parts = urlsplit(url)
        name, _, password = login.partition(":")
        # Git sends no login without a name; whoever takes a password alone looks at no name.
        return cls(f"{parts.scheme.lower()}://{parts.netloc}", name or "git", password)


class Address:
    """Where a repository is.

    Args:
        given: a path, a URL (`https`, `http`, `ssh`, `git`, `file`), or `host:path` for ssh.
        option: what it was given as, for messages.
        login: `user:password` for a URL with `https`, where the URL has none.

    Raises:
        ConfigurationError: it is none of these.
    """

    def __init__(self, given: str | Path, login: str = "", option: str = "repo") -> None:
        text = str(given)
        wrong = f"{option}={text!r} must be a path or a URL with https, ssh, git or file."
        if not text.strip() or text.startswith("-") or not text.isprintable():
            raise ConfigurationError(wrong)
        self._login = login
        self.is_path = isinstance(given, Path) or text.startswith((".", "/", "~"))
        if self.is_path:
            self.text = str(Path(text).expanduser().resolve())
        elif _URL.match(text):
            self.text = self._without_login(text)
        elif _SCHEME.match(text):
            raise ConfigurationError(wrong)
        elif _SCP.match(text):
            self.text = text
        else:
            self.is_path = True
            self.text = str(Path(text).resolve())
        if not self._login.isprintable():  # a line break would be another line to git
            raise ConfigurationError(f"The login for {option}={self.text!r} is none: mend it.")

    def _without_login(self, text: str) -> str:
        parts = urlsplit(text)
        login, at, host = parts.netloc.rpartition("@")
        if not at or not parts.scheme.lower().startswith("http"):
            return text
        self._login = unquote(login)
        return parts._replace(netloc=host).geturl()

    @property
    def name(self) -> str:
        """What the repository is called, as the name of a folder."""
        last = re.split(r"[/:\\]", self.text.rstrip("/"))[-1]
        return slug(last.removesuffix(".git")) or "repository"

    @property
    def has_login(self) -> bool:
        """True if there is a login for it."""
        return bool(self._login)

    def is_repository_of(self, other: Address) -> bool:
        """Tell whether both are one repository of one server."""
        mine, others = (a.text.rstrip("/").removesuffix(".git").lower() for a in (self, other))
        return mine == others

    @property
    def folder(self) -> str:
        """The name of a folder for this repository alone."""
        return f"{self.name}-{hashlib.sha256(self.text.encode()).hexdigest()[:8]}"

    @property
    def login(self) -> Login | None:
        """By which git logs in there, if it has to; for the mirror only."""
        if not self._login or not self.text.lower().startswith("http"):
            return None
        return Login.at(self.text, self._login)

    def served(self, command: str) -> tuple[str, ...]:
        """What a call of git has to be told, for a repository on this host to be served.

        The app has named it, so it may belong to another user, as one that is mounted into a
        container does. Git takes that from no setting of the caller.

        Args:
            command: `fetch`, `ls-remote` or `push`.
        """
        if not self.is_path and not self.text.lower().startswith("file:"):
            return ()
        program = "receive-pack" if command == "push" else "upload-pack"
        return (f"--{program}=git -c 'safe.directory=*' {program}",)
