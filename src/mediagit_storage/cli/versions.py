"""``mgs versions``: what was overwritten or deleted, on storages that keep it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby, takewhile
from operator import attrgetter
from typing import NamedTuple

import click

from mediagit_storage.cli.durations import duration_text, older_than, utc_now
from mediagit_storage.cli.framework import Group, Run, common, complete_target, dry_run, pass_run
from mediagit_storage.cli.many import Tally, each_reported, tallied
from mediagit_storage.cli.output import object_record
from mediagit_storage.cli.session import Place, Session, session
from mediagit_storage.cli.text import human_bytes, plural, when
from mediagit_storage.errors import ConfigError, IntegrityError, NotFoundError, StorageError
from mediagit_storage.storage import Storage
from mediagit_storage.tools.selecting import nothing_there
from mediagit_storage.tools.threads import in_order
from mediagit_storage.tools.uploads import is_older
from mediagit_storage.types import JSON, ObjectInfo

__all__ = ["command"]


@click.group("versions", cls=Group)
def command() -> None:
    """List, bring back and delete old versions of objects.

    A storage keeps what is overwritten or deleted once versions are switched on (`mgs mb STORAGE --versioning on`).
    A deletion is a version too: without its mark the object is back.
    """


class _Version(NamedTuple):
    """One version. ``replaced`` is when it stopped being the latest, None for the latest."""

    info: ObjectInfo
    latest: bool
    replaced: datetime | None


# ---- ls


@command.command("ls")
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True, shell_complete=complete_target)
@common
@pass_run
def ls_command(run: Run, targets: tuple[str, ...]) -> int:
    """List every version of objects, the newest of each first.

    TARGET is a storage, a folder in it, or the key of an object. A line is: its size, when it was stored (UTC),
    'latest' for what a plain read sees, 'deleted' for the mark of a deletion, its ID, and its key.

    \b
    Examples:
      mgs versions ls s3://media/photos/cat.jpg
      mgs versions ls s3://media/photos/ --json
    """  # noqa: D301  # \b keeps click from joining the lines
    with session(run) as this:

        def show(text: str) -> None:
            place = this.place(text)
            count, keys, old = 0, 0, 0
            for version in _versions(place):
                _show(this, version)
                count += 1
                keys += version.latest
                old += 0 if version.latest else version.info.size or 0
            if not count and place.key:
                raise nothing_there(place.store, place.key)
            amount = f"; those that are not the latest take {human_bytes(old)}" if old else ""
            this.out.note(f"{plural(count, 'version')} of {plural(keys, 'key')}{amount}")

        return each_reported(this, targets, show)


def _show(this: Session, version: _Version) -> None:
    info = version.info
    if this.run.json:
        this.out.record("object", {**object_record(info), "latest": version.latest})
        return
    size = "-" if info.size is None or info.deleted else f"{info.size:,}"
    marks = " ".join(word for word, on in (("latest", version.latest), ("deleted", info.deleted)) if on)
    this.out.line(f"{size:>14}  {when(info.modified)}  {marks or '-':<14}  {info.version or '-'}  {info.key}")


# ---- restore


@command.command("restore")
@click.argument("target", shell_complete=complete_target)
@click.option("--version", "version", metavar="ID", help="This version. Default: the newest before the deletion.")
@click.option("-r", "--recursive", is_flag=True, help="Every deleted object in the folder TARGET.")
@dry_run
@common
@pass_run
def restore_command(run: Run, target: str, *, version: str | None, recursive: bool) -> int:
    """Bring back an old version of an object, or a deleted object.

    The storage copies that version, with its attributes, on top of the others: it becomes the latest, and no version is
    lost. Without --version a deleted object gets back what it was before; with -r every deleted object in a folder
    does, and what is not deleted stays as it is.

    \b
    Examples:
      mgs versions restore s3://media/cat.jpg
      mgs versions restore s3://media/cat.jpg --version 3HL4kqtJvjVBH40Nrjfkd
      mgs versions restore -r s3://media/photos/ --dry-run
    """  # noqa: D301  # \b keeps click from joining the lines
    if recursive and version is not None:
        raise click.UsageError("--version brings back one version of one object: leave out -r")
    with session(run) as this:
        place = this.place(target)
        chosen = _deleted(place) if recursive else iter([_chosen(place.store, place.object_key(), version)])
        with tallied(this, "object", "restored", "would restore") as tally:
            for old, new, error in in_order(chosen, partial(_restore, place.store, dry=run.dry_run), run.concurrency):
                if error is None:
                    _tell_restored(this, place.store, tally, old, new)
                elif recursive:
                    tally.failed(error)
                else:
                    raise error
            return tally.close("would restore" if run.dry_run else "restored")


def _chosen(store: Storage, key: str, version: str | None) -> _Version:
    """The version to bring back, looked up so that a wrong one is told clearly. One listing, usually one page."""
    versions = _of_key(store, key)
    latest = next(versions, None)
    if latest is None:
        raise NotFoundError("there is no such object, and no version of it", key=key, store=store.description)
    if version is None:
        if not latest.info.deleted:
            raise ConfigError("the object is not deleted: say with --version what to bring back", key=key)
        found = next((each for each in versions if _is_copyable(each.info)), None)
        if found is None:
            raise NotFoundError("no version from before its deletion is kept", key=key, store=store.description)
        return found
    for each in (latest, *versions):
        if each.info.version == version:
            if each.info.deleted:
                raise ConfigError("this version is the mark of a deletion: choose one before it", key=key)
            return each
    raise NotFoundError(
        f"there is no version {version!r}; `mgs versions ls` shows those there are", key=key, store=store.description
    )


def _deleted(place: Place) -> Iterator[_Version]:
    """Of every deleted object the newest version from before its deletion, if one is kept."""
    found, wanted = False, ""
    for each in _versions(place):
        found = True
        if each.latest:
            wanted = each.info.key if each.info.deleted else ""
        elif each.info.key == wanted and _is_copyable(each.info):
            wanted = ""
            yield each
    if not found and place.key:
        raise nothing_there(place.store, place.key)


def _is_copyable(info: ObjectInfo) -> bool:
    """Whether a version has content, and an ID to copy it by."""
    return not info.deleted and info.version is not None


def _restore(store: Storage, old: _Version, *, dry: bool) -> tuple[_Version, ObjectInfo | None, Exception | None]:
    """Copy a version onto its key, unless it is the latest already: then, as in a dry run, nothing is new."""
    if dry or old.latest:
        return old, None, None
    try:
        return old, store.copy(old.info.key, old.info.key, version=old.info.version), None
    except Exception as error:  # noqa: BLE001  # told by the caller
        return old, None, error


def _tell_restored(this: Session, store: Storage, tally: Tally, old: _Version, new: ObjectInfo | None) -> None:
    info = old.info
    status = "unchanged" if old.latest else "planned" if new is None else "restored"
    if old.latest:
        tally.kept += 1
    else:
        tally.add(info.size)
    if this.run.json:
        fields: dict[str, JSON] = {"key": info.key, "restored": info.version, "size": info.size, "status": status}
        if new is not None and new.version is not None:
            fields["version"] = new.version
        this.out.record("restore", fields)
    elif old.latest:
        this.out.note(f"{info.key}: this version is the latest already")
    elif new is None:
        this.out.line(f"restore {store.description.rstrip('/')}/{info.key} {info.version} ({_words(info)})")
    elif this.run.verbose:
        this.out.note(f"restored {info.key} from {info.version}")


# ---- rm


@command.command("rm")
@click.argument("target", shell_complete=complete_target)
@click.option("--version", "ids", metavar="ID", multiple=True, help="This version of the object. May be repeated.")
@click.option("--all-but-latest", is_flag=True, help="Every version but the latest of each object.")
@older_than("The same, but only what stopped being the latest so long ago (90s, 15m, 12h, 7d).")
@dry_run
@common
@pass_run
def rm_command(
    run: Run, target: str, *, ids: tuple[str, ...], all_but_latest: bool, older_than: timedelta | None
) -> int:
    """Delete old versions, for good.

    With --version one version of one object goes: if it was the latest the one before it is back, and so is a deleted
    object without the mark of its deletion. Otherwise TARGET is a storage, a folder in it, or the key of an object, and
    what is the latest of each object stays, also where that is a deletion: the object then can no longer be restored.
    The time of --older-than counts from when a version was overwritten or deleted, not from when it was stored.

    \b
    Examples:
      mgs versions rm s3://media/cat.jpg --version 3HL4kqtJvjVBH40Nrjfkd
      mgs versions rm s3://media/photos/ --older-than 30d --dry-run
      mgs versions rm s3://media --all-but-latest
    """  # noqa: D301  # \b keeps click from joining the lines
    if not ids and not all_but_latest and older_than is None:
        raise click.UsageError("say what to delete: --version, --all-but-latest or --older-than")
    if ids and (all_but_latest or older_than is not None):
        raise click.UsageError("--version deletes what it names: leave out --all-but-latest and --older-than")
    with session(run) as this:
        place = this.place(target)
        with tallied(this, "version", "deleted", "would delete") as tally:
            chosen = _named(place, ids) if ids else _old(place, older_than, tally)
            _delete(this, place.store, chosen, tally, alone=len(ids) == 1)
            code = tally.close("would delete" if run.dry_run else "deleted")
        if tally.kept and older_than is not None:
            this.out.note(f"what was kept was overwritten or deleted within the last {duration_text(older_than)}")
        return code


def _named(place: Place, ids: tuple[str, ...]) -> Iterator[ObjectInfo]:
    """The versions of one object that have these IDs, all looked up before the first one goes."""
    key = place.object_key()
    wanted = dict.fromkeys(ids)
    found: list[ObjectInfo] = []
    for each in _of_key(place.store, key):
        if each.info.version in wanted:
            del wanted[each.info.version]
            found.append(each.info)
        if not wanted:
            return iter(found)
    raise NotFoundError(
        f"there is no version {next(iter(wanted))!r}; `mgs versions ls` shows those there are, and nothing was deleted",
        key=key,
        store=place.store.description,
    )


def _old(place: Place, age: timedelta | None, tally: Tally) -> Iterator[ObjectInfo]:
    """What is not the latest, and has not been for so long."""
    now, keys = utc_now(), _Keys(place.store)
    for each in _versions(place):
        if each.latest:
            keys.begin(each.info)
        # One without an ID was stored before versions were: without an ID only the object itself could be deleted.
        elif each.info.version is not None and keys.trusted:
            if not is_older(each.replaced, age, now):
                tally.kept += 1
                continue
            try:
                keys.prove(each.info)
            except StorageError as error:
                tally.failed(error)
                continue
            yield each.info
    if not keys.begun and place.key:
        raise nothing_there(place.store, place.key)


class _Keys:
    """Whether a listing shows the latest version of each key first, as it promises: what comes after it is deleted.

    Some servers show the mark of a deletion as the latest after the object has come back; one request for each key
    that is deleted finds that out.
    """

    def __init__(self, store: Storage) -> None:
        self.begun = False
        #: Whether more of this key may be deleted.
        self.trusted = True
        self._store = store
        self._latest = ObjectInfo("")
        self._looked = False

    def begin(self, latest: ObjectInfo) -> None:
        """The first version of the next key."""
        self.begun, self.trusted, self._latest, self._looked = True, True, latest, not latest.deleted

    def prove(self, other: ObjectInfo) -> None:
        """Raise where ``other``, which came later in the listing, may not be older; the key is then not trusted."""
        latest, self.trusted = self._latest, False
        newer = latest.modified is not None and other.modified is not None and other.modified > latest.modified
        if newer or (not self._looked and self._store.exists(latest.key)):
            raise IntegrityError(
                "the server does not list the latest version first: nothing more of this object is deleted",
                key=latest.key,
                store=self._store.description,
            )
        self.trusted = self._looked = True


def _delete(this: Session, store: Storage, chosen: Iterator[ObjectInfo], tally: Tally, *, alone: bool) -> None:
    if this.run.dry_run:
        for info in chosen:
            _tell_deleted(this, store, tally, info)
        return
    begun: deque[ObjectInfo] = deque()

    def named() -> Iterator[tuple[str, str]]:
        for info in chosen:
            begun.append(info)
            yield info.key, info.version or ""

    for _, _, error in store.delete_versions(named(), limits=this.limits):
        info = begun.popleft()
        if error is None:
            _tell_deleted(this, store, tally, info)
        elif alone:
            raise error
        else:
            tally.failed(error)


def _tell_deleted(this: Session, store: Storage, tally: Tally, info: ObjectInfo) -> None:
    tally.add(0 if info.deleted else info.size)
    dry = this.run.dry_run
    if this.run.json:
        status = "planned" if dry else "deleted"
        fields: dict[str, JSON] = {"key": info.key, "version": info.version, "size": info.size, "status": status}
        this.out.record("delete", fields)
    elif dry:
        this.out.line(f"delete {store.description.rstrip('/')}/{info.key} {info.version} ({_words(info)})")
    elif this.run.verbose:
        this.out.note(f"deleted {info.key} {info.version}")


def _words(info: ObjectInfo) -> str:
    what = "the mark of a deletion" if info.deleted else "" if info.size is None else human_bytes(info.size)
    return ", ".join(part for part in (what, f"stored {when(info.modified)}") if part)


# ---- what they share


def _versions(place: Place) -> Iterator[_Version]:
    """Every version of the object ``place`` and of everything in the folder of that name, sorted by key, newest first."""
    key = place.key
    if key and not place.contents:
        yield from _of_key(place.store, key)
        key = f"{key}/"
    yield from _marked(place.store.list(key, versions=True))


def _of_key(store: Storage, key: str) -> Iterator[_Version]:
    """Every version of exactly this object. Of all keys with this prefix it is the first."""
    return _marked(takewhile(lambda each: each.key == key, store.list(key, versions=True)))


def _marked(infos: Iterator[ObjectInfo]) -> Iterator[_Version]:
    """Which is the latest of its key, and since when the others are not."""
    for _, versions in groupby(infos, key=attrgetter("key")):
        newer: ObjectInfo | None = None
        for info in versions:
            yield _Version(info, newer is None, None if newer is None else newer.modified)
            newer = info
