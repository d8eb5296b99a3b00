"""``mgs stat``."""

from __future__ import annotations

import click

from mediagit_storage.cli.framework import Command, Run, common, complete_target, pass_run
from mediagit_storage.cli.many import each_reported
from mediagit_storage.cli.output import attributes_record, object_record
from mediagit_storage.cli.session import Session, session
from mediagit_storage.cli.text import when
from mediagit_storage.types import ObjectInfo

__all__ = ["command"]


@click.command("stat", cls=Command)
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True, shell_complete=complete_target)
@click.option("--version", "version", metavar="ID", help="This version instead of the current one.")
@common
@pass_run
def command(run: Run, targets: tuple[str, ...], *, version: str | None) -> int:
    """Show everything about objects.

    TARGET is an object: its size in bytes, when it was modified (UTC), its ETag, the digest that the layer checksum
    keeps with it, and the attributes it was stored with. A missing object is exit code 4.
    """
    with session(run) as this:

        def show(text: str) -> None:
            place = this.place(text)
            _show(this, text, place.store.stat(place.object_key(), version=version))

        return each_reported(this, targets, show)


def _show(this: Session, text: str, info: ObjectInfo) -> None:
    if this.run.json:
        this.out.record("object", object_record(info))
        return
    rows: list[tuple[str, str]] = [("target", text), ("key", info.key)]
    rows.append(("size", "-" if info.size is None else f"{info.size:,}"))
    if info.stored_size is not None and info.stored_size != info.size:
        rows.append(("stored size", f"{info.stored_size:,}"))
    rows.append(("modified", f"{when(info.modified)} UTC"))
    rows.append(("etag", info.etag or "-"))
    if info.version is not None:
        rows.append(("version", info.version))
    if info.checksum is not None:
        rows.append(("checksum", str(info.checksum)))
    for name, value in attributes_record(info.attributes).items() if info.attributes else ():
        if isinstance(value, dict):
            rows.extend((f"{name}.{each}", str(value[each])) for each in sorted(value))
        else:
            rows.append((name, str(value)))
    for name, shown in rows:
        this.out.line(f"{name:<20} {shown}")
