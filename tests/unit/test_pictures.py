"""The film of the demo is a WebP that programs can read."""

from __future__ import annotations

import struct

from deployments.pictures import animated


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    while data:
        name, length = data[:4], struct.unpack_from("<I", data, 4)[0]
        found.append((name, data[8 : 8 + length]))
        data = data[8 + length + length % 2 :]
    return found


def test_a_film_has_each_picture_with_its_time() -> None:
    # As Chromium writes them: what is not the picture itself stays out.
    still = b"RIFF----WEBP" + b"VP8X" + struct.pack("<I", 10) + bytes(10)
    still += b"VP8 " + struct.pack("<I", 3) + b"abc\0"
    ((riff, body),) = chunks(animated([(still, 300), (still, 4000)], 640, 480))
    assert (riff, body[:4]) == (b"RIFF", b"WEBP")
    head, sign, *frames = chunks(body[4:])
    assert head == (b"VP8X", b"\x02\0\0\0" + b"\x7f\x02\0" + b"\xdf\x01\0")
    assert sign[0] == b"ANIM" and [name for name, _ in frames] == [b"ANMF", b"ANMF"]
    assert [int.from_bytes(frame[12:15], "little") for _, frame in frames] == [300, 4000]
    assert all(chunks(frame[16:]) == [(b"VP8 ", b"abc")] for _, frame in frames)
