"""``--include`` and ``--exclude``: their order on the command line counts, across the two."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from mediagit_storage.cli.framework import Command

__all__ = ["FilteringCommand", "filter_options", "filters_of"]

F = TypeVar("F", bound=Callable[..., object])
_META = "mediagit_storage.filters"


class FilteringCommand(Command):
    """A command that remembers in which order its filters were given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, and keep the filters as (is it an include, pattern) pairs in their order."""
        given, _, order = self.make_parser(ctx).parse_args(args=list(args))
        values = {name: iter(given.get(name) or ()) for name in ("include", "exclude")}
        ctx.meta[_META] = [
            (parameter.name == "include", next(values[parameter.name]))
            for parameter in order
            if parameter.name in values
        ]
        return super().parse_args(ctx, args)


def filter_options(function: F) -> F:
    """The two options."""
    for name, what in (("exclude", "Leave out"), ("include", "Take")):
        function = click.option(
            f"--{name}",
            name,
            multiple=True,
            metavar="PATTERN",
            expose_value=False,
            help=f"{what} keys that match. Of all filters the first match wins.",
        )(function)
    return function


def filters_of(ctx: click.Context) -> list[tuple[bool, str]]:
    """The filters in the order they were given."""
    found: list[tuple[bool, str]] = ctx.meta.get(_META, [])
    return found
