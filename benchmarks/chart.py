"""Draws a suite as bars: how many times as fast as the one compared with, one group for each case. SVG, no library."""

from __future__ import annotations

from html import escape

from turns import Case, Figures, ratio

WIDTH, LABELS, BAR, GAP = 860, 330, 16, 30
OURS, THEIRS, TEXT, LINE = "#0b7285", "#adb5bd", "#495057", "#868e96"
#: Bars beyond this many times are cut, and say so by their number.
LONGEST = 4.0


def draw(results: list[tuple[Case, dict[str, list[Figures]]]]) -> str:
    """The drawing as text."""
    parts: list[str] = []
    top = 10
    for case, runs in results:
        base = case.compared_with
        parts.append(text(10, top + 14, f"{case.title} (speed; {base} = 1)", weight="bold"))
        top += 22
        first = top
        for name, figures in runs.items():
            parts += bar(top, name, ratio(figures, runs[base], "seconds"))
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
