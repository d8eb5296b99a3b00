"""ETags of two storages as those of one: which storage each is of can be told from the token itself. Pure functions.

Two storages may give the same ETag to different content: both count writes, or tell times. So an ETag of the old one
is told with `_OLD` behind it. One of the new storage is told as it is; only where it ends like a mark itself (a new
storage that is being migrated to, too) does it get `_NEW`. The marks stand at the end, since the beginning of an ETag
says whether it is a weak one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from mediagit_storage.types import ObjectInfo

__all__ = ["of_new", "of_old", "told_of_new", "told_of_old"]

_OLD: Final = "~old"
_NEW: Final = "~new"


def told_of_old(info: ObjectInfo) -> ObjectInfo:
    """What callers are told of an object that lies in the old storage. Its version would name nothing in the new one."""
    etag = None if info.etag is None else info.etag + _OLD
    return replace(info, etag=etag, version=None)


def told_of_new(info: ObjectInfo) -> ObjectInfo:
    """What callers are told of an object that lies in the new storage: the very same, nearly always."""
    if info.etag is None or not info.etag.endswith((_OLD, _NEW)):
        return info
    return replace(info, etag=info.etag + _NEW)


def of_old(etag: str | None) -> str | None:
    """The old storage's own ETag that a caller's stands for; None if it is of the new storage, or there is none."""
    return etag.removesuffix(_OLD) if etag is not None and etag.endswith(_OLD) else None


def of_new(etag: str | None) -> str | None:
    """The new storage's own ETag that a caller's stands for; None if it is of the old storage, or there is none."""
    return None if etag is None or etag.endswith(_OLD) else etag.removesuffix(_NEW)
