"""Draws a suite as bars: how many times as fast as the one compared with, one group for each case. SVG, no library."""

from __future__ import annotations

import re
from html import escape

WIDTH, LABELS, BAR, GAP = 860, 330, 16, 30
OURS, THEIRS, TEXT, LINE = "#0b7285", "#adb5bd", "#495057", "#868e96"
#: Bars beyond this many times are cut, and say so by their number.
LONGEST = 4.0


def draw(tables: list[str]) -> str:
    """The drawing of these tables of the README, as text."""
    parts: list[str] = []
    top = 10
    for title, base, speeds in map(read, filter(has_speeds, tables)):
        parts.append(text(10, top + 14, f"{title} (speed; {base} = 1)", weight="bold"))
        top += 22
        first = top
        for name, times in speeds:
            parts += bar(top, name, times)
            top += BAR + 4
        one = LABELS + scale(1)
        parts.append(
            f'<line x1="{one:.0f}" y1="{first - 2}" x2="{one:.0f}" y2="{top - 2}" stroke="{LINE}" stroke-dasharray="3 3"/>'
        )
        top += GAP - 4
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" font-family="sans-serif" font-size="13">'
    )
    return "\n".join([head, f'<rect width="{WIDTH}" height="{top}" fill="white"/>', *parts, "</svg>\n"])


def has_speeds(table: str) -> bool:
    """Whether a table compares speeds of several: others are not drawn."""
    return "| speed, " in table and table.strip().count("\n| ") > 2


def read(table: str) -> tuple[str, str, list[tuple[str, float]]]:
    """The title of a table, whom its speeds compare with, and the speed of each contestant."""
    title, header, _, *rows = [line for line in table.strip().splitlines() if line]
    base = re.search(r"\| speed, (.*?) = 1 \|", header)
    assert base is not None, header
    column = [each.strip() for each in header.split("|")].index(f"speed, {base[1]} = 1")
    cells = [[each.strip() for each in row.split("|")] for row in rows]
    return title.removeprefix("### "), base[1], [(row[1], float(row[column])) for row in cells if row[column] != "-"]


def scale(times: float) -> float:
    return min(times, LONGEST) / LONGEST * (WIDTH - LABELS - 70)


def bar(top: int, name: str, times: float) -> list[str]:
    own = name.startswith(("mediagit", "mgs"))
    length = max(1.0, scale(times))
    return [
        text(LABELS - 8, top + 13, name, anchor="end", weight="bold" if own else "normal"),
        f'<rect x="{LABELS}" y="{top}" width="{length:.0f}" height="{BAR}" fill="{OURS if own else THEIRS}"/>',
        text(LABELS + int(length) + 6, top + 13, f"{times:.2f}"),
    ]


def text(x: int, y: int, words: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x}" y="{y}" fill="{TEXT}" text-anchor="{anchor}" font-weight="{weight}">{escape(words)}</text>'
