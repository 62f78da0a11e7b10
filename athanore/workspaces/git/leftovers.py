"""Which files of uncommitted work are not kept: those that look like secrets, and large ones."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

LARGEST = 10 * 1024 * 1024
"""Bytes of the largest file that is kept."""

_SHOWN = 10

_SECRET_NAME = re.compile(
    r"""
    \.env(\..+)? | .+\.env | \.netrc | _netrc | \.pypirc | \.npmrc | \.git-credentials | \.htpasswd
    | id_(rsa|dsa|ecdsa|ed25519)(_sk)? | .+\.(pem|key|p12|pfx|jks|keystore|kdbx|ppk)
    | (client_)?secrets?(\..+)? | credentials?(\..+)? | service[-_]account.*\.json
    """,
    re.VERBOSE | re.IGNORECASE,
)
_EXAMPLE = re.compile(r".*\.(example|sample|template|dist|py|md|rst)", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}"
    rb"|\bgithub_pat_\w{22}|\bglpat-[\w-]{20}|\bsk-ant-[\w-]{20}|\bxox[abprs]-[\w-]{10}"
)


def why_left_out(folder: Path, name: str) -> str:
    """Say why a file of a folder is not kept, in a few words; "" if it is.

    Args:
        name: its path within the folder.
    """
    path = folder / name
    try:
        seen = os.lstat(path)
    except OSError:
        return ""  # removed, which is kept
    if stat.S_ISLNK(seen.st_mode):
        return ""
    if stat.S_ISDIR(seen.st_mode):
        return "a repository of its own"
    if not stat.S_ISREG(seen.st_mode):
        return "not a file"
    if _SECRET_NAME.fullmatch(path.name) and not _EXAMPLE.fullmatch(path.name):
        return "looks like a secret"
    if seen.st_size > LARGEST:
        return "larger than 10 MB"
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST)
    except OSError:
        return "cannot be read"
    return "looks like a secret" if _SECRET_TEXT.search(text) else ""


def in_short(files: Sequence[str]) -> str:
    """Files in a sentence: the first ten by name, and how many more there are."""
    more = len(files) - _SHOWN
    return ", ".join(files[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
