"""What a backend or a stack of layers can do, as data that can be asked before anything is tried."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from mediagit_storage.keys import MAX_KEY_BYTES
from mediagit_storage.types import Attributes, PresignMethod

__all__ = ["ALL_ATTRIBUTES", "EVERYTHING", "Capabilities"]

#: Every field of `Attributes`.
ALL_ATTRIBUTES: Final = frozenset(field.name for field in fields(Attributes))


@dataclass(frozen=True, slots=True)
class Capabilities:
    """One flag per thing that only some storages can do. A call outside of them is an `UnsupportedError` at once.

    ===================== ==========================================================================================
    ``if_absent``         create-only writes, atomic
    ``if_match``          writes on condition of the current ETag, atomic
    ``delete_if_match``   deletes on condition of the current ETag
    ``read_conditions``   ``if_match`` and ``if_none_match`` on reads
    ``exact_etags``       two bodies of a key never have the same ETag, and a put tells that of its own; on unless a
                          storage takes it away: ETags made of a time and a size can repeat
    ``copy_if_absent``    create-only copies
    ``versions``          several versions of a key: list, read, delete one
    ``retention``         retention dates and legal holds
    ``attributes``        the fields of `Attributes` that are kept
    ``presign``           the methods a link can be made for
    ``server_copy``       copies without moving the bytes through this machine
    ``server_rename``     an atomic move of one object
    ``batch``             many objects at once without a thread each (`StorageBackend.batch`)
    ``pending_uploads``   unfinished uploads can be listed and aborted
    ``late_metadata``     metadata may be decided when the body has been read (commit-time metadata)
    ``replace_head``      the first bytes can be replaced without moving the rest
    ``parallel_reads``    one object comes quicker as several ranges side by side: large downloads do that, and resume
    ``resumable_uploads`` a large upload that was broken off can be continued (`PutOptions.resume`)
    ``raw_keys``          any key at all can be written, also ``a//b`` and ``folder/``
    ``nested_keys``       ``a`` and ``a/b`` may exist side by side
    ``max_key_bytes``     longest key
    ``max_object_size``   largest object in bytes, None where unknown
    ===================== ==========================================================================================
    """

    if_absent: bool = False
    if_match: bool = False
    delete_if_match: bool = False
    read_conditions: bool = False
    exact_etags: bool = True
    copy_if_absent: bool = False
    versions: bool = False
    retention: bool = False
    attributes: frozenset[str] = frozenset()
    presign: frozenset[PresignMethod] = frozenset()
    server_copy: bool = False
    server_rename: bool = False
    batch: bool = False
    pending_uploads: bool = False
    late_metadata: bool = False
    replace_head: bool = False
    parallel_reads: bool = False
    resumable_uploads: bool = False
    raw_keys: bool = False
    nested_keys: bool = True
    max_key_bytes: int = MAX_KEY_BYTES
    max_object_size: int | None = None


#: What a storage would promise that lacks nothing.
EVERYTHING: Final = Capabilities(
    if_absent=True,
    if_match=True,
    delete_if_match=True,
    read_conditions=True,
    copy_if_absent=True,
    versions=True,
    retention=True,
    attributes=ALL_ATTRIBUTES,
    presign=frozenset({"GET", "PUT", "DELETE"}),
    server_copy=True,
    server_rename=True,
    batch=True,
    pending_uploads=True,
    late_metadata=True,
    replace_head=True,
    parallel_reads=True,
    resumable_uploads=True,
    raw_keys=True,
)
