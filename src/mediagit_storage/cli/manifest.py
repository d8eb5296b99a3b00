"""``mgs manifest``."""

from __future__ import annotations

import sys

import click

from mediagit_storage.cli.folders import chosen_side
from mediagit_storage.cli.framework import Command, Run, common, complete_target, pass_run
from mediagit_storage.cli.progress_bar import progress_bar
from mediagit_storage.cli.session import session
from mediagit_storage.tools.manifest import entries_of, manifest_lines

__all__ = ["command"]


@click.command("manifest", cls=Command)
@click.argument("source", shell_complete=complete_target)
@common
@pass_run
def command(run: Run, source: str) -> int:
    """Write down the name, size and digest of every object.

    SOURCE is a folder or a whole storage. Every byte is read; the list goes to standard output, sorted, as lines of
    JSON with the BLAKE3 of each content. Two equal folders have the same list, byte for byte, wherever they are, so a
    signature of it is one of the contents. `mgs verify --manifest` compares a storage with it; a list that was cut off
    is refused there.
    """
    with session(run) as this, progress_bar(this):
        for line in manifest_lines(entries_of(chosen_side(this.place(source)), run.concurrency)):
            sys.stdout.write(line)
        return 0
