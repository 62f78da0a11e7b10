"""A small HTTP/1.1 client that costs little beside what it measures."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench.table import percentile


@dataclass(frozen=True, slots=True)
class Load:
    """What a server made of a number of requests."""

    per_second: float
    p99: float


async def load(url: str, count: int, connections: int, body: bytes | None = None) -> Load:
    """Send so many requests over so many connections, kept alive; every answer must be a 2xx.

    Args:
        body: JSON to POST; None sends GET.
    """
    parts = urlsplit(url)
    method = "GET" if body is None else "POST"
    head = f"{method} {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    request = head.encode() + b"\r\n" + (body or b"")
    times: list[float] = []
    left = count

    async def connection() -> None:
        nonlocal left
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            while left > 0:
                left -= 1
                began = time.perf_counter()
                writer.write(request)
                answer = await _read(reader)
                times.append(time.perf_counter() - began)
                if not answer.startswith(b"HTTP/1.1 2"):
                    raise AssertionError(f"{method} {url}: {answer[:300]!r}")
        finally:
            writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(connection() for _ in range(connections)))
    took = time.perf_counter() - began
    return Load(len(times) / took, percentile(times, 0.99))


async def _read(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.partition(b":")[2]))
    raise AssertionError(f"an answer without a length: {head!r}")
