"""Things to look at: pictures, a sound, texts, and names that mean harm. All made here, in a few milliseconds."""

from __future__ import annotations

import math
import struct
import zlib
from functools import cache
from typing import Final, TypeAlias

from mediagit_storage.storage import Storage
from mediagit_storage.types import Attributes

__all__ = ["HOSTILE", "fill", "picture", "sound"]

_Colour: TypeAlias = tuple[int, int, int]

#: Every one of these would run, if a page let it.
_SCRIPT: Final = "document.title='owned';window.owned=true"
HOSTILE: Final = {
    "hostile/<img src=x onerror=alert(1)>.svg": f'<svg xmlns="http://www.w3.org/2000/svg" width="90" height="60" onload="{_SCRIPT}">'
    f'<rect width="90" height="60" fill="teal"/><script>{_SCRIPT}</script></svg>',
    "hostile/page.html": f"<!doctype html><title>x</title><script>{_SCRIPT}</script><img src=x onerror={_SCRIPT}>",
    "hostile/notes.md": f"# Notes\n\n<script>{_SCRIPT}</script>\n\n[click](javascript:{_SCRIPT})\n",
    "hostile/run.js": _SCRIPT,
    "hostile/javascript:alert(1)": "not a link",
    "hostile/\u202egpj.exe": "turned around",
    'hostile/"><script>alert(1)</script>.txt': "quoted",
    "hostile/" + "long-" * 203 + "z": "1,024 bytes",
}


@cache
def picture(width: int, height: int, top: _Colour, bottom: _Colour) -> bytes:
    """A PNG of a sky over hills."""
    hills = [
        [
            height * (0.62 + 0.1 * math.sin(layer + 3) + 0.14 * layer)
            + height * 0.06 * math.sin(x / width * (5 + 3 * layer) + 2.2 * layer)
            for x in range(width)
        ]
        for layer in range(3)
    ]
    rows: list[bytes] = []
    for y in range(height):
        shades = [_shade(top, bottom, y / height, depth) for depth in range(4)]
        rows.append(b"\0" + b"".join(shades[(y > a) + (y > b) + (y > c)] for a, b, c in zip(*hills, strict=True)))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"".join(rows)))
        + chunk(b"IEND", b"")
    )


def _shade(top: _Colour, bottom: _Colour, share: float, depth: int) -> bytes:
    """The colour of a pixel: of the sky at this height, or of a hill, darker the nearer it is."""
    mixed = share if depth == 0 else 1
    return bytes(int((a + (b - a) * mixed) * (1 - 0.27 * depth)) for a, b in zip(top, bottom, strict=True))


def sound(seconds: int) -> bytes:
    """A WAV of silence with 8,000 bytes a second."""
    data = bytes([128]) * 8000 * seconds
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8, b"data", len(data)
    )
    return head + data


_SKIES: Final = {
    "dawn": ((72, 61, 139), (255, 170, 120)),
    "dusk": ((25, 25, 80), (235, 94, 85)),
    "noon": ((70, 140, 220), (205, 232, 250)),
    "mist": ((150, 165, 180), (225, 228, 230)),
}


def fill(storage: Storage) -> None:
    """A storage that somebody could have."""

    def put(key: str, data: bytes | str, attributes: Attributes | None = None) -> None:
        storage.put(key, data.encode() if isinstance(data, str) else data, attributes=attributes)

    for name, (top, bottom) in _SKIES.items():
        put(
            f"projects/iceland/stills/{name}.png",
            picture(320, 200, top, bottom),
            Attributes("image/png", metadata={"camera": "A7 IV", "taken": "2026-06-11"}, tags={"project": "iceland"}),
        )
    put("projects/iceland/stills/selects/01.png", picture(120, 80, *_SKIES["dawn"]))
    put("projects/iceland/sound/wind.wav", sound(20), Attributes("audio/wav"))
    put(
        "projects/iceland/README.md",
        "# Iceland\n\nStills and sound, June 2026.\n\n- `stills/` graded, 16 bit\n- `sound/` wind, water\n",
    )
    put(
        "projects/iceland/shots.csv",
        "shot,camera,take,rating\n" + "".join(f"{n:03},A,{n % 4 + 1},{n % 5}\n" for n in range(1, 40)),
    )
    put("projects/iceland/empty.txt", b"")
    put("models/segment/weights.safetensors", bytes(range(256)) * 900)
    put(
        "models/segment/config.json",
        '{\n  "layers": 24,\n  "width": 1024,\n  "patch": 14\n}\n',
        Attributes("application/json"),
    )
    put("backups/2026-11-21.tar.zst", b"\x28\xb5\x2f\xfd" + bytes(40_000))
    put("backups/2026-11-22.tar.zst", b"\x28\xb5\x2f\xfd" + bytes(52_000))
    put("LICENSE", "Everybody may do everything with these samples.\n")
    put("contract.pdf", b"%PDF-1.4 " + bytes(30_000), Attributes("application/pdf"))
    put(
        "logo.svg",
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40"><circle cx="20" cy="20" r="18" fill="#2457dd"/></svg>',
    )
    for index in range(450):
        put(f"many/frame-{index:05}.dpx", b"0123456789" * (index % 7 + 1))
    for key, text in HOSTILE.items():
        put(key, text)
