"""``--limit``: how quickly a command may send and fetch, all of its transfers together."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

import click

from mediagit_storage.cli.framework import Run
from mediagit_storage.cli.sizes import parse_bytes

__all__ = ["Rate", "Rates", "limiting"]

F = TypeVar("F", bound=Callable[..., object])

_PER_SECOND: Final = re.compile(r"(?:/s|ps)$", re.IGNORECASE)


class Rates(NamedTuple):
    """Bytes a second that may be sent and fetched, None for no limit. (That of the layer takes longer to import.)"""

    up: int | None
    down: int | None


class Rate(click.ParamType[Rates]):
    """Bytes a second, both ways or ``UP:DOWN``, with a unit: a bare number, or ``10M``, could mean several things."""

    name = "rate"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Rates:
        """The limits that a text names."""
        if isinstance(value, Rates):
            return value
        sides = str(value).split(":")
        if len(sides) > 2:
            self.fail(f"{value!r} has more than two sides: write UP:DOWN", param, ctx)
        rates = [self._rate(side, param, ctx) for side in sides]
        return Rates(rates[0], rates[-1])

    def _rate(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if text.strip().lower() == "off":
            return None
        rate = parse_bytes(_PER_SECOND.sub("", text.strip()))
        if not rate:
            self.fail(f"{text!r} is no rate: write 500kB/s, 10MiB/s or off", param, ctx)
        return rate


def limiting(function: F) -> F:
    """The option of commands that transfer objects."""
    return click.option(
        "--limit",
        type=Rate(),
        metavar="RATE",
        expose_value=False,
        callback=_store,
        help="Send and fetch at most so many bytes a second in all (10MiB/s), or UP:DOWN (1MB/s:off).",
    )(function)


def _store(ctx: click.Context, _: click.Parameter, value: Rates | None) -> Rates | None:
    ctx.ensure_object(Run).limit = value
    return value
