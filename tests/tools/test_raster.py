"""A drawing, read back as the format says."""

from __future__ import annotations

import struct
import zlib

from mediagit_storage.tools.raster import Canvas, Colour

COLOURS = (Colour(255, 255, 255), Colour(1, 2, 3))


def chunks(data: bytes) -> dict[bytes, bytes]:
    """The chunks of a PNG by their kind; every sum is checked."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found, position = {}, 8
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        assert struct.unpack_from(">I", data, position + 8 + length) == (zlib.crc32(kind + body),)
        found[kind] = body
        position += 12 + length
    return found


def pixels(canvas: Canvas) -> list[str]:
    parts = chunks(canvas.png())
    width, height, depth, kind, *_ = struct.unpack(">IIBBBBB", parts[b"IHDR"])
    assert (depth, kind, list(parts)[-1]) == (8, 3, b"IEND")
    assert parts[b"PLTE"] == bytes([255, 255, 255, 1, 2, 3])
    raw = zlib.decompress(parts[b"IDAT"])
    rows = [raw[start : start + width + 1] for start in range(0, len(raw), width + 1)]
    assert len(rows) == height
    assert {row[0] for row in rows} == {0}
    return ["".join(".#"[each] for each in row[1:]) for row in rows]


def test_boxes_are_cut_at_the_edges():
    canvas = Canvas(6, 3, COLOURS)
    canvas.box(-2, -2, 4, 3, 1)
    canvas.box(5, 2, 9, 9, 1)
    canvas.box(2, 1, 2, 1, 1)
    assert pixels(canvas) == ["##....", "..##..", ".....#"]


def test_text_is_written():
    canvas = Canvas(11, 7, COLOURS)
    canvas.text(0, 0, "1T", 1, scale=1)
    assert pixels(canvas) == [
        "..#...#####",
        ".##.....#..",
        "..#.....#..",
        "..#.....#..",
        "..#.....#..",
        "..#.....#..",
        ".###....#..",
    ]
    assert Canvas.text_width("1T", 1) == 12


def test_every_character_has_its_own_shape_and_others_become_question_marks():
    def shape(character: str) -> tuple[str, ...]:
        canvas = Canvas(5, 7, COLOURS)
        canvas.text(0, 0, character, 1, scale=1)
        return tuple(pixels(canvas))

    plain = [chr(number) for number in range(32, 127)]
    assert len({shape(each) for each in plain}) == len(plain)
    assert shape("é") == shape("\x7f") == shape("\n") == shape("?")
