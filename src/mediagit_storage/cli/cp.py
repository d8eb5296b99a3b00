"""``mgs cp``."""

from __future__ import annotations

import click

from mediagit_storage.cli.filter_options import FilteringCommand, filters_of
from mediagit_storage.cli.framework import Run, common, complete_target, dry_run, pass_run
from mediagit_storage.cli.session import session
from mediagit_storage.cli.transferring import Transferring, transfer_all, transfer_options
from mediagit_storage.tools.copying import CopyRules
from mediagit_storage.tools.filters import Filter, Filters

__all__ = ["command"]


@click.command("cp", cls=FilteringCommand)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, shell_complete=complete_target)
@click.argument("target", shell_complete=complete_target)
@click.option("-r", "--recursive", is_flag=True, help="Copy folders with everything in them.")
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
    """Copy files, folders and objects between any two storages.

    SOURCE and TARGET are URLs, paths, or a profile and key; either may be local. An object keeps its name when TARGET
    ends with / or is an existing folder, and gets the name TARGET otherwise. With -r the same holds for a folder, and a
    SOURCE that ends with / means its contents (no -r needed). A pattern ('photos/*.png', quoted) copies what matches,
    under the names below its fixed folder: * stays within a segment, ** does not.

    Filters look at names below the copied folder: 'x.tmp' at the last segment, 'a/b*' at the whole name, 'cache/' at
    folders. What no filter matches is the opposite of the last filter.

    Each object is stored whole or not at all. Failures are named at the end (exit code 6), the others are done. Into a
    local folder no key leads outside of it: such keys are refused and named. Symbolic links are left out.
    """
    rules = CopyRules(overwrite=overwrite, drop_attributes=drop_attributes, concurrency=run.concurrency)
    filters = Filters([Filter(*each) for each in filters_of(ctx)])
    asked = Transferring(move=False, recursive=recursive, filters=filters, rules=rules)
    with session(run) as this:
        return transfer_all(this, sources, target, asked, create=create)
