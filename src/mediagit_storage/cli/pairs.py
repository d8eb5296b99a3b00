"""Options of the form NAME=VALUE."""

from __future__ import annotations

from collections.abc import Sequence

import click

__all__ = ["parse_pairs"]


def parse_pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """The pairs that an option was repeated with; a text without ``=``, or a name given twice, is a usage error."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise click.UsageError(f"{option} is written NAME=VALUE, not {text!r}")
        if name in pairs:
            raise click.UsageError(f"{option} names {name!r} twice")
        pairs[name] = value
    return pairs
