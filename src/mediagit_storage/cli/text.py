"""Text for a terminal: nothing that a key or an error holds can move the cursor or forge a line. Pure functions."""

from __future__ import annotations

from datetime import datetime

from mediagit_storage.text import human_bytes, plural, printable

__all__ = ["columns", "human_bytes", "plural", "printable", "when"]


def when(moment: datetime | None) -> str:
    """A time in UTC to the second; a dash for an unknown one."""
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def columns(rows: list[list[str]]) -> list[str]:
    """Rows with their columns aligned; the last is left as it is."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]) - 1)] if rows else []
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    ]
