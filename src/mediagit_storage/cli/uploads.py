"""``mgs uploads``: what was begun and never ended, which costs space until somebody aborts it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import click

from mediagit_storage.cli.durations import duration_text, older_than, utc_now
from mediagit_storage.cli.framework import Group, Run, common, complete_target, dry_run, pass_run
from mediagit_storage.cli.many import Tally, each_reported, tallied
from mediagit_storage.cli.output import upload_record
from mediagit_storage.cli.session import Place, Session, session
from mediagit_storage.cli.text import human_bytes, plural, when
from mediagit_storage.errors import NotFoundError
from mediagit_storage.storage import Storage
from mediagit_storage.tools.threads import in_order
from mediagit_storage.tools.uploads import EndedUpload, aborted, begun_before, is_older, last_active, looked_at
from mediagit_storage.types import PendingUpload

__all__ = ["command"]

#: What nothing has arrived for in so long, nobody is sending any more.
_STALE: Final = timedelta(days=1)


@click.group("uploads", cls=Group)
def command() -> None:
    """List and abort uploads that were begun and never ended.

    A program that was killed while it sent a large object leaves the parts that had arrived. Nobody sees them in a
    listing, and they cost space until the upload is completed or aborted.
    """


@command.command("ls")
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True, shell_complete=complete_target)
@older_than("Only those that nothing has arrived for in so long (90s, 15m, 12h, 7d).")
@common
@pass_run
def ls_command(run: Run, targets: tuple[str, ...], *, older_than: timedelta | None) -> int:
    """List unfinished uploads.

    TARGET is a storage, a folder in it, or the key of an object. A line is: the bytes that have arrived (a dash where
    the storage does not tell), when the upload was begun and when something last arrived (UTC), its key, and its ID.

    \b
    Examples:
      mgs uploads ls s3://media
      mgs uploads ls s3://media/incoming/ --older-than 7d --json
    """  # noqa: D301  # \b keeps click from joining the lines
    with session(run) as this:

        def show(text: str) -> None:
            place = this.place(text)
            tell = _Listing(this)
            for upload in _known(this, place.store, begun_before(_pending(place), older_than, utc_now())):
                if is_older(last_active(upload), older_than, utc_now()):
                    tell.line(upload)
            tell.end(place)

        return each_reported(this, targets, show)


@command.command("abort")
@click.argument("target", shell_complete=complete_target)
@older_than("Only those that nothing has arrived for in so long.  [default: 24h]")
@click.option("--key", "keys", metavar="KEY", multiple=True, help="Only uploads to this key, as `ls` shows it.")
@click.option("--upload", "ids", metavar="ID", multiple=True, help="This upload, however young. May be repeated.")
@click.option("--all", "everything", is_flag=True, help="However young: also what somebody is sending now.")
@dry_run
@common
@pass_run
def abort_command(
    run: Run,
    target: str,
    *,
    older_than: timedelta | None,
    keys: tuple[str, ...],
    ids: tuple[str, ...],
    everything: bool,
) -> int:
    """Abort unfinished uploads and free their space.

    TARGET is a storage, a folder in it, or the key of an object. An upload to which something arrived within the last
    24 hours is left alone, because somebody may still be sending it: --older-than chooses another time, --upload and
    --all leave none out. Nothing is asked; --dry-run shows what would go. Whoever was sending an aborted upload gets
    an error; objects are not touched.

    \b
    Examples:
      mgs uploads abort s3://media --dry-run
      mgs uploads abort s3://media/incoming/ --older-than 7d
      mgs uploads abort s3://media --key incoming/clip.mov --all
    """  # noqa: D301  # \b keeps click from joining the lines
    if everything and older_than is not None:
        raise click.UsageError("--all takes every age: leave out --older-than")
    age = older_than if older_than is not None else None if everything or ids else _STALE
    with session(run) as this:
        place = this.place(target)
        missing = set(ids)
        chosen = _chosen(_pending(place), frozenset(keys), missing)
        with tallied(this, "upload", "aborted", "would abort") as tally:
            for ended in aborted(place.store, chosen, age, concurrency=run.concurrency, dry=run.dry_run):
                _count(this, place.store, tally, ended)
            for upload in sorted(missing):
                _missing(place, tally, upload, alone=len(ids) == 1)
            code = tally.close("would abort" if run.dry_run else "aborted")
        if tally.kept and age is not None:
            span = duration_text(age)
            this.out.note(f"something arrived for what was kept within the last {span}; --all takes it too")
        return code


def _chosen(uploads: Iterator[PendingUpload], keys: frozenset[str], ids: set[str]) -> Iterator[PendingUpload]:
    """Those of these keys and IDs, where any are named. IDs that were met are taken out of ``ids``."""
    named = frozenset(ids)
    for upload in uploads:
        if (not keys or upload.key in keys) and (not named or upload.id in named):
            ids.discard(upload.id)
            yield upload


def _missing(place: Place, tally: Tally, upload: str, *, alone: bool) -> None:
    error = NotFoundError(
        f"there is no unfinished upload with the ID {upload!r}; `mgs uploads ls` shows those there are",
        store=place.store.description,
    )
    if alone:
        raise error
    tally.failed(error)


def _count(this: Session, store: Storage, tally: Tally, ended: EndedUpload) -> None:
    if ended.error is not None:
        tally.failed(ended.error)
    elif ended.status == "kept":
        tally.kept += 1
    elif ended.status == "aborted":
        tally.add(ended.upload.size)
        _tell_aborted(this, store, ended.upload)


def _tell_aborted(this: Session, store: Storage, upload: PendingUpload) -> None:
    dry = this.run.dry_run
    if this.run.json:
        this.out.record("upload", upload_record(upload, "planned" if dry else "aborted"))
        return
    size = "" if upload.size is None else f"{human_bytes(upload.size)}, "
    text = f"{upload.key} {upload.id} ({size}begun {duration_text(utc_now() - upload.started)} ago)"
    if dry:
        this.out.line(f"abort {store.description.rstrip('/')}/{text}")
    elif this.run.verbose:
        this.out.note(f"aborted {text}")


class _Listing:
    """Writes uploads as they come, and counts them."""

    def __init__(self, this: Session) -> None:
        self._this = this
        self._count = 0
        self._bytes = 0
        self._unknown = False
        self._oldest: datetime | None = None

    def line(self, upload: PendingUpload) -> None:
        """One upload."""
        self._count += 1
        self._bytes += upload.size or 0
        self._unknown |= upload.size is None
        self._oldest = upload.started if self._oldest is None else min(self._oldest, upload.started)
        if self._this.run.json:
            self._this.out.record("upload", upload_record(upload, "pending"))
            return
        size = "-" if upload.size is None else f"{upload.size:,}"
        times = f"{when(upload.started)}  {when(upload.active):19}"
        self._this.out.line(f"{size:>14}  {times}  {upload.key}  {upload.id}")

    def end(self, place: Place) -> None:
        """How many, how much, how old."""
        if self._oldest is None:
            self._this.out.note(f"no unfinished uploads in {place.text}")
            return
        amount = f", {'at least ' if self._unknown else ''}{human_bytes(self._bytes)}" if self._bytes else ""
        age = duration_text(utc_now() - self._oldest)
        self._this.out.note(f"{plural(self._count, 'unfinished upload')}{amount}, the oldest begun {age} ago")


def _pending(place: Place) -> Iterator[PendingUpload]:
    """The uploads to the key of ``place`` and to everything in the folder of that name."""
    key = place.key
    found = place.store.pending_uploads(key)
    if not key or place.contents:
        return found
    return (each for each in found if each.key == key or each.key.startswith(f"{key}/"))


def _known(this: Session, store: Storage, uploads: Iterator[PendingUpload]) -> Iterator[PendingUpload]:
    """With what has arrived of each and when, where that can be known; without those that ended meanwhile."""
    found = in_order(uploads, partial(looked_at, store, strict=False), this.run.concurrency)
    return (each for each in found if each is not None)
