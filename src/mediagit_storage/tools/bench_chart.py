"""What a benchmark measured, drawn: as lines of text for a terminal, and as a PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from mediagit_storage.text import human_bytes
from mediagit_storage.tools.bench import Measured, Way
from mediagit_storage.tools.latencies import histogram, latencies
from mediagit_storage.tools.raster import Canvas, Colour

__all__ = ["draw_png", "seconds_text", "text_chart"]

_WIDTH: Final = 900
_LEFT: Final = 190
_RIGHT: Final = 170
_BAR: Final = 18
_LINE: Final = 28
#: The operations whose histograms are worth their lines.
_SPREAD: Final = ("put", "get")
#: What the colours of `_PALETTE` are for, by their places.
_PAPER, _INK, _FAINT, _ONE, _MANY, _TAIL, _WORST = range(7)
_PALETTE: Final = (
    Colour(255, 255, 255),
    Colour(52, 58, 64),
    Colour(222, 226, 230),
    Colour(11, 114, 133),
    Colour(224, 130, 20),
    Colour(102, 178, 194),
    Colour(190, 222, 230),
)


def seconds_text(seconds: float) -> str:
    """A short time with two or three digits and its unit.

    >>> seconds_text(0.00123), seconds_text(0.25), seconds_text(12.3)
    ('1.2 ms', '250 ms', '12 s')
    """
    for unit, factor in (("us", 1e6), ("ms", 1e3)):
        value = seconds * factor
        if value < 999.5:
            return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"


# ---- text


def text_chart(measured: Sequence[Measured], width: int, *, block: str = "\u2588") -> Sequence[str]:
    """Lines of at most about ``width`` columns: how the latencies are spread, and how quickly the large object travelled."""
    lines: list[str] = []
    room = max(10, width - 38)
    for each in measured:
        if each.operation not in _SPREAD or len(each.samples) < 2:
            continue
        buckets = histogram(each.samples)
        lines += ["", f"{each.operation}, one at a time:"]
        most = max(bucket.count for bucket in buckets)
        for bucket in buckets:
            span = f"{seconds_text(bucket.low)} - {seconds_text(bucket.high)}"
            lines.append(f"{span:>20}  {block * round(bucket.count / most * room)} {bucket.count:,}")
    large = [each for each in measured if each.way is Way.LARGE]
    if large:
        lines += ["", f"the large object ({human_bytes(large[0].size)}):"]
        most_bytes = max(each.bytes_per_second for each in large)
        for each in large:
            bar = block * max(1, round(each.bytes_per_second / most_bytes * room))
            lines.append(f"{each.operation:>20}  {bar} {human_bytes(round(each.bytes_per_second))}/s")
    return lines


# ---- a picture


def draw_png(measured: Sequence[Measured], title: str) -> bytes:
    """Three parts: operations a second, latencies on a logarithmic axis, and the speed of the large object."""
    order = list(dict.fromkeys(each.operation for each in measured))
    small = [each for each in measured if each.way is not Way.LARGE]
    small.sort(key=lambda each: order.index(each.operation))
    timed = [each for each in measured if each.samples]
    large = [each for each in measured if each.way is Way.LARGE]
    height = 70 + sum(62 + _LINE * len(rows) for rows in (small, timed, large) if rows) + (30 if timed else 0)
    canvas = Canvas(_WIDTH, height, _PALETTE)
    canvas.text(24, 22, title[: (_WIDTH - 48) // 12], _INK)
    top = 66
    if small:
        top = _draw_rates(canvas, top, small)
    if timed:
        top = _draw_latencies(canvas, top, timed)
    if large:
        _draw_speeds(canvas, top, large)
    return canvas.png()


def _heading(canvas: Canvas, top: int, words: str, keys: Sequence[tuple[str, int]] = ()) -> int:
    canvas.box(24, top, _WIDTH - 48, 2, _FAINT)
    canvas.text(24, top + 14, words, _INK)
    right = _WIDTH - 24
    for name, colour in reversed(keys):
        right -= Canvas.text_width(name)
        canvas.text(right, top + 14, name, _INK)
        right -= 20
        canvas.box(right, top + 14, 14, 14, colour)
        right -= 14
    return top + 44


def _label(canvas: Canvas, top: int, words: str) -> None:
    canvas.text(_LEFT - 12 - Canvas.text_width(words), top + 2, words, _INK)


def _draw_rates(canvas: Canvas, top: int, rows: Sequence[Measured]) -> int:
    top = _heading(canvas, top, "operations a second", [("alone", _ONE), ("together", _MANY)])
    most = max(each.per_second for each in rows)
    for each in rows:
        _label(canvas, top, each.operation)
        length = max(1, round(each.per_second / most * (_WIDTH - _LEFT - _RIGHT)))
        canvas.box(_LEFT, top, length, _BAR, _ONE if each.way is Way.ALONE else _MANY)
        canvas.text(_LEFT + length + 8, top + 2, f"{each.per_second:,.0f}", _INK)
        top += _LINE
    return top + 18


def _draw_latencies(canvas: Canvas, top: int, rows: Sequence[Measured]) -> int:
    keys = [("p50", _ONE), ("p90", _TAIL), ("p99", _WORST), ("max", _MANY)]
    top = _heading(canvas, top, "latency, one at a time", keys)
    found = [(each, spread) for each in rows if (spread := latencies(each.samples)) is not None]
    low = math.floor(math.log10(max(min(spread.p50 for _, spread in found) / 1.5, 1e-9)))
    high = max(math.ceil(math.log10(max(spread.max for _, spread in found) or 1e-9)), low + 1)
    room = _WIDTH - _LEFT - _RIGHT

    def at(seconds: float) -> int:
        return _LEFT + round((math.log10(max(seconds, 10.0**low)) - low) / (high - low) * room)

    for power in range(low, high + 1):
        canvas.box(at(10.0**power), top - 6, 1, _LINE * len(found), _FAINT)
        canvas.text(at(10.0**power) - 24, top + _LINE * len(found), seconds_text(10.0**power), _INK)
    for each, spread in found:
        _label(canvas, top, each.operation)
        for seconds, colour in ((spread.p99, _WORST), (spread.p90, _TAIL), (spread.p50, _ONE)):
            canvas.box(_LEFT, top, max(1, at(seconds) - _LEFT), _BAR, colour)
        canvas.box(at(spread.max) - 2, top, 4, _BAR, _MANY)
        canvas.text(_WIDTH - _RIGHT + 36, top + 2, f"{seconds_text(spread.p50)}", _INK)
        top += _LINE
    return top + 48


def _draw_speeds(canvas: Canvas, top: int, rows: Sequence[Measured]) -> None:
    top = _heading(canvas, top, f"one object of {human_bytes(rows[0].size)}")
    most = max(each.bytes_per_second for each in rows)
    for each in rows:
        _label(canvas, top, each.operation)
        length = max(1, round(each.bytes_per_second / most * (_WIDTH - _LEFT - _RIGHT)))
        canvas.box(_LEFT, top, length, _BAR, _ONE)
        canvas.text(_LEFT + length + 8, top + 2, f"{human_bytes(round(each.bytes_per_second))}/s", _INK)
        top += _LINE
