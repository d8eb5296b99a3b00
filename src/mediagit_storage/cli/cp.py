"""``mgs cp``."""

from __future__ import annotations

from pathlib import Path

import click

from mediagit_storage.cli.filter_options import FilteringCommand
from mediagit_storage.cli.framework import common, complete_target, dry_run
from mediagit_storage.cli.transferring import carry_out, transfer_options

__all__ = ["command"]


@click.command("cp", cls=FilteringCommand)
@click.argument("sources", metavar="SOURCE...", nargs=-1, shell_complete=complete_target)
@click.argument("target", shell_complete=complete_target)
@click.option("-r", "--recursive", is_flag=True, help="Copy folders with everything in them.")
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
    return carry_out(
        ctx,
        sources,
        target,
        move=False,
        recursive=recursive,
        overwrite=overwrite,
        drop_attributes=drop_attributes,
        create=create,
        report=report,
    )
