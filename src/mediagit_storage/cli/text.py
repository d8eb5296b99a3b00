"""Text for a terminal: nothing that a key or an error holds can move the cursor or forge a line. Pure functions."""

from __future__ import annotations

from datetime import datetime
from typing import Final

__all__ = ["columns", "human_bytes", "plural", "printable", "when"]

_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def printable(text: str) -> str:
    r"""The text with everything that does not print (controls, line ends, directions, bytes that are no UTF-8) escaped.

    >>> printable("a\nb \x1b[31m")
    'a\\nb \\x1b[31m'
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is no UTF-8, as os.fsdecode spells it
        return f"\\x{number - 0xDC00:02x}"
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def human_bytes(count: int) -> str:
    """A number of bytes in decimal units with three digits or so: ``1.5 MB``."""
    value = float(count)
    for unit in _UNITS:
        if value < 999.5 or unit == _UNITS[-1]:
            break
        value /= 1000
    if unit == "B":
        return f"{count} B"
    return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"


def plural(count: int, what: str = "object") -> str:
    """``1 object``, ``2,000 objects``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def when(moment: datetime | None) -> str:
    """A time in UTC to the second; a dash for an unknown one."""
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def columns(rows: list[list[str]]) -> list[str]:
    """Rows with their columns aligned; the last is left as it is."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]) - 1)] if rows else []
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    ]
