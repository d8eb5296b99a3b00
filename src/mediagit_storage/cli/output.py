"""Where a command's words go: data to stdout, everything else to stderr, for people or as JSON Lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from mediagit_storage.cli.text import human_bytes, plural, printable
from mediagit_storage.types import JSON, Attributes, ObjectInfo, PendingUpload

__all__ = ["SCHEMA_VERSION", "Output", "encoded_line", "error_record", "object_record", "timestamp", "upload_record"]

#: The number in every line: it changes when a field changes its meaning or goes away, not when one is added.
SCHEMA_VERSION: Final = 1
#: Beginnings of verbs after which the bytes are of what lies there, and have no speed.
_NOTHING_TRAVELLED: Final = ("would", "deleted")


class Output:
    """The two streams of a command. ``json`` makes every line a JSON object, ``quiet`` leaves out what is no data."""

    def __init__(self, *, json: bool = False, quiet: bool = False, verbose: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        self.verbose = verbose

    def line(self, text: str) -> None:
        """A line of data for people; everything that does not print is escaped."""
        sys.stdout.write(printable(text) + "\n")

    def record(self, kind: str, fields: Mapping[str, JSON]) -> None:
        """A line of data for programs."""
        sys.stdout.write(encoded_line(kind, fields))

    def flush(self) -> None:
        """Hand on what was written: for those who wait for it at the other end of a pipe."""
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Something to know that is no data: on stderr, for people only, and not when it is to be quiet."""
        if not self.quiet and not self.json:
            sys.stderr.write(f"mgs: {printable(text)}\n")

    def error(self, text: str, record: Mapping[str, JSON]) -> None:
        """Something that went wrong: always on stderr."""
        if self.json:
            sys.stderr.write(encoded_line("error", record))
        else:
            sys.stderr.write(f"mgs: {printable(text)}\n")

    def summary(self, verb: str, objects: int, size: int, seconds: float, others: Mapping[str, int]) -> None:
        """The closing line: objects, bytes, seconds and speed (where bytes travelled), and what else there is to count."""
        speed = size / 1e6 / max(seconds, 1e-9)
        if self.json:
            fields: dict[str, JSON] = {"verb": verb, "objects": objects, "bytes": size, "seconds": round(seconds, 3)}
            self.record("summary", {**fields, "mb_per_second": round(speed, 1), **others})
            return
        amount = f", {human_bytes(size)}" if size else ""
        rate = f" ({speed:,.1f} MB/s)" if size and not verb.startswith(_NOTHING_TRAVELLED) else ""
        rest = "".join(f", {count:,} {name.replace('_', ' ')}" for name, count in others.items() if count)
        self.note(f"{verb} {plural(objects)}{amount} in {seconds:.2f} s{rate}{rest}")


def encoded_line(kind: str, fields: Mapping[str, JSON]) -> str:
    """A line of JSON with its end, as programs get it."""
    # ASCII only: whatever the locale is, and names that are no UTF-8 come back exactly from Python's json.
    return json.dumps({"v": SCHEMA_VERSION, "type": kind, **fields}, separators=(",", ":")) + "\n"


def object_record(info: ObjectInfo) -> dict[str, JSON]:
    """What is known about an object; what was not fetched is left out."""
    fields: dict[str, JSON] = {"key": info.key}
    known: dict[str, JSON] = {
        "size": info.size,
        "stored_size": info.stored_size,
        "modified": _time(info.modified),
        "etag": info.etag,
        "version": info.version,
        "checksum": None if info.checksum is None else str(info.checksum),
    }
    fields.update({name: value for name, value in known.items() if value is not None})
    if info.deleted:
        fields["deleted"] = True
    if info.attributes is not None:
        fields["attributes"] = attributes_record(info.attributes)
    return fields


def upload_record(upload: PendingUpload, status: str) -> dict[str, JSON]:
    """What is known about an unfinished upload; what was not told is left out."""
    known: dict[str, JSON] = {
        "key": upload.key,
        "upload": upload.id,
        "started": _time(upload.started),
        "active": _time(upload.active),
        "size": upload.size,
        "status": status,
    }
    return {name: value for name, value in known.items() if value is not None}


def attributes_record(attributes: Attributes) -> dict[str, JSON]:
    """The fields that hold something."""
    fields: dict[str, JSON] = {}
    for name in sorted(attributes.named()):
        value = getattr(attributes, name)
        fields[name] = value if isinstance(value, str) else dict(value)
    return fields


def error_record(error: BaseException, code: int, message: str, hint: str) -> dict[str, JSON]:
    """An error as a program wants it."""
    fields: dict[str, JSON] = {"error": type(error).__name__, "message": message, "code": code}
    for name in ("operation", "key", "store"):
        value = getattr(error, name, None)
        if isinstance(value, str):
            fields[name] = value
    fields["retryable"] = bool(getattr(error, "retryable", False))
    if hint:
        fields["hint"] = hint
    return fields


def timestamp(moment: datetime) -> str:
    """A time as programs get it."""
    return moment.isoformat().replace("+00:00", "Z")


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else timestamp(moment)
