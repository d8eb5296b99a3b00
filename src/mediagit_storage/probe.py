"""What `Storage.check` tries on every storage: list, write, read back, compare clocks, delete."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from typing import Final

from mediagit_storage.backend import StorageBackend
from mediagit_storage.clock import Clock
from mediagit_storage.errors import BucketNotFoundError, StorageError, UnauthenticatedError
from mediagit_storage.source import BytesSource
from mediagit_storage.types import DeleteOptions, Finding, FindingLevel, ListOptions, PutOptions, ReadOptions

__all__ = ["probe", "says_what_to_do"]

#: A difference of clocks up to this many seconds is normal.
_SKEW_SECONDS: Final = 60
_INSTRUCTION: Final = re.compile(
    r"(?:^|[:;,(] (?:or |and )?)(?:allow|ask|check|choose|create|delete|enable|free|give|install|look into|name|open|pip"
    r"|raise|restore|run|send|set|shorten|sign|start|try|use|wait|write) "
)
_CONTENT: Final = b"mediagit-storage check: this object may be deleted\n"


def probe(backend: StorageBackend, clock: Clock, *, write: bool) -> Iterator[Finding]:
    """Try what a user needs, cheapest first. Never raises a `StorageError`: a failure is a finding.

    Writes and deletes one small object ``mgs-check-RANDOM`` when ``write`` is true, and nothing otherwise.
    """
    started = clock.monotonic()
    try:
        first = next(iter(backend.list("", ListOptions())), None)
    except StorageError as error:
        yield _failed("list", error)
        return
    milliseconds = (clock.monotonic() - started) * 1000
    yield Finding("list", FindingLevel.OK, f"{'empty' if first is None else 'has objects'}, {milliseconds:.1f} ms")
    if write:
        yield from _write_probe(backend, clock)
    yield from backend.check()


def _write_probe(backend: StorageBackend, clock: Clock) -> Iterator[Finding]:
    key = f"mgs-check-{secrets.token_hex(8)}"
    try:
        info = backend.put(key, BytesSource(_CONTENT), PutOptions())
    except StorageError as error:
        yield _failed("write", error)
        return
    yield Finding("write", FindingLevel.OK, f"stored {len(_CONTENT)} bytes")
    try:
        if backend.read(key, ReadOptions()).data == _CONTENT:
            yield Finding("read", FindingLevel.OK, "the same bytes came back")
        else:
            yield Finding("read", FindingLevel.FAILED, "other bytes came back", "do not trust this storage")
        if info.modified is not None:
            yield _skew(clock.now_ns() / 1e9 - info.modified.timestamp())
    except StorageError as error:
        yield _failed("read", error)
    try:
        backend.delete(key, DeleteOptions())
        yield Finding("delete", FindingLevel.OK, "the probe is gone again")
    except StorageError as error:
        yield _failed("delete", error)


def _skew(seconds: float) -> Finding:
    if abs(seconds) <= _SKEW_SECONDS:
        return Finding("clock", FindingLevel.OK, f"{seconds:+.1f} s from the storage's clock")
    return Finding(
        "clock",
        FindingLevel.WARNING,
        f"{seconds:+.0f} s from the storage's clock",
        "set this machine's clock (NTP): signatures and ages of objects depend on it",
    )


def says_what_to_do(message: str) -> bool:
    """Whether a part of a message begins like an instruction (``...; check its name``): no other is added to it.

    What a storage or the way to it knows is better than what the kind of an error allows to guess.
    """
    return _INSTRUCTION.search(message) is not None


def _failed(name: str, error: StorageError) -> Finding:
    if says_what_to_do(error.message):
        advice = ""
    elif isinstance(error, BucketNotFoundError):
        advice = "create it with `mgs mb`, or check its name"
    elif isinstance(error, UnauthenticatedError):
        advice = "check the credentials"
    elif isinstance(error, PermissionError):
        advice = f"allow this user to {name}, or do without it"
    else:
        advice = ""
    return Finding(name, FindingLevel.FAILED, error.message, advice)
