"""`ChecksumLayer`: a backend whose objects carry the BLAKE3 of their content."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Final, Literal

from mediagit_storage.backend import (
    BatchLimits,
    Body,
    Completion,
    Content,
    Operation,
    PutOperation,
    ReadOperation,
    StorageBackend,
)
from mediagit_storage.capabilities import Capabilities
from mediagit_storage.errors import ChecksumError, ConfigError, PreconditionError, StorageError, UnsupportedError
from mediagit_storage.hashing import hash_data, new_hasher, verify_kept
from mediagit_storage.layers.base import Layer, closing_with
from mediagit_storage.layers.bodies import ToldBody
from mediagit_storage.layers.checksum.batching import MappedBatch, Running
from mediagit_storage.layers.checksum.bodies import VerifiedBody
from mediagit_storage.layers.checksum.digests import ALGORITHM, kept_checksum, stored_checksum, told, with_checksum
from mediagit_storage.layers.checksum.sources import Prepared, Spool, prepare
from mediagit_storage.source import Source
from mediagit_storage.types import (
    WHOLE,
    Checksum,
    CopyOptions,
    ObjectInfo,
    PresignOptions,
    PutOptions,
    ReadOptions,
)

__all__ = ["ChecksumConfig", "ChecksumLayer"]

_PLAIN: Final = ReadOptions()
_WITH_ATTRIBUTES: Final = ReadOptions(attributes=True)
#: How often a copy is tried whose source is written to meanwhile.
_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class ChecksumConfig:
    """``missing``: what to do with an object that keeps no digest, read it unverified or refuse it (`ChecksumError`).

    ``spool_bytes``: how long a stream that can be read only once may be, on a storage that takes no metadata after the
    bytes; it goes through a temporary file of this machine that only this user can open. 0 allows none.
    ``spool_folder``: where that file lies, if not where the system keeps temporary ones.
    ``digest_in_clear``: allow this layer outside of `encrypt`, where whoever holds the storage sees the digests of the
    plain text: they show which objects are equal, and confirm a guess.
    """

    missing: Literal["pass", "refuse"] = "pass"
    spool_bytes: int = 0
    spool_folder: str | None = None
    digest_in_clear: bool = False

    def __post_init__(self) -> None:
        if self.missing not in {"pass", "refuse"}:
            raise ConfigError(f"missing is 'pass' or 'refuse', not {self.missing!r}")
        if self.spool_bytes < 0:
            raise ConfigError("spool_bytes must not be negative; 0 allows no temporary files")


class ChecksumLayer(Layer):
    """Every object is written with the BLAKE3 of its content, and every whole object that is read is compared with it.

    Whole reads are `read`, `stream` and batches without a range, and with one that turns out to be the whole; large
    downloads in ranges are compared when they are whole. A part of an object is not verified: its ``info.checksum`` is
    None. A wrong byte is a `ChecksumError` before the last bytes are given out.

    The digest is an entry of the metadata, so it comes and goes with the object: copies, renames, versions. Listings,
    ETags, sizes and conditions are those of the inner storage. A put of a stream is `prepare`'s; the others make no
    further request, but for what the inner storage needs to read attributes along with content.
    """

    layer_name: ClassVar[str] = "checksum"

    def __init__(self, inner: StorageBackend, config: ChecksumConfig | None = None) -> None:
        self._options = config or ChecksumConfig()
        super().__init__(inner, self._options)
        if "metadata" not in inner.capabilities.attributes:
            raise ConfigError(f"{inner.description} keeps no metadata, in which checksums could be kept")
        # Missing libraries are told of now, and not by the first object.
        new_hasher(ALGORITHM)
        self._refuses = self._options.missing == "refuse"
        self._spool = Spool(self._options.spool_bytes, self._options.spool_folder)

    @property
    def capabilities(self) -> Capabilities:
        """Those of the inner storage, but for what would leave an object without its digest or with another one's.

        ``replace_head`` changes bytes without showing them all. Links to write are for objects without a digest, so
        there are none where such objects are refused.
        """
        inner = self.inner.capabilities
        presign = inner.presign - {"PUT"} if self._refuses else inner.presign
        return replace(inner, replace_head=False, presign=presign)

    # ---- writing

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Stored with its digest, which `prepare` finds; in one step with the bytes."""
        prepared = self._prepare(source, options)
        try:
            info = self.inner.put(key, prepared.source, prepared.options)
            return told(info, prepared.checksum())
        finally:
            prepared.close()

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """The digest is copied, too. With other attributes: one more request, and again when the source was changed.

        Raises `UnsupportedError` for other attributes where the storage tells neither an ETag nor a version.
        """
        if options.attributes is None:
            return _described(self.inner.copy(source, target, options))
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._redescribe(source, target, options)
            except PreconditionError:
                if options.if_match is not None:
                    raise
        return self._redescribe(source, target, options)

    def _redescribe(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        found = self.inner.stat(source, options.version)
        attributes = with_checksum(options.attributes, kept_checksum(found.attributes))
        pinned = found.etag if options.if_match is None else options.if_match
        if pinned is None and options.version is None:
            # Whatever is there when the copy begins would get the digest of what was there now.
            raise UnsupportedError(
                f"{self.description} tells neither ETags nor versions, so new attributes could take along the checksum of"
                " other content; write the object again instead"
            )
        return _described(self.inner.copy(source, target, replace(options, attributes=attributes, if_match=pinned)))

    def rename(self, source: str, target: str, *, if_absent: bool = False) -> ObjectInfo:
        """The object keeps its digest."""
        return _described(self.inner.rename(source, target, if_absent=if_absent))

    def replace_head(self, key: str, head: bytes, old_length: int, *, if_match: str) -> ObjectInfo:
        """Refused: nobody knows the digest of what would be there."""
        self._refuse("replacing the head of an object under checksums")

    def presign(self, key: str, options: PresignOptions) -> str:
        """Whoever reads by a link compares nothing; who writes by one leaves no digest."""
        if options.method not in self.capabilities.presign:
            self._refuse(f"presigned URLs for {options.method} where every object must have a checksum")
        return self.inner.presign(key, options)

    # ---- reading

    def read(self, key: str, options: ReadOptions) -> Content:
        """The object, compared with its digest; or a part of it, as it is."""
        return self._verified(self.inner.read(key, self._asking(options)), options)

    def stream(self, key: str, options: ReadOptions) -> Body:
        """The same in pieces. A wrong object gives all but its last piece, and then a `ChecksumError`."""
        body = self.inner.stream(key, self._asking(options))
        try:
            whole = options.range == WHOLE or (body.start == 0 and body.length == body.info.size)
            checksum = self._expected(body.info, options, whole=whole)
        except BaseException:
            body.close()
            raise
        info = told(body.info, checksum)
        return ToldBody(body, info) if checksum is None else VerifiedBody(body, info, checksum)

    def stat(self, key: str, version: str | None = None) -> ObjectInfo:
        """Everything about one object; ``checksum`` is the digest that it keeps."""
        return _described(self.inner.stat(key, version))

    def content_checksum(self, key: str, options: ReadOptions) -> Checksum | None:
        """The digest that the object keeps, else what the inner storage knows. One request, or two.

        Raises what `stat` does, and `PreconditionError` for another object: what could not be compared must not pass.
        """
        info = self.inner.stat(key, options.version)
        if options.if_match is not None and info.etag != options.if_match:
            raise PreconditionError("the object was changed before it could be verified")
        kept = stored_checksum(info.attributes)
        return self.inner.content_checksum(key, options) if kept is None else kept

    # ---- many at once

    def batch(self, operations: Iterator[Operation | None], limits: BatchLimits) -> Iterator[Completion]:
        """One operation of the inner batch for each. A source is hashed when the inner batch asks for its put."""
        for operation in operations:
            if operation is None:
                continue
            mapped = MappedBatch(operation, operations, self._begin, self._end)
            inner = self.inner.batch(mapped.operations(), limits)
            yield from closing_with(inner, mapped.completions(inner))

    def _begin(self, operation: Operation) -> Running:
        if isinstance(operation, PutOperation):
            prepared = self._prepare(operation.source, operation.options)
            sent = PutOperation(operation.key, prepared.source, prepared.options, operation.scope)
            return Running(sent, operation, prepared)
        if isinstance(operation, ReadOperation):
            return Running(ReadOperation(operation.key, self._asking(operation.options), operation.scope), operation)
        return Running(operation, operation)

    def _end(self, running: Running, value: Content | ObjectInfo | None) -> Content | ObjectInfo | None:
        operation, prepared = running.operation, running.prepared
        if isinstance(value, Content) and isinstance(operation, ReadOperation):
            return self._verified(value, operation.options)
        if isinstance(value, ObjectInfo):
            return _described(value) if prepared is None else told(value, prepared.checksum())
        return value

    # ---- parts

    def _prepare(self, source: Source, options: PutOptions) -> Prepared:
        return prepare(source, options, self._spool, late=self.inner.capabilities.late_metadata)

    def _asking(self, options: ReadOptions) -> ReadOptions:
        """The options that bring the digest along, where it may be needed."""
        offset = options.range.offset
        if options.attributes or (offset is not None and offset > 0 and not self._refuses):
            return options
        return _WITH_ATTRIBUTES if options == _PLAIN else replace(options, attributes=True)

    def _expected(self, info: ObjectInfo, options: ReadOptions, *, whole: bool) -> Checksum | None:
        """What a read has to be compared with. `ChecksumError` for an object that must not be read at all."""
        if info.attributes is None and self._asking(options).attributes:
            raise StorageError("the storage told no attributes of an object, so it cannot be verified")
        checksum = kept_checksum(info.attributes)
        if checksum is None and self._refuses:
            raise ChecksumError(f"the object keeps no {ALGORITHM}, and objects without one are refused")
        return checksum if whole else None

    def _verified(self, content: Content, options: ReadOptions) -> Content:
        info, data, start = content
        whole = options.range == WHOLE or (start == 0 and len(data) == info.size)
        checksum = self._expected(info, options, whole=whole)
        if checksum is not None:
            verify_kept(checksum, hash_data(data, checksum.algorithm))
        return Content(told(info, checksum), data, start)


def _described(info: ObjectInfo) -> ObjectInfo:
    """What is known of an object, its digest in its own place."""
    found = stored_checksum(info.attributes)
    return told(info, found if found is not None and found.digest else None)
