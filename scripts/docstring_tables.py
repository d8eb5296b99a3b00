"""Tables of docstrings as Markdown has them: what `help()` shows well is shown well on the site, too.

An extension of griffe, which reads the docstrings for `scripts/site.py`. A table in a docstring is framed by lines of
``=`` whose gaps are those between its columns; a second such line ends a head, if there are three of them.
"""

from __future__ import annotations

import re
from typing import Final

import griffe

RULE: Final = re.compile(r"^=+(?: +=+)+$")


def as_markdown(text: str) -> str:
    """The same text with tables of Markdown."""
    lines, made = text.splitlines(), []
    at = 0
    while at < len(lines):
        if RULE.match(lines[at].strip()):
            end = _end(lines, at)
            made += ["", *_table(lines[at:end]), ""]
            at = end
        else:
            made.append(lines[at])
            at += 1
    return "\n".join(made)


def _end(lines: list[str], at: int) -> int:
    """One past the rule that ends the table: the last one before an empty line or the end."""
    rules = [at]
    for number in range(at + 1, len(lines)):
        if not lines[number].strip():
            break
        if RULE.match(lines[number].strip()):
            rules.append(number)
    return rules[-1] + 1


def _table(lines: list[str]) -> list[str]:
    rule = lines[0]
    starts = [match.start() for match in re.finditer(r"=+", rule)]
    spans = [*zip(starts, [*starts[1:], None], strict=True)]
    inner = [number for number, line in enumerate(lines) if RULE.match(line.strip())][1:-1]
    head = [_cells(line, spans) for line in lines[1 : inner[0]]] if inner else [[""] * len(spans)]
    rows: list[list[str]] = []
    for line in lines[inner[0] + 1 if inner else 1 : -1]:
        cells = _cells(line, spans)
        if cells[0] or not rows:
            rows.append(cells)
        else:
            rows[-1] = [f"{before} {more}".strip() for before, more in zip(rows[-1], cells, strict=True)]
    made = [[*map(" ".join, zip(*head, strict=True))], ["---"] * len(spans), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in made]


def _cells(line: str, spans: list[tuple[int, int | None]]) -> list[str]:
    # The first cell may be longer than its column: the text then begins after it.
    first = spans[0][1] or 0
    if line[first - 1 : first].strip():
        break_at = line.find("  ", first)
        break_at = line.find(" ", first) if break_at < 0 else break_at
        return [line[:break_at].strip(), *[""] * (len(spans) - 2), line[break_at:].strip()]
    return [line[start:end].strip() for start, end in spans]


class MarkdownTables(griffe.Extension):
    """Rewrites the tables of every docstring."""

    def on_instance(self, *, obj: griffe.Object, **_: object) -> None:
        """Called for each module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
