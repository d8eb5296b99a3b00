"""``mgs cat``."""

from __future__ import annotations

import sys

import click

from mediagit_storage.cli.framework import Command, Run, common, complete_target, pass_run
from mediagit_storage.cli.many import each_reported
from mediagit_storage.cli.session import session

__all__ = ["command"]

_SIZE = click.IntRange(0)


@click.command("cat", cls=Command)
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True, shell_complete=complete_target)
@click.option("--offset", type=_SIZE, metavar="N", help="Begin at this byte.")
@click.option("--length", type=_SIZE, metavar="N", help="At most this many bytes.")
@click.option("--suffix", type=_SIZE, metavar="N", help="The last bytes only.")
@click.option("--version", "version", metavar="ID", help="This version instead of the current one.")
@common
@pass_run
def command(
    run: Run,
    targets: tuple[str, ...],
    *,
    offset: int | None,
    length: int | None,
    suffix: int | None,
    version: str | None,
) -> int:
    """Write objects, or parts of them, to standard output.

    The bytes come exactly as they are stored, one object after the other, in constant memory. With a range each TARGET
    gives its part; an end past the end is clipped, a start past the end is an error.
    """
    if suffix is not None and (offset is not None or length is not None):
        raise click.UsageError("--suffix cannot be combined with --offset or --length")
    with session(run) as this:

        def write(text: str) -> None:
            place = this.place(text)
            stream = place.store.stream(
                place.object_key(), offset=offset, length=length, suffix=suffix, version=version
            )
            with stream:
                for piece in stream:
                    sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()

        return each_reported(this, targets, write)
