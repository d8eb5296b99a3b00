"""Manifests: a sorted list of keys, sizes and BLAKE3 digests, as lines of JSON that are the same for the same objects.

The first line says what it is, each line between is one object below the folder that was listed, and the last line counts
them, so that a list that was cut off is seen. Nothing of the place or time is in it: two equal stores have the same manifest
byte for byte, and a signature of the file (``minisign``, ``gpg``) is a signature of the contents.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from mediagit_storage.tools.contents import digest_of
from mediagit_storage.tools.counted import counted_lines, read_counted, refuse_line
from mediagit_storage.tools.plan import Found
from mediagit_storage.tools.sides import Side
from mediagit_storage.tools.threads import in_order
from mediagit_storage.types import JSON

__all__ = ["ManifestEntry", "entries_of", "manifest_lines", "read_manifest"]

_ALGORITHM: Final = "blake3"
_HEAD: Final[Mapping[str, JSON]] = {"manifest": 1, "digest": _ALGORITHM}
_WHAT: Final = "manifest"
#: Halves of characters that no name has: those of bytes that are no UTF-8 are the others, from DC80 to DCFF.
_STRAY: Final = re.compile("[\ud800-\udc7f\udd00-\udfff]")


class ManifestEntry(NamedTuple):
    """One object: its name below the folder, its size in bytes, and the BLAKE3 of its content in hexadecimal digits."""

    name: str
    size: int
    blake3: str


def entries_of(side: Side, concurrency: int = 16) -> Iterator[ManifestEntry]:
    """What a manifest says of each object of a folder, in order. Every byte is read, several objects at once.

    Raises what reading raises: a manifest of a part would be taken for one of the whole.
    """
    return in_order(side.required(), partial(_entry, side), concurrency)


def _entry(side: Side, found: Found) -> ManifestEntry:
    read = digest_of(side.store, found.info.key, _ALGORITHM, size=found.info.size or 0)
    return ManifestEntry(found.name, read.size, read.checksum.digest.hex())


def manifest_lines(entries: Iterable[ManifestEntry]) -> Iterator[str]:
    """The lines of a manifest, each with its end."""
    return counted_lines(_HEAD, (entry._asdict() for entry in entries))


def read_manifest(path: Path) -> Iterator[ManifestEntry]:
    """The objects of a manifest, in order. It is checked whole before the first: what is cut off would look like deletions.

    Raises `ConfigError` for a file of another kind or one that cannot be read, `IntegrityError` for one that was cut off or
    changed.
    """
    for _ in _entries(path):
        pass
    return _entries(path)


def _entries(path: Path) -> Iterator[ManifestEntry]:
    return (_entry_of(record, path) for record in read_counted(path, _HEAD, _WHAT))


def _entry_of(record: Mapping[str, JSON], path: Path) -> ManifestEntry:
    name, size, digest = (record.get(field) for field in ManifestEntry._fields)
    if not isinstance(name, str) or not isinstance(size, int) or size < 0 or not isinstance(digest, str):
        refuse_line(path, _WHAT)
    if re.fullmatch(r"[0-9a-f]{64}", digest) is None or _STRAY.search(name) is not None:
        refuse_line(path, _WHAT)
    return ManifestEntry(name, size, digest)
