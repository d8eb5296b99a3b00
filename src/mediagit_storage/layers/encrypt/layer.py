"""`EncryptLayer`: objects as age files below, and in plain above."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import ClassVar, Final, TypeVar

from mediagit_storage.backend import (
    BatchLimits,
    Body,
    Completion,
    Content,
    DeleteOperation,
    Operation,
    PutOperation,
    ReadOperation,
    StatOperation,
    StorageBackend,
)
from mediagit_storage.capabilities import Capabilities
from mediagit_storage.ending import Pool
from mediagit_storage.errors import (
    ConfigError,
    DecryptionError,
    InvalidRangeError,
    NotFoundError,
    PreconditionError,
    StorageError,
)
from mediagit_storage.layers.base import Layer, closing_with
from mediagit_storage.layers.encrypt.binding import binding, check_binding
from mediagit_storage.layers.encrypt.bodies import ContentBody, PartBody, WholeBody
from mediagit_storage.layers.encrypt.config import EncryptConfig
from mediagit_storage.layers.encrypt.keyfiles import AskPassphrase, Keys, key_path, load_keys, others_may_read
from mediagit_storage.layers.encrypt.plans import Plan, carry_out, carry_out_batch
from mediagit_storage.layers.encrypt.primitives import require_library
from mediagit_storage.layers.encrypt.reading import Reading, with_plain_size
from mediagit_storage.layers.encrypt.sizes import chunks_of, largest_plain, stored_size
from mediagit_storage.layers.encrypt.writing import EncryptedSource
from mediagit_storage.scope import context_inside, inner_scope
from mediagit_storage.source import BytesSource, Source
from mediagit_storage.types import (
    WHOLE,
    ByteRange,
    Checksum,
    CopyOptions,
    Entry,
    Finding,
    FindingLevel,
    Folder,
    ListOptions,
    ObjectInfo,
    PresignOptions,
    PutOptions,
    ReadOptions,
)

__all__ = ["EncryptLayer"]

T = TypeVar("T")

#: Parts that are at most so long are read at once, longer ones come as a stream.
_AT_ONCE: Final = 1024 * 1024
#: How many sizes of an exact listing are found out at once, and by how many threads where there is no native batch.
_WINDOW: Final = 64
_THREADS: Final = 16
#: How often a stream begins anew because the object was replaced before its first byte.
_ATTEMPTS: Final = 5


class EncryptLayer(Layer):
    """Encrypts objects on their way into ``inner``, in the age format, and opens them on their way out.

    Names, attributes, times and the approximate sizes of objects stay visible to whoever holds the storage. A read
    gives proven bytes or raises `DecryptionError` (`KeyUnavailableError` where no identity is for the object).
    ``ask`` is called for the passphrase of an identity file where the configuration names none. ``binds_keys`` says what
    the configuration does.

    Requests: one for a whole object. A part, and `stat`, need the header and the last chunk once for each version of an
    object; what is known of some thousand objects is kept.
    """

    layer_name: ClassVar[str] = "encrypt"
    links: ClassVar[bool] = False

    def __init__(self, inner: StorageBackend, config: EncryptConfig, ask: AskPassphrase | None = None) -> None:
        super().__init__(inner, config)
        require_library()
        self.binds_keys = config.bind_keys
        self._keys = load_keys(config, ask)
        self._identity_file = config.identity_file
        self._reading = Reading(self._keys.identities, inner.capabilities, check_binding if config.bind_keys else None)
        self._capabilities = self._possible(inner.capabilities)

    @classmethod
    def from_config(cls, inner: StorageBackend, config: EncryptConfig) -> EncryptLayer:
        """What `open_storage` calls."""
        return cls(inner, config)

    @property
    def capabilities(self) -> Capabilities:
        """What the inner storage can do with encrypted objects.

        No link opens them, no upload of other bytes can be gone on with, and with ``bind_keys`` a copy is another
        object: `Storage` then copies and renames by reading and writing.
        """
        return self._capabilities

    @property
    def keys(self) -> Keys:
        """Who objects are encrypted for now, and what opens them."""
        return self._keys

    # ---- writing

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Forwarded, encrypted. A declared checksum is of the plain bytes, which `Storage` has checked."""
        encrypted = self._encrypted(key, source)
        return with_plain_size(self.inner.put(key, encrypted, _below(options)), encrypted.plain_size)

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """Forwarded: what is stored does not depend on the key. Then the plain size is looked up."""
        self._refuse_bound()
        return self._copied(self.inner.copy(source, target, options))

    def rename(self, source: str, target: str, *, if_absent: bool = False) -> ObjectInfo:
        """Forwarded: what is stored does not depend on the key. Then the plain size is looked up."""
        self._refuse_bound()
        return self._copied(self.inner.rename(source, target, if_absent=if_absent))

    def replace_head(self, key: str, head: bytes, old_length: int, *, if_match: str) -> ObjectInfo:
        """Refused: the beginning of the plain bytes is no beginning of what is stored."""
        self._refuse("replacing the head of an encrypted object")

    # ---- reading

    def read(self, key: str, options: ReadOptions) -> Content:
        """The plain bytes, every one of them proven."""
        return self._run(self._reading.read(key, options))

    def stream(self, key: str, options: ReadOptions) -> Body:
        """The plain bytes, each chunk proven before it is given out. That none is missing is known at the end."""
        if options.range == WHOLE:
            return WholeBody(self._reading, key, options, self.inner.stream(key, options))
        if _is_short(options.range):
            return ContentBody(self.read(key, options))
        attempts = 0
        while True:
            opened, info, span = self._run(self._reading.locate(key, options))
            if not span.length:
                return ContentBody(self.read(key, options))
            try:
                body = self.inner.stream(key, self._reading.pinned(options, opened, chunks_of(*span)))
                try:
                    self._reading.same(opened, body.info)
                except PreconditionError:
                    body.close()
                    raise
            except (PreconditionError, InvalidRangeError) as error:
                self._reading.forget(key, options)
                attempts += 1
                if attempts == _ATTEMPTS:
                    raise PreconditionError("the object was replaced while it was read") from error
            else:
                told = with_plain_size(info or body.info, opened.plain)
                return PartBody(body, told, opened, span, lambda: self._reading.forget(key, options))

    def stat(self, key: str, version: str | None = None) -> ObjectInfo:
        """Everything about one object, its plain size proven. Raises `KeyUnavailableError` where no identity is for it."""
        return self._run(self._reading.stat(key, version))

    def content_checksum(self, key: str, options: ReadOptions) -> Checksum | None:
        """None: what the storage keeps is the digest of other bytes."""
        return None

    def presign(self, key: str, options: PresignOptions) -> str:
        """Only to delete: who follows another link would get, or store, the bytes as the storage has them."""
        if options.method != "DELETE":
            self._refuse("links to encrypted objects")
        return self.inner.presign(key, options)

    # ---- listing

    def list(self, prefix: str, options: ListOptions) -> Iterator[ObjectInfo]:
        """Forwarded, without plain sizes; ``options.exact`` finds them out, by one to three requests an object.

        What does not open keeps None.
        """
        inner = self.inner.list(prefix, options)
        shown = self._exactly(inner) if options.exact else (with_plain_size(info, None) for info in inner)
        return closing_with(inner, (entry for entry in shown if isinstance(entry, ObjectInfo)))

    def list_dir(self, prefix: str, options: ListOptions) -> Iterator[Entry]:
        """Forwarded, with sizes as in `list`."""
        inner = self.inner.list_dir(prefix, options)
        shown = self._exactly(inner) if options.exact else (_sizeless(entry) for entry in inner)
        return closing_with(inner, shown)

    # ---- many at once

    def batch(self, operations: Iterator[Operation | None], limits: BatchLimits) -> Iterator[Completion]:
        """Each operation is carried out by one or more of the inner batch, and completes when the last of them does."""
        return carry_out_batch(self.inner, self._plan, operations, limits)

    def check(self) -> Iterable[Finding]:
        """What the inner storage knows of itself, and whether what is written here can be read here."""
        yield from self.inner.check()
        yield self._finding()

    # ---- how

    def __reduce__(self) -> tuple[object, ...]:
        # Keys are read again from where they are kept; a configuration that holds one itself refuses.
        return (type(self), (self.inner, self.config))

    def _possible(self, inner: Capabilities) -> Capabilities:
        largest, header = inner.max_object_size, self._header_length()
        return replace(
            inner,
            presign=inner.presign & {"DELETE"},
            resumable_uploads=False,
            replace_head=False,
            server_copy=inner.server_copy and not self.binds_keys,
            copy_if_absent=inner.if_absent if self.binds_keys else inner.copy_if_absent,
            server_rename=inner.server_rename and not self.binds_keys,
            max_object_size=None if largest is None else largest_plain(largest, header),
        )

    def _header_length(self) -> int:
        # One character stands for every key: the header of each is as long.
        try:
            sample = self._encrypted("x", BytesSource(b""))
            return (sample.size or 0) - stored_size(0, 0)
        except ValueError:
            raise ConfigError(
                "one of the recipients is no valid public key: copy it again from `mgs keys list`"
            ) from None

    def _encrypted(self, key: str, source: Source) -> EncryptedSource:
        return EncryptedSource(source, self._keys.recipients, (binding(key),) if self.binds_keys else ())

    def _copied(self, info: ObjectInfo) -> ObjectInfo:
        """What a copy gave, with its plain size; without, where that does not open or was replaced since.

        It is done already: that its size cannot be told now is no failure of it.
        """
        try:
            found = self.stat(info.key, info.version)
        except StorageError:
            return with_plain_size(info, None)
        return with_plain_size(info, found.size if found.etag == info.etag else None)

    def _refuse_bound(self) -> None:
        if self.binds_keys:
            self._refuse("copies and renames of objects that are bound to their keys")

    def _plan(self, operation: Operation) -> Plan[Content | ObjectInfo | None]:
        if isinstance(operation, ReadOperation):
            return self._reading.read(operation.key, operation.options)
        if isinstance(operation, StatOperation):
            return self._reading.stat(operation.key, operation.version)
        if isinstance(operation, PutOperation):
            return self._put_plan(operation)
        return _delete_plan(operation)

    def _put_plan(self, operation: PutOperation) -> Plan[ObjectInfo | None]:
        encrypted = self._encrypted(operation.key, operation.source)
        value = yield PutOperation(operation.key, encrypted, _below(operation.options))
        return with_plain_size(value, encrypted.plain_size) if isinstance(value, ObjectInfo) else None

    def _run(self, plan: Plan[T]) -> T:
        return carry_out(self.inner, plan)

    def _exactly(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        while window := [*islice(entries, _WINDOW)]:
            wanted = [each for each in window if isinstance(each, ObjectInfo) and not each.deleted]
            sizes = self._plain_sizes(wanted)
            for entry in window:
                yield entry if isinstance(entry, Folder) else with_plain_size(entry, sizes.get(id(entry)))

    def _plain_sizes(self, infos: Iterable[ObjectInfo]) -> dict[int, int | None]:
        """The plain sizes of listed objects, by identity; None for what does not open or is gone meanwhile."""
        asked = [(info, StatOperation(info.key, info.version)) for info in infos]
        outcomes = self._looked_at([operation for _, operation in asked])
        found: dict[int, int | None] = {}
        for info, operation in asked:
            outcome = outcomes[id(operation)]
            if isinstance(outcome, ObjectInfo):
                # Of what was written there since, the size is not that of the object that is listed.
                found[id(info)] = outcome.size if outcome.etag == info.etag else None
            elif isinstance(outcome, DecryptionError | NotFoundError):
                found[id(info)] = None
            else:
                raise outcome
        return found

    def _looked_at(self, operations: Iterable[StatOperation]) -> dict[int, ObjectInfo | Exception]:
        if self.inner.capabilities.batch:
            completions = self.batch(iter(operations), BatchLimits(_THREADS))
            return {id(done.operation): _outcome(done) for done in completions}
        inside = inner_scope()

        def look(operation: StatOperation) -> tuple[int, ObjectInfo | Exception]:
            try:
                return id(operation), self.stat(operation.key, operation.version)
            except Exception as error:  # noqa: BLE001  # told apart by who asked
                return id(operation), error

        with Pool(_THREADS, thread_name_prefix="mgs-sizes") as threads:
            running = [threads.submit(context_inside(inside).run, look, operation) for operation in operations]
            try:
                return dict(each.result() for each in running)
            finally:
                inside.cancel()

    def _finding(self) -> Finding:
        name = "encryption keys"
        own = {identity.recipient() for identity in self._keys.identities}
        if not own:
            return Finding(
                name, FindingLevel.WARNING, "objects are written and cannot be read here", "add an identity_file"
            )
        if own.isdisjoint(self._keys.recipients):
            return Finding(
                name,
                FindingLevel.WARNING,
                "none of the identities opens what is written here",
                "add the recipient of an identity, as `mgs keys list` shows it, to the recipients",
            )
        if self._identity_file is not None and _is_open(key_path(self._identity_file)):
            return Finding(
                name,
                FindingLevel.WARNING,
                f"other users may read the identity file {self._identity_file}",
                "take that from them: chmod 600",
            )
        return Finding(name, FindingLevel.OK, "what is written here can be read here")


def _below(options: PutOptions) -> PutOptions:
    """The options for the encrypted bytes: a checksum and a state to resume from are those of others."""
    if options.checksum is None and options.resume is None:
        return options
    return replace(options, checksum=None, resume=None)


def _is_short(wanted: ByteRange) -> bool:
    asked = wanted.length if wanted.suffix is None else wanted.suffix
    return asked is not None and asked <= _AT_ONCE


def _delete_plan(operation: DeleteOperation) -> Plan[None]:
    yield DeleteOperation(operation.key, operation.options)


def _sizeless(entry: Entry) -> Entry:
    return entry if isinstance(entry, Folder) else with_plain_size(entry, None)


def _outcome(done: Completion) -> ObjectInfo | Exception:
    if done.error is not None:
        return done.error
    if not isinstance(done.value, ObjectInfo):
        raise TypeError("this operation completes with what is known of the object")
    return done.value


def _is_open(place: Path) -> bool:
    try:
        return others_may_read(place)
    except OSError:
        return False
