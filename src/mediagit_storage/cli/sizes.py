"""Amounts of bytes on the command line: ``512``, ``64KiB``, ``1.5GB``."""

from __future__ import annotations

import re
from typing import Final

import click

__all__ = ["Size", "parse_bytes"]

_UNITS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_AMOUNT: Final = re.compile(r"(\d{1,15}(?:\.\d{1,3})?) ?(k|m|g|ki|mi|gi)?B", re.IGNORECASE)


def parse_bytes(text: str) -> int | None:
    """The bytes that an amount with a unit comes to; None where it is none.

    >>> parse_bytes("64KiB"), parse_bytes("1.5 MB"), parse_bytes("64K")
    (65536, 1500000, None)
    """
    found = _AMOUNT.fullmatch(text)
    return None if found is None else int(float(found[1]) * _UNITS[(found[2] or "").lower()])


class Size(click.ParamType[int]):
    """A number of bytes, or one with a unit."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The bytes that a text names."""
        if isinstance(value, int):
            return value
        text = str(value).strip()
        found = parse_bytes(f"{text}B" if text.isdecimal() else text)
        return self.fail(f"{value!r} is no size: write 512, 64KiB or 1.5GB", param, ctx) if found is None else found
