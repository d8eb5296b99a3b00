"""Uploads that were begun and never ended: how old they are, and aborting those that nobody sends any more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal, NamedTuple

from mediagit_storage.errors import AccessError, BucketNotFoundError, NotFoundError
from mediagit_storage.storage import Storage
from mediagit_storage.tools.threads import in_order
from mediagit_storage.types import PendingUpload

__all__ = ["EndedUpload", "aborted", "begun_before", "is_older", "last_active", "looked_at"]


class EndedUpload(NamedTuple):
    """What became of one upload.

    ``kept``: something arrived for it too lately. ``gone``: it ended meanwhile.
    """

    upload: PendingUpload
    status: Literal["aborted", "kept", "gone", "failed"]
    error: Exception | None = None


def aborted(
    store: Storage, uploads: Iterable[PendingUpload], age: timedelta | None, *, concurrency: int, dry: bool
) -> Iterator[EndedUpload]:
    """Abort those of ``uploads`` for which nothing arrived for so long, each after a closer look; None aborts all.

    One that fails does not stop the others. With ``dry`` nothing is aborted, and what would be is told as if it were.
    """
    return in_order(uploads, partial(_abort, store, age, dry=dry), concurrency)


def _abort(store: Storage, age: timedelta | None, upload: PendingUpload, *, dry: bool) -> EndedUpload:
    try:
        if not is_older(upload.started, age, _now()):
            return EndedUpload(upload, "kept")
        # Where the age does not matter, neither does a look that is not allowed.
        found = looked_at(store, upload, strict=age is not None)
        if found is None:
            return EndedUpload(upload, "gone")
        if not is_older(last_active(found), age, _now()):
            return EndedUpload(found, "kept")
        if not dry:
            store.abort_upload(found)
    except Exception as error:  # noqa: BLE001  # told with the others at the end
        return EndedUpload(upload, "failed", error)
    return EndedUpload(found, "aborted")


def begun_before(uploads: Iterable[PendingUpload], age: timedelta | None, now: datetime) -> Iterator[PendingUpload]:
    """Those that were begun so long ago: of the others nothing more needs to be asked."""
    return (each for each in uploads if is_older(each.started, age, now))


def looked_at(store: Storage, upload: PendingUpload, *, strict: bool) -> PendingUpload | None:
    """The same with what has arrived of it and when; None when it has ended.

    To list uploads and to look into them are two permissions: without the second it comes as it is, unless ``strict``.
    """
    try:
        return store.stat_upload(upload)
    except BucketNotFoundError:
        raise
    except NotFoundError:
        return None
    except AccessError:
        if strict:
            raise
        return upload


def last_active(upload: PendingUpload) -> datetime:
    """When something last arrived for it, as far as is known."""
    return upload.started if upload.active is None else max(upload.started, upload.active)


def is_older(moment: datetime | None, span: timedelta | None, now: datetime) -> bool:
    """Whether ``moment`` lies that long before ``now``. Without a span everything does; an unknown moment never."""
    if span is None:
        return True
    return moment is not None and now - moment >= span


def _now() -> datetime:
    return datetime.now(UTC)
