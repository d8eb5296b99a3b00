"""What `Storage.check` tries on every storage: list, write, read, conditions, clocks, delete, and how long that takes."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Final, TypeVar

from mediagit_storage.backend import BatchLimits, DeleteOperation, StorageBackend
from mediagit_storage.batch import Planned, run_batch
from mediagit_storage.capabilities import ALL_ATTRIBUTES, Capabilities
from mediagit_storage.clock import Clock
from mediagit_storage.errors import (
    AccessError,
    AlreadyExistsError,
    BucketNotFoundError,
    CancelledError,
    IntegrityError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    StorageError,
    UnauthenticatedError,
    UnavailableError,
)
from mediagit_storage.scope import aside
from mediagit_storage.source import BytesSource
from mediagit_storage.types import (
    WHOLE,
    ByteRange,
    DeleteOptions,
    Finding,
    FindingLevel,
    ListOptions,
    ObjectInfo,
    PutOptions,
    ReadOptions,
)

__all__ = ["erase_versions", "probe", "says_what_to_do"]

T = TypeVar("T")

#: A difference of clocks up to this many seconds is normal.
_SKEW_SECONDS: Final = 60
#: A small request that takes longer than this many milliseconds is worth a word.
_SLOW: Final = 1000.0
#: How many small requests the latency is told from: an odd number, of which one is in the middle.
_LOOKS: Final = 5
#: Seconds for taking the probe away when something ended the check early.
_CLEAN_UP: Final = 10.0
_INSTRUCTION: Final = re.compile(
    r"(?:^|[:;,(] (?:or |and )?)(?:allow|ask|check|choose|create|delete|enable|free|give|install|look into|name|open|pip"
    r"|raise|restore|run|send|set|shorten|sign|start|try|use|wait|write) "
)
_CONTENT: Final = b"mediagit-storage check: this object may be deleted\n"
#: Of another length, so that no storage takes one for the other.
_OTHER: Final = b"mediagit-storage check: this object may be deleted, too\n"
_PART: Final = ByteRange(17, 5)
_DISTRUST: Final = "do not trust this storage"
_CONDITIONS: Final = "open the storage with conditional_writes=false, and report this to whoever runs it"
#: What a storage may be able to do, in words.
_ABILITIES: Final = {
    "if_absent": "create-only writes",
    "if_match": "conditional writes",
    "delete_if_match": "conditional deletes",
    "read_conditions": "conditional reads",
    "versions": "versions",
    "retention": "retention",
    "server_copy": "copies of its own",
    "pending_uploads": "lists unfinished uploads",
    "resumable_uploads": "resumes uploads",
    "presign": "links",
}


def probe(backend: StorageBackend, clock: Clock, *, write: bool) -> Iterator[Finding]:
    """Try what a user needs, cheapest first. A failure is a finding; only `CancelledError` is raised.

    Writes, overwrites and deletes one small object ``mgs-check-RANDOM`` when ``write`` is true, with about 15 requests, and
    some more to delete its versions where the storage keeps them; otherwise it changes nothing, and reads a byte of the
    first object that is listed. The object is deleted also when the check is cancelled.
    """
    tried = _Probe(backend, clock)
    try:
        first = tried.timed(lambda: next(iter(backend.list("", ListOptions())), None))
    except CancelledError:
        raise
    except StorageError as error:
        yield _failed("list", error)
        if isinstance(error, UnauthenticatedError):
            yield from _health(backend)  # it knows whose credentials these are
        if not isinstance(error, PermissionDeniedError):
            return  # nothing else would work, either
        first = None
    else:
        yield Finding("list", FindingLevel.OK, f"{'empty' if first is None else 'has objects'}, {tried.took}")
    if write:
        yield from tried.writing()
    elif first is not None:
        yield from tried.reading(first)
    yield _capabilities(backend.capabilities)
    yield from _health(backend)


def _health(backend: StorageBackend) -> Iterator[Finding]:
    try:
        yield from backend.check()
    except CancelledError:
        raise
    except StorageError as error:
        yield _failed("health", error)


def erase_versions(backend: StorageBackend, prefix: str) -> None:
    """Delete every version that a storage keeps below a prefix, and the marks of deletions.

    For what was written for a trial, under a prefix that nobody else has. Raises the first failure, and `IntegrityError`
    where versions stay although nothing failed.
    """
    if not backend.capabilities.versions:
        return
    # Some services make marks up from the versions that are there, and take the deletion of a mark for a restoration: so
    # marks go last, and only where they are all there is.
    for marks in (False, True):
        found = [each for each in backend.list(prefix, ListOptions(versions=True)) if each.version is not None]
        if not found:
            return
        if marks and not all(each.deleted for each in found):
            raise IntegrityError("versions were deleted, and are still there")
        chosen = ((each.key, DeleteOptions(each.version)) for each in found if each.deleted is marks)
        planned = (Planned(key, DeleteOperation(key, options)) for key, options in chosen)
        for result in run_batch(backend, planned, BatchLimits()):
            if result.error is not None:
                raise result.error


class _Probe:
    """Tries one storage, with one small object. ``took`` says how long the last request did."""

    def __init__(self, backend: StorageBackend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock
        self._key = f"mgs-check-{secrets.token_hex(8)}"
        self._last = 0.0

    @property
    def took(self) -> str:
        return f"{self._last:.1f} ms"

    def timed(self, action: Callable[[], T]) -> T:
        started = self._clock.monotonic()
        try:
            return action()
        finally:
            self._last = (self._clock.monotonic() - started) * 1000

    def reading(self, first: ObjectInfo) -> Iterator[Finding]:
        """Look at an object that is there, and read a byte of it: it may be huge."""
        try:
            info = self.timed(lambda: self._backend.stat(first.key))
            yield Finding("stat", FindingLevel.OK, f"an object can be looked at, {self.took}")
            part = ReadOptions(ByteRange(0, 1) if info.size else WHOLE)
            self.timed(lambda: self._backend.read(first.key, part))
            yield Finding("read", FindingLevel.OK, f"a byte can be read, {self.took}")
        except NotFoundError:
            return  # deleted meanwhile
        except CancelledError:
            raise
        except StorageError as error:
            # Of one object only: an archived one, for example.
            grave = isinstance(error, AccessError | IntegrityError)
            found = _failed("read", error)
            yield found if grave else replace(found, level=FindingLevel.WARNING)

    def writing(self) -> Iterator[Finding]:
        """Write the probe, use it, and delete it whatever happens."""
        left = True
        try:
            try:
                info = self.timed(lambda: self._put(_CONTENT))
            except CancelledError:
                raise
            except StorageError as error:
                # What did not come back may have been stored all the same; what was refused was not.
                left = isinstance(error, UnavailableError | IntegrityError)
                yield _failed("write", error)
                return
            yield Finding("write", FindingLevel.OK, f"stored {len(_CONTENT)} bytes, {self.took}")
            yield from self._used(info)
            found = self._deleted(versioned=info.version is not None)
            left = False
            yield found
        finally:
            if left:
                self._removed()

    def _used(self, info: ObjectInfo) -> Iterator[Finding]:
        yield self._tried("read", self._read)
        yield self._tried("range", self._read_range)
        yield self._tried("listed", self._listed)
        if info.modified is not None:
            yield _skew(self._clock.now_ns() / 1e9 - info.modified.timestamp())
        if self._backend.capabilities.if_absent:
            yield self._tried("create-only", self._refused_create)
        overwritten = self._tried("overwrite", self._overwritten)
        yield overwritten
        # What could not be replaced has not changed, and may be written to.
        replaced = overwritten.level is FindingLevel.OK
        if replaced and self._backend.capabilities.if_match and info.etag is not None:
            etag = info.etag
            yield self._tried("conditions", lambda: self._refused_stale(etag))
        yield self._tried("latency", self._latency)

    def _tried(self, name: str, action: Callable[[], Finding]) -> Finding:
        try:
            return replace(action(), name=name)
        except CancelledError:
            raise
        except StorageError as error:
            return _failed(name, error)

    def _read(self) -> Finding:
        data = self.timed(lambda: self._backend.read(self._key, ReadOptions())).data
        if data == _CONTENT:
            return Finding("", FindingLevel.OK, f"the same bytes came back, {self.took}")
        return Finding("", FindingLevel.FAILED, "other bytes came back", _DISTRUST)

    def _read_range(self) -> Finding:
        data = self.timed(lambda: self._backend.read(self._key, ReadOptions(_PART))).data
        if data == _CONTENT[17:22]:
            return Finding("", FindingLevel.OK, f"a part can be read alone, {self.took}")
        return Finding("", FindingLevel.FAILED, "another part came back than was asked for", _DISTRUST)

    def _listed(self) -> Finding:
        found = self.timed(lambda: [each.key for each in self._backend.list(self._key, ListOptions())])
        if found == [self._key]:
            return Finding("", FindingLevel.OK, f"what was written is listed at once, {self.took}")
        return Finding("", FindingLevel.FAILED, "what was written is not listed", _DISTRUST)

    def _refused_create(self) -> Finding:
        try:
            self.timed(lambda: self._put(_OTHER, PutOptions(if_absent=True)))
        except AlreadyExistsError:
            return Finding("", FindingLevel.OK, f"nothing is overwritten where that was asked for, {self.took}")
        return Finding("", FindingLevel.FAILED, "a write that may only create was let through", _CONDITIONS)

    def _overwritten(self) -> Finding:
        self.timed(lambda: self._put(_OTHER))
        return Finding("", FindingLevel.OK, f"an object can be replaced, {self.took}")

    def _refused_stale(self, etag: str) -> Finding:
        try:
            self.timed(lambda: self._put(_CONTENT, PutOptions(if_match=etag)))
        except PreconditionError:
            return Finding("", FindingLevel.OK, f"writes over an object that changed are refused, {self.took}")
        return Finding("", FindingLevel.FAILED, "a write over an object that had changed was let through", _CONDITIONS)

    def _latency(self) -> Finding:
        took = []
        for _ in range(_LOOKS):
            self.timed(lambda: self._backend.stat(self._key))
            took.append(self._last)
        median = sorted(took)[_LOOKS // 2]
        detail = f"{median:.1f} ms for a small request, {max(took):.1f} ms at most"
        if median > _SLOW:
            return Finding(
                "", FindingLevel.WARNING, detail, "use a region that is nearer, or look into the network between"
            )
        return Finding("", FindingLevel.OK, detail)

    def _deleted(self, *, versioned: bool) -> Finding:
        try:
            self.timed(lambda: self._backend.delete(self._key, DeleteOptions()))
        except CancelledError:
            raise
        except StorageError as error:
            found = _failed("delete", error)
            if self._removed():
                return found
            return replace(found, detail=f"{found.detail} (the object {self._key} is left)")
        took = self.took
        try:
            self._backend.stat(self._key)
        except NotFoundError:
            pass
        except CancelledError:
            raise
        except StorageError as error:
            return _failed("delete", error)
        else:
            return Finding("delete", FindingLevel.FAILED, f"{self._key} is still there when it was deleted", _DISTRUST)
        return self._erased(f"the probe is gone again, {took}", versioned=versioned)

    def _erased(self, gone: str, *, versioned: bool) -> Finding:
        """The probe is ``gone``; its versions go as well. ``versioned`` says that it had any, as far as its put told."""
        fine = Finding("delete", FindingLevel.OK, gone)
        try:
            erase_versions(self._backend, self._key)
        except CancelledError:
            raise
        except StorageError as error:
            if isinstance(error, AccessError) and not versioned:
                return fine
            found = replace(_failed("old versions", error), name="delete", level=FindingLevel.WARNING)
            return replace(found, detail=f"{gone}, but not its old versions: {error.message}")
        return fine

    def _removed(self) -> bool:
        """Whether the probe could be deleted in the end, even if the time for this check is over."""

        def remove() -> None:
            self._backend.delete(self._key, DeleteOptions())
            with suppress(StorageError):
                erase_versions(self._backend, self._key)

        with suppress(StorageError):
            aside(remove, _CLEAN_UP)
            return True
        return False

    def _put(self, data: bytes, options: PutOptions | None = None) -> ObjectInfo:
        return self._backend.put(self._key, BytesSource(data), options or PutOptions())


def _capabilities(can: Capabilities) -> Finding:
    able = [words for name, words in _ABILITIES.items() if getattr(can, name)]
    kept = "all attributes" if can.attributes == ALL_ATTRIBUTES else ", ".join(sorted(can.attributes)).replace("_", " ")
    largest = "" if can.max_object_size is None else f"; objects up to {can.max_object_size:,} bytes"
    return Finding(
        "capabilities",
        FindingLevel.OK,
        f"{', '.join(able) or 'nothing special'}; keeps {kept or 'no attributes'}{largest}",
    )


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
        advice = f"allow this user to {_ASKED.get(name, name)}, or do without it"
    else:
        advice = ""
    return Finding(name, FindingLevel.FAILED, error.message, advice)


#: What a permission is called where the name of the finding does not say it.
_ASKED: Final = {
    "range": "read",
    "listed": "list",
    "create-only": "write on condition",
    "conditions": "write on condition",
    "old versions": "list and delete versions",
    "latency": "look at objects",
}
