"""``mgs rm``."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click

from mediagit_storage.cli.framework import Command, Run, common, complete_target, dry_run, pass_run
from mediagit_storage.cli.many import Failures
from mediagit_storage.cli.session import Place, Session, session
from mediagit_storage.errors import CancelledError, ConfigError, NotFoundError
from mediagit_storage.tools.selecting import find_object, in_folder, nothing_there
from mediagit_storage.types import ObjectInfo

__all__ = ["command"]


@click.command("rm", cls=Command)
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True, shell_complete=complete_target)
@click.option("-r", "--recursive", is_flag=True, help="The folder TARGET with everything in it.")
@click.option("--all", "everything", is_flag=True, help="With -r: also allow a whole storage.")
@click.option("-f", "--force", is_flag=True, help="What is missing is fine.")
@click.option("--version", "version", metavar="ID", help="Delete this version only, for good.")
@dry_run
@common
@pass_run
def command(
    run: Run, targets: tuple[str, ...], *, recursive: bool, everything: bool, force: bool, version: str | None
) -> int:
    """Delete objects.

    TARGET means exactly the object of that key: no patterns, and no folders without -r. With -r it is the object and
    all that is in the folder of that name. Nothing is asked; --dry-run shows what would go. A whole storage, which is
    also what an existing local folder is, needs --all.
    """
    if recursive and version is not None:
        raise click.UsageError("--version deletes one version of one object: leave out -r")
    with session(run) as this:
        tally = _Tally(this, single=len(targets) == 1 and not recursive)
        try:
            for text in targets:
                place = this.place(text)
                _remove(tally, place, recursive=recursive, everything=everything, force=force, version=version)
        except BaseException:
            tally.stopped()
            raise
        return tally.close()


def _remove(
    tally: _Tally, place: Place, *, recursive: bool, everything: bool, force: bool, version: str | None
) -> None:
    if recursive:
        _refuse_whole(place, everything=everything)
        tally.delete(place, _below(place, force=force))
    else:
        _refuse_folder(place)
        tally.delete_one(place, version, force=force)


def _refuse_whole(place: Place, *, everything: bool) -> None:
    if not place.key and not everything:
        raise ConfigError(f"{place.text!r} is a whole storage: add --all to delete everything in it")


def _refuse_folder(place: Place) -> None:
    if not place.key:
        raise ConfigError(f"{place.text!r} is a whole storage: rm needs the key of an object, or -r and --all")


def _below(place: Place, *, force: bool) -> Iterator[ObjectInfo]:
    found = False
    for info in in_folder(place.store, place.key):
        found = True
        yield info
    if not found and place.key and not force:
        raise nothing_there(place.store, place.key)


def _looked_up(place: Place, *, force: bool) -> ObjectInfo | None:
    """What a deletion would remove."""
    info = find_object(place.store, place.key)
    if info is None and not force:
        raise NotFoundError("there is no such object", key=place.key, store=place.store.description)
    return info


class _Tally:
    """Deletes, and counts what went and what failed."""

    def __init__(self, this: Session, *, single: bool) -> None:
        self._this = this
        self._single = single
        self._started = time.monotonic()
        self._objects = 0
        self._bytes = 0
        self._failures = Failures()

    def delete_one(self, place: Place, version: str | None, *, force: bool) -> None:
        """The object of exactly this key."""
        try:
            info = _looked_up(place, force=force) if self._this.run.dry_run else None
            if info is None and not self._this.run.dry_run:
                place.store.delete(place.key, version=version, missing_ok=force)
                info = ObjectInfo(place.key, version=version)
        except Exception as error:
            if self._single or isinstance(error, CancelledError):
                raise
            self._failures.add(error)
            return
        if info is not None:
            self._done(place, info)

    def delete(self, place: Place, infos: Iterator[ObjectInfo]) -> None:
        """All of these."""
        if self._this.run.dry_run:
            for info in infos:
                self._done(place, info)
            return
        sizes: dict[str, int] = {}

        def keys() -> Iterator[str]:
            for info in infos:
                sizes[info.key] = info.size or 0
                yield info.key

        for key, _, error in place.store.delete_many(keys(), limits=self._this.limits):
            size = sizes.pop(key)
            if isinstance(error, CancelledError):
                raise error
            if error is not None:
                self._failures.add(error)
            else:
                self._done(place, ObjectInfo(key, size=size))

    def stopped(self) -> None:
        """It ended early: tell what is gone already."""
        if self._objects:
            self.close()

    def close(self) -> int:
        """Name what failed, write the closing line, and return the exit code."""
        code = self._failures.tell(self._this)
        verb = "would delete" if self._this.run.dry_run else "deleted"
        self._this.out.summary(
            verb, self._objects, self._bytes, time.monotonic() - self._started, {"failed": self._failures.count}
        )
        return code

    def _done(self, place: Place, info: ObjectInfo) -> None:
        self._objects += 1
        self._bytes += info.size or 0
        dry = self._this.run.dry_run
        if self._this.run.json:
            status = "planned" if dry else "deleted"
            self._this.out.record("delete", {"key": info.key, "size": info.size, "status": status})
        elif dry:
            self._this.out.line(f"delete {place.store.description}/{info.key}")
        elif self._this.run.verbose:
            self._this.out.note(f"deleted {info.key}")
