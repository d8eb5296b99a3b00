"""``mgs ls``."""

from __future__ import annotations

from collections.abc import Iterator

import click

from mediagit_storage.cli.framework import Command, Run, common, complete_target, pass_run
from mediagit_storage.cli.output import object_record
from mediagit_storage.cli.session import Place, Session, session
from mediagit_storage.cli.text import human_bytes, when
from mediagit_storage.tools.filters import is_glob
from mediagit_storage.tools.selecting import find_object, nothing_there, select
from mediagit_storage.types import Entry, Folder, ObjectInfo

__all__ = ["command"]


@click.command("ls", cls=Command)
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True, shell_complete=complete_target)
@click.option("-l", "--long", "long", is_flag=True, help="Size, time (UTC) and ETag beside each key.")
@click.option("-h", "--human", is_flag=True, help="Sizes as 1.5 MB. Implies --long.")
@click.option("-r", "--recursive", is_flag=True, help="Everything below, not one level.")
@click.option("--versions", is_flag=True, help="Every version of each object, the newest first. Implies --recursive.")
@click.option(
    "--exact", is_flag=True, help="Resolve sizes that only the objects know (compressed, encrypted), as --long does."
)
@common
@pass_run
def command(
    run: Run, targets: tuple[str, ...], *, long: bool, human: bool, recursive: bool, versions: bool, exact: bool
) -> None:
    """List objects and folders.

    TARGET is a URL, a path or a profile and key: an object, a folder, or a pattern ('photos/*.png'). Keys are shown
    relative to the folder, one a line, sorted by their bytes; with --json they are whole. Nothing at all under TARGET
    is an error (exit code 3), except at the root of a storage.
    """
    with session(run) as this:
        writer = _Writer(this, long=long or human, human=human)
        for text in targets:
            place = this.place(text)
            if len(targets) > 1 and not run.json:
                this.out.line(f"{text}:")
            exact = exact or long or human
            found = _entries(place, recursive=recursive or versions, versions=versions, exact=exact)
            if not writer.write(found, _lead(place)) and place.key:
                raise nothing_there(place.store, place.key)


def _lead(place: Place) -> int:
    """How much of a key is the folder that is listed."""
    if is_glob(place.key) and not place.contents:
        return 0
    return len(place.key) if place.contents or not place.key else len(place.key) + 1


def _entries(place: Place, *, recursive: bool, versions: bool, exact: bool) -> Iterator[Entry]:
    store, key = place.store, place.key
    if key and not place.contents:
        info = find_object(store, key)
        if info is not None and not versions:
            yield info
        elif versions:
            yield from (each for each in store.list(key, versions=True, exact=exact) if each.key == key)
        if info is None and is_glob(key):
            yield from (each.info for each in select(store, key, recursive=recursive).items)
            return
        key = f"{key}/"
    if recursive:
        yield from store.list(key, versions=versions, exact=exact)
    else:
        yield from store.list_dir(key, exact=exact)


class _Writer:
    """Writes entries as they come."""

    def __init__(self, this: Session, *, long: bool, human: bool) -> None:
        self._out = this.out
        self._json = this.run.json
        self._long = long
        self._human = human

    def write(self, entries: Iterator[Entry], lead: int) -> int:
        """Write them all; returns how many there were."""
        count = 0
        for count, entry in enumerate(entries, 1):  # noqa: B007  # it is returned
            if isinstance(entry, Folder):
                self._folder(entry, lead)
            elif self._json:
                self._out.record("object", object_record(entry))
            else:
                self._out.line(self._line(entry, lead))
        return count

    def _folder(self, folder: Folder, lead: int) -> None:
        if self._json:
            self._out.record("folder", {"prefix": folder.prefix})
            return
        name = folder.prefix[lead:]
        self._out.line(f"{'-':>14}  {'-':19}  {name}" if self._long else name)

    def _line(self, info: ObjectInfo, lead: int) -> str:
        name = info.key[lead:] or info.key
        if info.version is not None and self._long:
            name = f"{name}  {info.version}{' (deleted)' if info.deleted else ''}"
        if not self._long:
            return name
        size = "-" if info.size is None else human_bytes(info.size) if self._human else f"{info.size:,}"
        return f"{size:>14}  {when(info.modified)}  {info.etag or '-'}  {name}"
