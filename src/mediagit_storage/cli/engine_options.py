"""``--engine``, ``--scheduler`` and ``--workers``: who does the work of a command."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, TypeVar

import click

from mediagit_storage.cli.framework import Run
from mediagit_storage.tools.engines import open_dask_engine

if TYPE_CHECKING:
    from mediagit_storage.tools.dask.engine import DaskEngine

__all__ = ["chosen_engine", "engine_options"]

F = TypeVar("F", bound=Callable[..., object])
_META = "mediagit_storage.engine"


def engine_options(function: F) -> F:
    """The three options."""
    for option in (
        click.option(
            "--workers",
            metavar="N",
            type=click.IntRange(1, 1024),
            expose_value=False,
            callback=_kept("workers"),
            help="With --engine dask: start N processes on this machine.  [default: one for each processor]",
        ),
        click.option(
            "--scheduler",
            metavar="ADDRESS",
            expose_value=False,
            callback=_kept("scheduler"),
            help="With --engine dask: use the workers of the scheduler there, like tcp://10.0.0.5:8786.",
        ),
        click.option(
            "--engine",
            type=click.Choice(["threads", "dask"]),
            default="threads",
            show_default=True,
            expose_value=False,
            callback=_kept("engine"),
            help="Who does the work: threads of this process, or workers of Dask.",
        ),
    ):
        function = option(function)
    return function


def chosen_engine(ctx: click.Context) -> AbstractContextManager[DaskEngine | None]:
    """The workers that the options name, not there yet, or None for threads. Options that contradict are a `UsageError`."""
    name: str = ctx.meta[f"{_META}.engine"]
    scheduler: str | None = ctx.meta[f"{_META}.scheduler"]
    workers: int | None = ctx.meta[f"{_META}.workers"]
    if name != "dask" and (scheduler is not None or workers is not None):
        raise click.UsageError("--scheduler and --workers are for --engine dask")
    if scheduler is not None and workers is not None:
        raise click.UsageError("--scheduler has workers of its own: leave out --workers")
    if name == "dask" and ctx.ensure_object(Run).limit is not None:
        raise click.UsageError("--limit holds one process, and workers are several: leave it out with --engine dask")
    return nullcontext() if name == "threads" else open_dask_engine(scheduler, workers)


def _kept(name: str) -> Callable[[click.Context, click.Parameter, object], object]:
    def keep(ctx: click.Context, _: click.Parameter, value: object) -> object:
        ctx.meta[f"{_META}.{name}"] = value
        return value

    return keep
