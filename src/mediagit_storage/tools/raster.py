"""A small drawing with boxes and plain text, as a PNG: for charts, without a library.

The format is PNG (ISO/IEC 15948) with one palette index for each pixel.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Final, NamedTuple

__all__ = ["Canvas", "Colour"]

#: A glyph is seven rows of five dots, each row a digit of base 32 (0 to 9, a to v); from the space to the tilde.
_FONT: Final = (
    "00000004444404aaa0000aavavaa4fke5u4op248j3cik8lid44800002488842842224804lel40044v4400000c48"
    "000v00000000cc01248g0ehjlphe4c4444eeh1248vv2421he26aiv22vgu11he68guhhev124888ehhehheehhf12c"
    "0cc0cc00cc0c48248g84200v0v008421248eh12404eh1dlleehhvhhhuhhuhhuehggghesihhhisvgguggvvgguggg"
    "ehgnhhfhhhvhhhe44444e72222ichikokihggggggvhrllhhhhhpljhhehhhhheuhhugggehhhliduhhukihfgge11u"
    "v444444hhhhhhehhhhha4hhhlllahha4ahhhhha444v1248gve88888e0g84210e22222e4ah0000000000v8420000"
    "00e1fhfggmphhu00egghe11djhhf00ehvge698s8880fhhf1eggmphhh40c444e20622icggikokic44444e00qllhh"
    "00mphhh00ehhhe00uhugg00djf1100mpggg00ege1u88s889600hhhjd00hhha400hhlla00ha4ah00hhf1e00v248v"
    "244844244444448442448008l200"
)
_HEIGHT: Final = 7
_DOTS: Final = 5


class Colour(NamedTuple):
    """Red, green and blue, from 0 to 255."""

    red: int
    green: int
    blue: int


class Canvas:
    """So many pixels of the first of ``colours``; a colour is named by its place among them."""

    def __init__(self, width: int, height: int, colours: Sequence[Colour]) -> None:
        self.width = width
        self.height = height
        self._colours = colours
        self._rows = [bytearray(width) for _ in range(height)]

    def box(self, left: int, top: int, width: int, height: int, colour: int) -> None:
        """Fill a box; what lies outside of the canvas is left out."""
        start, end = max(left, 0), min(left + width, self.width)
        for row in self._rows[max(top, 0) : max(top + height, 0)]:
            row[start:end] = bytes([colour]) * max(0, end - start)

    def text(self, left: int, top: int, words: str, colour: int, *, scale: int = 2) -> None:
        """Write a line; what is no plain ASCII becomes a question mark."""
        for place, character in enumerate(words):
            for row, bits in enumerate(_glyph(character)):
                for dot in range(_DOTS):
                    if bits >> (_DOTS - 1 - dot) & 1:
                        x = left + (place * (_DOTS + 1) + dot) * scale
                        self.box(x, top + row * scale, scale, scale, colour)

    @staticmethod
    def text_width(words: str, scale: int = 2) -> int:
        """The pixels that a line is wide."""
        return len(words) * (_DOTS + 1) * scale

    def png(self) -> bytes:
        """The drawing as a file."""
        head = struct.pack(">IIBBBBB", self.width, self.height, 8, 3, 0, 0, 0)
        palette = bytes(value for colour in self._colours for value in colour)
        pixels = b"".join(b"\0" + row for row in self._rows)
        chunks = ((b"IHDR", head), (b"PLTE", palette), (b"IDAT", zlib.compress(pixels, 9)), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _glyph(character: str) -> list[int]:
    shown = character if " " <= character <= "~" else "?"
    start = (ord(shown) - ord(" ")) * _HEIGHT
    return [int(row, 32) for row in _FONT[start : start + _HEIGHT]]
