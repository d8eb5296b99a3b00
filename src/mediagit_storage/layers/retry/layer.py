"""What fails for a while is tried again: see `RetryLayer`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import ClassVar, TypeVar

from mediagit_storage.backend import BatchLimits, Body, Completion, Content, Operation, StorageBackend
from mediagit_storage.capabilities import Capabilities
from mediagit_storage.errors import StorageError
from mediagit_storage.http.retry import RetryPolicy, Rules, Traits
from mediagit_storage.layers.base import Layer, closing_with
from mediagit_storage.layers.retry.body import Again, RetriedBody
from mediagit_storage.layers.retry.feed import Feed
from mediagit_storage.layers.retry.listing import resumed
from mediagit_storage.layers.retry.trials import HARMLESS, ONCE, Trials, deleting
from mediagit_storage.layers.retry.writes import Write
from mediagit_storage.source import Source
from mediagit_storage.types import (
    ByteRange,
    Checksum,
    CopyOptions,
    DeleteOptions,
    Entry,
    ListOptions,
    ObjectInfo,
    PendingUpload,
    PutOptions,
    ReadOptions,
)

__all__ = ["RetryLayer"]

T = TypeVar("T")


class RetryLayer(Layer):
    """``inner``, whose `UnavailableError`s (all errors that are ``retryable``) are tried again, as a policy says.

    For backends that do not repeat anything themselves; those of this library that speak HTTP do, and nearer to the
    wire. What is repeated, and what is not:

    - Reads, looks and listings always. A body that breaks off goes on with the rest of the same version, and a listing
      after its last entry. Where nothing tells versions apart, what has begun to come is not gone on with.
    - A put without condition, if nothing of its source was read, or it can be read again. It may then overwrite a writer that came between.
    - A put on a condition, where the storage keeps metadata: the hidden entry ``mgs-retry`` of the object tells our own
      success. A refusal that may come from what others made of it is raised as an unknown outcome. Elsewhere, and for
      copies on a condition, renames and deletes that want proof, an unknown outcome is raised as it is, and only what
      was certainly not done is done again.
    - Each operation of a batch by itself.

    The last error is raised, with the attempts and the time in its message; each new attempt is an event ``retry``.
    """

    layer_name: ClassVar[str] = "retry"

    def __init__(self, inner: StorageBackend, policy: RetryPolicy | None = None, *, rules: Rules | None = None) -> None:
        self._rules = rules or Rules(policy or RetryPolicy())
        super().__init__(inner, self._rules.policy)

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Forwarded, again where that does no harm and the source can be read again."""
        write = Write(self.inner, key, source, options, self._rules)
        while True:
            try:
                return self.inner.put(key, write.source, write.options)
            except StorageError as error:
                meaning = write.after(error)
                if isinstance(meaning, Exception):
                    if meaning is error:
                        raise
                    raise meaning from error
            if isinstance(meaning, ObjectInfo):
                return meaning
            self._rules.sleep(meaning)

    def read(self, key: str, options: ReadOptions) -> Content:
        """Forwarded, again from the beginning."""
        return self._again(f"read {key!r}", lambda: self.inner.read(key, options), reads=True)

    def stream(self, key: str, options: ReadOptions) -> Body:
        """Forwarded; a body that breaks off goes on with the rest of the same version."""
        body = self._again(f"read {key!r}", lambda: self.inner.stream(key, options), reads=True)
        same = self._same_version(body.info, options)
        again = Again(
            None if same is None else lambda rest: self.inner.stream(key, replace(same, range=ByteRange(*rest))),
            lambda: Trials(f"read {key!r}", self._rules, reads=True),
            self._rules.sleep,
        )
        return RetriedBody(body, again)

    def stat(self, key: str, version: str | None = None) -> ObjectInfo:
        """Forwarded, again."""
        return self._again(f"stat {key!r}", lambda: self.inner.stat(key, version))

    def list(self, prefix: str, options: ListOptions) -> Iterator[ObjectInfo]:
        """Forwarded; where it breaks it goes on after the last entry that came."""
        return resumed(
            lambda rest: self.inner.list(prefix, rest), options, self._trials_of(f"list {prefix!r}"), self._rules.sleep
        )

    def list_dir(self, prefix: str, options: ListOptions) -> Iterator[Entry]:
        """Forwarded; where it breaks it goes on after the last entry that came."""
        return resumed(
            lambda rest: self.inner.list_dir(prefix, rest),
            options,
            self._trials_of(f"list {prefix!r}"),
            self._rules.sleep,
        )

    def delete(self, key: str, options: DeleteOptions) -> None:
        """Forwarded, again where it does not matter who deleted."""
        self._again(f"delete {key!r}", lambda: self.inner.delete(key, options), deleting(options))

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """Forwarded, again without a condition."""
        traits = ONCE if options.if_absent else HARMLESS
        return self._again(f"copy {source!r}", lambda: self.inner.copy(source, target, options), traits)

    def rename(self, source: str, target: str, *, if_absent: bool = False) -> ObjectInfo:
        """Forwarded, again only where it was certainly not done."""

        def move() -> ObjectInfo:
            return self.inner.rename(source, target, if_absent=if_absent)

        return self._again(f"rename {source!r}", move, ONCE)

    def batch(self, operations: Iterator[Operation | None], limits: BatchLimits) -> Iterator[Completion]:
        """Forwarded; an operation that failed for a while is handed on again while the others go on."""
        feed = Feed(self.inner, operations, self._rules)
        inner = self.inner.batch(feed.operations(), limits)
        return closing_with(inner, feed.settled(inner))

    def create(self, *, versioning: bool | None = None) -> None:
        """Forwarded, again."""
        self._again("create", lambda: self.inner.create(versioning=versioning))

    def pending_uploads(self, prefix: str) -> Iterator[PendingUpload]:
        """Forwarded; begun again only while nothing has come, for nobody can ask for the rest."""
        trials = Trials(f"list uploads of {prefix!r}", self._rules)
        while True:
            begun = False
            uploads = self.inner.pending_uploads(prefix)
            try:
                for upload in closing_with(uploads, uploads):
                    begun = True
                    yield upload
            except StorageError as error:
                delay = None if begun else trials.after(error)
                if delay is None:
                    raise
            else:
                return
            self._rules.sleep(delay)

    def stat_upload(self, upload: PendingUpload) -> PendingUpload:
        """Forwarded, again."""
        return self._again(f"look at an upload of {upload.key!r}", lambda: self.inner.stat_upload(upload))

    def abort_upload(self, upload: PendingUpload) -> None:
        """Forwarded, again."""
        self._again(f"abort an upload of {upload.key!r}", lambda: self.inner.abort_upload(upload))

    def replace_head(self, key: str, head: bytes, old_length: int, *, if_match: str) -> ObjectInfo:
        """Forwarded, again only where it was certainly not done."""

        def write() -> ObjectInfo:
            return self.inner.replace_head(key, head, old_length, if_match=if_match)

        return self._again(f"replace the head of {key!r}", write, ONCE)

    def content_checksum(self, key: str, options: ReadOptions) -> Checksum | None:
        """Forwarded, again."""
        return self._again(f"checksum of {key!r}", lambda: self.inner.content_checksum(key, options))

    def __reduce__(self) -> tuple[object, ...]:
        return (RetryLayer, (self.inner, self._rules.policy))

    def _again(self, what: str, call: Callable[[], T], traits: Traits = HARMLESS, *, reads: bool = False) -> T:
        began = self._rules.clock.monotonic()
        trials: Trials | None = None
        while True:
            try:
                return call()
            except StorageError as error:
                trials = trials or Trials(what, self._rules, traits, reads=reads, began=began)
                delay = trials.after(error)
                if delay is None:
                    raise
            self._rules.sleep(delay)

    def _trials_of(self, what: str) -> Callable[[], Trials]:
        return lambda: Trials(what, self._rules)

    def _same_version(self, info: ObjectInfo, options: ReadOptions) -> ReadOptions | None:
        """What asks for this very version again; None where the storage cannot be asked so."""
        capabilities: Capabilities = self.inner.capabilities
        version = options.version or (info.version if capabilities.versions else None)
        etag = info.etag if capabilities.read_conditions else None
        if version is None and etag is None:
            return None
        return ReadOptions(version=version, if_match=etag)
