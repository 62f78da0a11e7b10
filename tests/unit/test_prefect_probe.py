"""Our own questions to a Prefect server: asked with its client's settings, and answered truly."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_KEY,
    PREFECT_API_SSL_CERT_FILE,
    PREFECT_API_TLS_INSECURE_SKIP_VERIFY,
    PREFECT_CLIENT_CUSTOM_HEADERS,
    temporary_settings,
)

from athanore.errors import ConfigurationError
from athanore.launch.prefect.prefect_access import is_open
from athanore.launch.prefect.prefect_probe import tell, trouble_at
from tests.certificates import own_certificate

pytestmark = pytest.mark.smoke


@asynccontextmanager
async def _server(
    wants: str = "", refusal: str = "403 Forbidden", context: ssl.SSLContext | None = None
) -> AsyncGenerator[str]:
    """Prefect's version at /api/admin/version, for those whose request has what is wanted."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        status, body = "404 Not Found", '{"detail": "Not Found"}'
        if wants.lower() not in head.lower():
            status, body = refusal, "Show who you are."
        elif head.startswith("GET /api/admin/version "):
            status, body = "200 OK", '"3.9.1"'
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
            f"Location: https://me:hidden@other.example/api/admin/version\r\n\r\n{body}".encode()
        )
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http{'' if context is None else 's'}://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("settings", "wants"),
    [
        ({PREFECT_CLIENT_CUSTOM_HEADERS: {"X-Access": "1"}}, "X-Access: 1"),
        ({PREFECT_API_AUTH_STRING: "a:b"}, "Authorization: Basic YTpi"),
        ({PREFECT_API_KEY: "key"}, "Authorization: Bearer key"),
    ],
)
async def test_a_server_that_wants_a_header_gets_it(settings: dict[Any, Any], wants: str) -> None:
    async with _server(wants) as url:
        trouble = await trouble_at(f"{url}/api")
        assert trouble is not None
        assert "refuses (403): Show who you are." in trouble.says
        with temporary_settings(settings):
            assert await trouble_at(f"{url}/api") is None
            assert await tell(f"{url}/api", "/admin/version", 5) == "3.9.1"


async def test_a_certificate_of_ones_own(tmp_path: Path) -> None:
    certificate, context = own_certificate(tmp_path)
    async with _server(context=context) as url:
        url = f"{url}/api"
        trouble = await trouble_at(url)
        assert trouble is not None
        assert trouble.answers
        assert trouble.says.startswith(f"The certificate of the server at {url} is refused: ")
        assert "PREFECT_API_SSL_CERT_FILE" in trouble.mend
        trusting: list[dict[Any, Any]] = [
            {PREFECT_API_SSL_CERT_FILE: str(certificate)},
            {PREFECT_API_TLS_INSECURE_SKIP_VERIFY: True},
        ]
        for settings in trusting:
            with temporary_settings(settings):
                assert await trouble_at(url) is None
                assert await tell(url, "/admin/version", 5) == "3.9.1"
                assert await is_open(url)
        missing = tmp_path / "nothing.pem"
        with (
            temporary_settings({PREFECT_API_SSL_CERT_FILE: str(missing)}),
            pytest.raises(ConfigurationError, match=r"PREFECT_API_SSL_CERT_FILE.*nothing\.pem"),
        ):
            await trouble_at(url)


@pytest.mark.parametrize(
    ("path", "wants", "refusal", "says", "mend"),
    [
        ("", "", "", "is not Prefect's API (status 404)", "/api: http://127.0.0.1:"),
        ("/other/api", "", "", "is not Prefect's API (status 404)", "Mend PREFECT_API_URL"),
        ("/api", "nothing", "401 No", "refuses (401)", "PREFECT_API_AUTH_STRING"),
        ("/api", "nothing", "200 OK", "is not Prefect's API (status 200)", "PREFECT_API_URL"),
        ("/api", "nothing", "503 No", "cannot answer now (503)", "log"),
        ("/api", "nothing", "301 No", "leads on to https://other.example/api.", "Name that"),
    ],
)
async def test_what_answers_and_is_no_prefect(
    path: str, wants: str, refusal: str, says: str, mend: str
) -> None:
    async with _server(wants, refusal) as url:
        trouble = await trouble_at(url.replace("//", "//me:hidden@") + path)
    assert trouble is not None
    assert trouble.answers
    assert says in trouble.says
    assert mend in trouble.mend
    assert "hidden" not in trouble.says + trouble.mend


async def test_nobody_answers() -> None:
    trouble = await trouble_at("http://me:hidden@127.0.0.1:1/api")
    assert trouble is not None
    assert not trouble.answers
    assert trouble.says == "No Prefect server answers at http://127.0.0.1:1/api."
