"""``mgs mb``."""

from __future__ import annotations

import click

from mediagit_storage.cli.framework import Command, Run, common, complete_target, dry_run, pass_run
from mediagit_storage.cli.session import session

__all__ = ["command"]


@click.command("mb", cls=Command)
@click.argument("storages", metavar="STORAGE...", nargs=-1, required=True, shell_complete=complete_target)
@click.option("--versioning/--no-versioning", default=None, help="Keep every version of its objects, or do not.")
@dry_run
@common
@pass_run
def command(run: Run, storages: tuple[str, ...], *, versioning: bool | None) -> None:
    """Make a bucket, container or root folder.

    One that exists already is fine. Missing folders above a local one are made too.
    """
    with session(run) as this:
        for text in storages:
            store = this.whole(text)
            if not run.dry_run:
                store.create(versioning=versioning)
            if run.json:
                this.out.record("storage", {"storage": store.description, "dry_run": run.dry_run})
            else:
                this.out.note(f"{'would make' if run.dry_run else 'ready:'} {store.description}")
