"""Text for people: sizes, and names that cannot move a cursor or forge a line. Pure functions."""

from __future__ import annotations

from typing import Final

__all__ = ["human_bytes", "plural", "printable"]

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
