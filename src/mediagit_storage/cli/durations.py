"""Spans of time on the command line: ``90``, ``90s``, ``15m``, ``12h``, ``7d``, ``4w``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import click

__all__ = ["Duration", "Seconds", "duration_text", "older_than", "utc_now"]

F = TypeVar("F", bound=Callable[..., object])

_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
#: For people, the largest first: an age is told in the largest unit that it has two of.
_WORDS: Final = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


class Duration(click.ParamType[timedelta]):
    """A span of time; a number without a unit counts seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The span that a text names."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(\d{1,9})([smhdw]?)", str(value))
        try:
            if found is not None:
                return timedelta(seconds=int(found[1]) * _UNITS[found[2]])
        except OverflowError:
            pass
        return self.fail(f"{value!r} is no duration: write 90, 90s, 15m, 12h, 7d or 4w", param, ctx)


class Seconds(click.FloatRange):
    """A number of seconds within bounds. Not "nan", which lies within any bounds and is no time to wait."""

    def convert(self, value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds that a text names."""
        seconds = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a valid number", param, ctx)
        return seconds


def older_than(text: str) -> Callable[[F], F]:
    """The option ``--older-than``, None where it is not given; ``text`` is its help."""
    return click.option("--older-than", type=Duration(), metavar="TIME", help=text)


def duration_text(span: timedelta) -> str:
    """A span of time for people, cut down to one unit: ``3 days``, ``26 hours``, ``1 second``."""
    seconds = max(0, int(span.total_seconds()))
    size, word = next((unit for unit in _WORDS if seconds >= 2 * unit[0]), _WORDS[-1])
    count = seconds // size
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def utc_now() -> datetime:
    """The time of this machine."""
    return datetime.now(UTC)
