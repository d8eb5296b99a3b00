"""``mgs du``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import click

from mediagit_storage.cli.framework import Command, Run, common, complete_target, pass_run
from mediagit_storage.cli.session import Place, Session, session
from mediagit_storage.cli.text import human_bytes
from mediagit_storage.keys import parent_prefixes
from mediagit_storage.tools.selecting import in_folder, nothing_there

__all__ = ["command"]


class _Usage(NamedTuple):
    folder: str
    objects: int
    size: int


@click.command("du", cls=Command)
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True, shell_complete=complete_target)
@click.option("-d", "--depth", type=click.IntRange(0), default=0, metavar="N", help="Also each folder this many deep.")
@click.option("-h", "--human", is_flag=True, help="Sizes as 1.5 MB.")
@click.option("--exact", is_flag=True, help="Resolve sizes that only the objects know (compressed, encrypted).")
@common
@pass_run
def command(run: Run, targets: tuple[str, ...], *, depth: int, human: bool, exact: bool) -> None:
    """Count objects and bytes, by folder.

    The last line of each TARGET is its total. Folders come as soon as they are counted.
    """
    with session(run) as this:
        for text in targets:
            place = this.place(text)
            total = _Usage(place.key, 0, 0)
            for usage in _count(place, depth, exact=exact):
                _show(this, usage, usage.folder, human=human)
                total = usage
            if not total.objects and place.key:
                raise nothing_there(place.store, place.key)


def _show(this: Session, usage: _Usage, name: str, *, human: bool) -> None:
    if this.run.json:
        this.out.record("usage", {"prefix": name, "objects": usage.objects, "bytes": usage.size})
        return
    size = human_bytes(usage.size) if human else f"{usage.size:,}"
    this.out.line(f"{size:>18}  {usage.objects:>12,}  {name or '(all)'}")


def _count(place: Place, depth: int, *, exact: bool) -> Iterator[_Usage]:
    """The folders in the order of their ends, the total last. A listing is sorted, so a folder's keys are together."""
    base = len(parent_prefixes(f"{place.key.rstrip('/')}/x")) if place.key else 0
    open_folders: list[_Usage] = []
    total = _Usage(place.key, 0, 0)
    for info in in_folder(place.store, place.key, exact=exact):
        size = info.size or 0
        total = total._replace(objects=total.objects + 1, size=total.size + size)
        inside = parent_prefixes(info.key)[base : base + depth]
        while open_folders and (
            len(open_folders) > len(inside) or open_folders[-1].folder != inside[len(open_folders) - 1]
        ):
            yield open_folders.pop()
        open_folders += [_Usage(folder, 0, 0) for folder in inside[len(open_folders) :]]
        open_folders = [each._replace(objects=each.objects + 1, size=each.size + size) for each in open_folders]
    yield from reversed(open_folders)
    yield total
