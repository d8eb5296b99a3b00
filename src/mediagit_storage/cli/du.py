"""``mgs du``."""

from __future__ import annotations

import click

from mediagit_storage.cli.framework import Command, Run, common, complete_target, pass_run
from mediagit_storage.cli.many import each_reported
from mediagit_storage.cli.session import Session, session
from mediagit_storage.cli.text import human_bytes, plural
from mediagit_storage.tools.selecting import in_folder, nothing_there
from mediagit_storage.tools.usage import Usage, count_usage
from mediagit_storage.types import JSON

__all__ = ["command"]


@click.command("du", cls=Command)
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True, shell_complete=complete_target)
@click.option("-d", "--depth", type=click.IntRange(0), default=0, metavar="N", help="Also each folder this many deep.")
@click.option("-h", "--human", is_flag=True, help="Sizes as 1.5 MB.")
@click.option("--exact", is_flag=True, help="Resolve sizes that only the objects know (compressed, encrypted).")
@common
@pass_run
def command(run: Run, targets: tuple[str, ...], *, depth: int, human: bool, exact: bool) -> int:
    """Count objects and bytes, by folder.

    The last line of each TARGET is its total. Folders come as soon as they are counted. Everything is listed, a page at a
    time: a store of any size takes no more memory, and a request for each thousand objects or so.
    """
    with session(run) as this:

        def count(text: str) -> None:
            place = this.place(text)
            total = Usage(place.key)
            for usage in count_usage(in_folder(place.store, place.key, exact=exact), place.key, depth):
                total = usage
                if usage.objects or not place.key:
                    _show(this, usage, human=human)
            if not total.objects and place.key:
                raise nothing_there(place.store, place.key)
            if total.unsized:
                this.out.note(f"{plural(total.unsized)} told no size, and counted as empty: --exact asks each of them")

        return each_reported(this, targets, count)


def _show(this: Session, usage: Usage, *, human: bool) -> None:
    if this.run.json:
        counts: dict[str, JSON] = {"objects": usage.objects, "bytes": usage.size, "unsized": usage.unsized}
        this.out.record("usage", {"prefix": usage.folder, **counts})
        return
    size = human_bytes(usage.size) if human else f"{usage.size:,}"
    this.out.line(f"{size:>18}  {usage.objects:>12,}  {usage.folder or '(all)'}")
