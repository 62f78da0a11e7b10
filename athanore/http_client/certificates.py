"""Telling a server whose certificate is refused from one that does not answer."""

from __future__ import annotations

import ssl


def refused_certificate(error: BaseException) -> str | None:
    """Why a server's certificate was refused, if that is what an error comes from."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        cause = cause.__cause__ or cause.__context__
    return None
