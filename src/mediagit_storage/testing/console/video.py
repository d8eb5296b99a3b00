"""A video that needs no encoder: Chromium's own pictures, put together as WebM with an index (RFC 9559).

A lossy WebP holds one key frame of VP8, and WebM holds such frames as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

__all__ = ["webm"]


def _element(name: int, data: bytes) -> bytes:
    """One element of EBML, its length in eight bytes."""
    return name.to_bytes((name.bit_length() + 7) // 8, "big") + (len(data) | 1 << 56).to_bytes(8, "big") + data


def _number(name: int, value: int) -> bytes:
    """An element that holds a number, in eight bytes."""
    return _element(name, value.to_bytes(8, "big"))


def _frame_of(webp: bytes) -> bytes:
    """The key frame of VP8 in a lossy WebP."""
    assert webp[:4] == b"RIFF"
    assert webp[8:12] == b"WEBP"
    place = 12
    while webp[place : place + 4] != b"VP8 ":
        place += 8 + struct.unpack("<I", webp[place + 4 : place + 8])[0]
        place += place % 2
    return webp[place + 8 : place + 8 + struct.unpack("<I", webp[place + 4 : place + 8])[0]]


def webm(webps: Sequence[bytes], width: int, height: int, *, padding: int) -> bytes:
    """One picture a second. ``padding`` bytes that players skip follow each, so that a browser cannot hold all of it."""
    head = _element(
        0x1A45DFA3,
        _number(0x4286, 1) + _number(0x42F7, 1) + _number(0x42F2, 4) + _number(0x42F3, 8)
        + _element(0x4282, b"webm") + _number(0x4287, 4) + _number(0x4285, 2),
    )  # fmt: skip
    names = _element(0x4D80, b"test") + _element(0x5741, b"test")
    info = _element(
        0x1549A966, _number(0x2AD7B1, 1_000_000) + _element(0x4489, struct.pack(">d", len(webps) * 1000)) + names
    )
    size = _element(0xE0, _number(0xB0, width) + _number(0xBA, height))
    track = _number(0xD7, 1) + _number(0x73C5, 1) + _number(0x83, 1) + _element(0x86, b"V_VP8") + size
    tracks = _element(0x1654AE6B, _element(0xAE, track))
    clusters = [
        _element(
            0x1F43B675,
            _number(0xE7, second * 1000)
            + _element(0xA3, b"\x81\0\0\x80" + _frame_of(webp))
            + _element(0xEC, bytes(padding)),
        )
        for second, webp in enumerate(webps)
    ]

    def cues(start: int) -> bytes:
        points, place = b"", start
        for second, cluster in enumerate(clusters):
            position = _element(0xB7, _number(0xF7, 1) + _number(0xF1, place))
            points += _element(0xBB, _number(0xB3, second * 1000) + position)
            place += len(cluster)
        return _element(0x1C53BB6B, points)

    before = len(info) + len(tracks) + len(cues(0))
    return head + _element(0x18538067, info + tracks + cues(before) + b"".join(clusters))
