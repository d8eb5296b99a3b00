"""``mgs mv``."""

from __future__ import annotations

from pathlib import Path

import click

from mediagit_storage.cli.filter_options import FilteringCommand
from mediagit_storage.cli.framework import common, complete_target, dry_run
from mediagit_storage.cli.transferring import carry_out, transfer_options

__all__ = ["command"]


@click.command("mv", cls=FilteringCommand)
@click.argument("sources", metavar="SOURCE...", nargs=-1, shell_complete=complete_target)
@click.argument("target", shell_complete=complete_target)
@click.option("-r", "--recursive", is_flag=True, help="Move folders with everything in them.")
@transfer_options
@dry_run
@common
@click.pass_context
def command(
    ctx: click.Context,
    sources: tuple[str, ...],
    target: str,
    *,
    recursive: bool,
    overwrite: bool,
    drop_attributes: bool,
    create: bool,
    report: Path | None,
) -> int:
    """Move files, folders and objects between any two storages.

    Like cp, and what was copied is then deleted from the source; within one storage objects are renamed. Folders need
    -r. What fails or is skipped stays where it is, and so does an object that changes meanwhile, where the storage can
    tell. A crash in between leaves both, never neither.
    """
    return carry_out(
        ctx,
        sources,
        target,
        move=True,
        recursive=recursive,
        overwrite=overwrite,
        drop_attributes=drop_attributes,
        create=create,
        report=report,
    )
