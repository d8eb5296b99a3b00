"""``mgs mv``."""

from __future__ import annotations

import click

from mediagit_storage.cli.filter_options import FilteringCommand, filters_of
from mediagit_storage.cli.framework import Run, common, complete_target, dry_run, pass_run
from mediagit_storage.cli.session import session
from mediagit_storage.cli.transferring import Transferring, transfer_all, transfer_options
from mediagit_storage.tools.copying import CopyRules
from mediagit_storage.tools.filters import Filter, Filters

__all__ = ["command"]


@click.command("mv", cls=FilteringCommand)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, shell_complete=complete_target)
@click.argument("target", shell_complete=complete_target)
@click.option("-r", "--recursive", is_flag=True, help="Move folders with everything in them.")
@transfer_options
@dry_run
@common
@pass_run
@click.pass_context
def command(
    ctx: click.Context,
    run: Run,
    sources: tuple[str, ...],
    target: str,
    *,
    recursive: bool,
    overwrite: bool,
    drop_attributes: bool,
    create: bool,
) -> int:
    """Move files, folders and objects between any two storages.

    Like cp, and what was copied is then deleted from the source; within one storage objects are renamed. Folders need
    -r. What fails or is skipped stays where it is, and so does an object that changes meanwhile, where the storage can
    tell. A crash in between leaves both, never neither.
    """
    rules = CopyRules(overwrite=overwrite, drop_attributes=drop_attributes, concurrency=run.concurrency)
    filters = Filters([Filter(*each) for each in filters_of(ctx)])
    asked = Transferring(move=True, recursive=recursive, filters=filters, rules=rules)
    with session(run) as this:
        return transfer_all(this, sources, target, asked, create=create)
