"""``mgs mb``."""

from __future__ import annotations

import click

from mediagit_storage.cli.framework import Command, Run, common, complete_target, dry_run, pass_run
from mediagit_storage.cli.many import each_reported
from mediagit_storage.cli.session import session

__all__ = ["command"]


@click.command("mb", cls=Command)
@click.argument("storages", metavar="STORAGE...", nargs=-1, required=True, shell_complete=complete_target)
@click.option(
    "--versioning",
    type=click.Choice(["on", "off"], case_sensitive=False),
    help="Keep every version of its objects, or no new ones. Without it a bucket that exists stays as it is.",
)
@dry_run
@common
@pass_run
def command(run: Run, storages: tuple[str, ...], *, versioning: str | None) -> int:
    """Make a bucket, container or root folder.

    One that exists already and is yours is fine, and --versioning changes it. Missing folders above a local one are
    made too. Of a name that somebody else has taken nothing is made (exit code 13, or 11 where the service only says
    that it is not yours).

    \b
    Examples:
      mgs mb 's3://media?region=eu-west-1' --versioning on
      mgs mb minio://localhost:9000/media
      mgs mb media:
    """  # noqa: D301  # \b keeps click from joining the lines
    switch = None if versioning is None else versioning.lower() == "on"
    with session(run) as this:

        def make(text: str) -> None:
            store = this.whole(text)
            if not run.dry_run:
                store.create(versioning=switch)
            if run.json:
                this.out.record("storage", {"storage": store.description, "dry_run": run.dry_run})
            else:
                this.out.note(f"{'would make' if run.dry_run else 'ready:'} {store.description}")

        return each_reported(this, storages, make)
