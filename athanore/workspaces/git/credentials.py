"""How git is given a login: by a socket that it inherits, and only once.

A variable of a process can be read by every program of the same user, as its files can, and its
arguments by everybody; the socket of another process cannot be opened.
"""

from __future__ import annotations

import shlex
import socket
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

_HELPER = (
    "import os, sys\n"
    "while sys.argv[2] == 'get' and (part := os.read(int(sys.argv[1]), 65536)):\n"
    "    os.write(1, part)"
)
"""What git calls when a server asks who it is: with the number of the socket, and `get`."""


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
        return cls(f"{parts.scheme.lower()}://{parts.netloc}", name, password)


@contextmanager
def handed_over(login: Login | None) -> Generator[tuple[Mapping[str, str], tuple[int, ...]]]:
    """Have a login ready for one call of git.

    Returns:
        The settings of the call, and the descriptors that its process inherits.
    """
    if login is None:
        yield {}, ()
        return
    ours, gits = socket.socketpair()
    with gits:
        with ours:
            ours.sendall(f"username={login.name}\npassword={login.password}\n".encode())
        number = gits.fileno()
        helper = shlex.join([sys.executable, "-I", "-S", "-c", _HELPER, str(number)])
        settings = {
            f"credential.{login.server}.helper": f"!{helper}",
            "http.proactiveAuth": "basic",  # from git 2.46 on; else it waits until it is asked
        }
        yield settings, (number,)
