"""Manifests: a sorted list of keys, sizes and BLAKE3 digests, as lines of JSON that are the same for the same objects.

The first line says what it is, each line between is one object below the folder that was listed, and the last line counts
them, so that a list that was cut off is seen. Nothing of the place or time is in it: two equal stores have the same manifest
byte for byte, and a signature of the file (``minisign``, ``gpg``) is a signature of the contents.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TextIO

from mediagit_storage.errors import ConfigError, IntegrityError
from mediagit_storage.tools.contents import digest_of
from mediagit_storage.tools.plan import Found
from mediagit_storage.tools.sides import Side
from mediagit_storage.tools.threads import in_order
from mediagit_storage.types import JSON

__all__ = ["ManifestEntry", "entries_of", "manifest_lines", "read_manifest"]

_FORMAT: Final = 1
_ALGORITHM: Final = "blake3"
#: A line is a key of at most a few thousand characters and two numbers.
_LONGEST_LINE: Final = 64 * 1024


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
    objects = size = 0
    yield _line({"manifest": _FORMAT, "digest": _ALGORITHM})
    for entry in entries:
        objects += 1
        size += entry.size
        yield _line(entry._asdict())
    yield _line({"objects": objects, "bytes": size})


def read_manifest(path: Path) -> Iterator[ManifestEntry]:
    """The objects of a manifest, in order. It is checked whole before the first: what is cut off would look like deletions.

    Raises `ConfigError` for a file that is none or cannot be read, and `IntegrityError` for one that was cut off or changed.
    """
    for _ in _checked(path):
        pass
    return _checked(path)


def _checked(path: Path) -> Iterator[ManifestEntry]:
    objects = size = 0
    with _open(path) as file:
        first = _parsed(file.readline(_LONGEST_LINE), path, 1)
        if first.get("manifest") != _FORMAT or first.get("digest") != _ALGORITHM:
            raise ConfigError(f"{path} is no manifest of a kind that is known here")
        for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE), ""), 2):
            fields = _parsed(line, path, number)
            if "objects" in fields:
                if (fields["objects"], fields.get("bytes")) != (objects, size) or file.readline(1):
                    raise IntegrityError(f"{path} does not end as it counts: it was changed")
                return
            entry = _entry_of(fields, path, number)
            objects, size = objects + 1, size + entry.size
            yield entry
    raise IntegrityError(f"{path} was cut off: its last line is missing")


def _open(path: Path) -> TextIO:
    try:
        return path.open(encoding="ascii", errors="replace")
    except OSError as error:
        raise ConfigError(f"the manifest {path} cannot be read: {error.strerror}") from None


def _parsed(line: str, path: Path, number: int) -> dict[str, JSON]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise ConfigError(f"line {number} of {path} is no line of a manifest")
    return fields


def _entry_of(fields: dict[str, JSON], path: Path, number: int) -> ManifestEntry:
    name, size, digest = fields.get("name"), fields.get("size"), fields.get("blake3")
    well_formed = isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest)
    if not isinstance(name, str) or not isinstance(size, int) or size < 0 or not well_formed:
        raise ConfigError(f"line {number} of {path} is no line of a manifest")
    return ManifestEntry(name, size, str(digest))


def _line(fields: Mapping[str, JSON]) -> str:
    # ASCII, in the order in which the fields are given: the same objects make the same bytes.
    return json.dumps(fields, separators=(",", ":")) + "\n"
