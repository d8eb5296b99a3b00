"""`MigratingLayer`: a new storage in front of an old one, for the time in which objects move."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Final, TypeAlias, TypeVar

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
from mediagit_storage.errors import (
    AlreadyExistsError,
    ConfigError,
    InvalidKeyError,
    PreconditionError,
    StorageError,
)
from mediagit_storage.layers.base import Layer, closing_with
from mediagit_storage.layers.bodies import ToldBody
from mediagit_storage.layers.migrating.bringing import bring
from mediagit_storage.layers.migrating.carrying import carry, is_there
from mediagit_storage.layers.migrating.config import MigratingConfig, joint_capabilities
from mediagit_storage.layers.migrating.courses import Answer, Side, Step, Value, course_of, proves_absence
from mediagit_storage.layers.migrating.merging import merged
from mediagit_storage.layers.migrating.naming import NamedBody, naming, tell_origin
from mediagit_storage.layers.migrating.rounds import Rounds
from mediagit_storage.layers.migrating.tokens import of_new, of_old, told_of_new, told_of_old
from mediagit_storage.layers.overlap import overlap
from mediagit_storage.source import Source
from mediagit_storage.types import (
    JSON,
    WHOLE,
    Checksum,
    ConnectionInfo,
    CopyOptions,
    DeleteOptions,
    Entry,
    Finding,
    Folder,
    ListOptions,
    ObjectInfo,
    PresignOptions,
    PutOptions,
    ReadOptions,
)

__all__ = ["MigratingLayer"]

Ask: TypeAlias = Callable[[Step], Answer]
E = TypeVar("E", bound=Entry)

_CHANGED: Final = "the source is not the object that was looked at"


class MigratingLayer(Layer):
    """``inner`` is the new storage: it is read first, and written to. ``old`` is asked for what has not moved yet.

    The old storage is asked only when the new one has proven that it has no such object, never because it failed: its
    object may be one that was overwritten since. Listings are merged as they come; what both have is the new one's.

    Deletes go to both, the old one first, so that nothing comes back. Nothing else is changed in the old storage, and
    nobody else may change it meanwhile: create-only writes and writes on condition are as atomic as those of the new
    one then. An ETag of an object that lies in the old storage is a token of its own, and reading is all the old storage
    is asked for with it, except for deletes. The layer closes both storages.

    Requests: one for what lies in the new storage; one more for what lies in the old, is in neither, is written on
    condition, or deleted. An error of the old storage names it. A `ConfigError`: one storage that is or holds the other,
    and ``copy_on_read`` into one without create-only writes and conditional deletes.
    """

    layer_name: ClassVar[str] = "migrating"

    def __init__(self, inner: StorageBackend, old: StorageBackend, config: MigratingConfig | None = None) -> None:
        self._options = config or MigratingConfig()
        super().__init__(inner, self._options)
        self._old = old
        if overlap(inner, old):
            raise ConfigError(
                f"{inner.description} and {old.description} are one place, or one is in the other: objects move from one"
                " storage to another that holds nothing of it"
            )
        self._capabilities = joint_capabilities(inner.capabilities, old.capabilities, self._options)
        can = inner.capabilities
        if self._options.copy_on_read and not (can.if_absent and can.delete_if_match):
            raise ConfigError(
                f"copy_on_read needs create-only writes and conditional deletes, which {inner.description} does not have:"
                " an older object could take the place of a newer one"
            )

    @classmethod
    def from_config(
        cls, inner: StorageBackend, config: MigratingConfig, others: Mapping[str, Sequence[StorageBackend]]
    ) -> MigratingLayer:
        """What ``layer = "migrating"`` in a profile makes."""
        named = others.get("old", ())
        if len(named) != 1:
            raise ConfigError("the layer 'migrating' needs one storage that objects come from: old = \"attic:\"")
        return cls(inner, named[0], config)

    @property
    def old(self) -> StorageBackend:
        """The storage that objects come from."""
        return self._old

    @property
    def capabilities(self) -> Capabilities:
        """What holds wherever an object lies: those of the new storage for writing, those of both for reading.

        There are no versions, no moves in one step, no links to delete and no replacing of heads.
        """
        return self._capabilities

    # ---- reading

    def read(self, key: str, options: ReadOptions) -> Content:
        """From the new storage, else from the old one."""
        asked = self._asking(options)
        side, value = self._run(ReadOperation(key, asked), self._answer)
        if not isinstance(value, Content):
            raise TypeError("a read is answered with content")
        if side is Side.OLD and self._brings(options):
            brought = bring(self._old, self.inner, key, value)
            if brought is not None:
                return value._replace(info=told_of_new(brought))
        return value

    def stream(self, key: str, options: ReadOptions) -> Body:
        """From the new storage, else from the old one: one version, whatever is written or moved meanwhile."""
        side, value = self._run(ReadOperation(key, self._asking(options)), self._opened)
        if side is Side.OLD and self._brings(options):
            with _body(value) as body:
                bring(self._old, self.inner, key, body)
            _, value = self._run(ReadOperation(key, options), self._opened)
        return _body(value)

    def stat(self, key: str, version: str | None = None) -> ObjectInfo:
        """Of the new storage, else of the old one."""
        _, value = self._run(StatOperation(key, version), self._answer)
        if not isinstance(value, ObjectInfo):
            raise TypeError("a look is answered with what is known of the object")
        return value

    def content_checksum(self, key: str, options: ReadOptions) -> Checksum | None:
        """Of the storage that the ETag in ``options`` is of; without one of the new storage, which may have none."""
        own = of_old(options.if_match)
        if own is not None:
            return self._old.content_checksum(key, replace(options, if_match=own))
        return self.inner.content_checksum(key, replace(options, if_match=of_new(options.if_match)))

    def list(self, prefix: str, options: ListOptions) -> Iterator[ObjectInfo]:
        """Both listings, merged as they come."""
        old = self._named(lambda: self._old.list(prefix, options))
        return merged(self.inner.list(prefix, options), old, told_of_new, told_of_old)

    def list_dir(self, prefix: str, options: ListOptions) -> Iterator[Entry]:
        """One level of both, merged as it comes."""
        old = self._named(lambda: self._old.list_dir(prefix, options))
        return merged(self.inner.list_dir(prefix, options), old, _entry_of_new, _entry_of_old)

    def presign(self, key: str, options: PresignOptions) -> str:
        """A link to read leads to where the object lies now, which one request finds out; links to write to the new one.

        A link to an object of the old storage goes on giving that one when it is overwritten or brought over.
        """
        if options.method == "DELETE":
            self._refuse("links to delete while objects lie in two storages")
        if options.method == "GET" and not is_there(self.inner, key):
            return self._old.presign(key, options)
        return self.inner.presign(key, options)

    # ---- writing

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Into the new storage, all or nothing. A condition asks the old one first."""
        _, value = self._run(PutOperation(key, source, options), self._answer)
        if not isinstance(value, ObjectInfo):
            raise TypeError("a put is answered with what is known of the object")
        return value

    def delete(self, key: str, options: DeleteOptions) -> None:
        """In the old storage and then in the new one: cut off in between, the newest object is still there.

        `PermissionDeniedError` with advice where the old storage has the object and does not let it be deleted.
        """
        self._run(DeleteOperation(key, options), self._answer)

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """Within the new storage where the source lies there; else its bytes pass here, on their way into the new one.

        Attributes come along as `carry` says.
        """
        if options.if_absent and self._in_old(target):
            raise AlreadyExistsError("an object of this key exists, in the old storage")
        if of_old(options.if_match) is not None:
            if is_there(self.inner, source):
                raise PreconditionError(_CHANGED)
            return self._carried(source, target, options)
        try:
            return told_of_new(self.inner.copy(source, target, replace(options, if_match=of_new(options.if_match))))
        except StorageError as error:
            # A key that the new storage cannot hold may be the target's.
            if not proves_absence(error) or (isinstance(error, InvalidKeyError) and is_there(self.inner, source)):
                raise
        if options.if_match is not None and self._in_old(source):
            raise PreconditionError(_CHANGED)
        return self._carried(source, target, options)

    def rename(self, source: str, target: str, *, if_absent: bool = False) -> ObjectInfo:
        """Refused: what lies in two storages is not moved in one step. `Storage.rename` copies and deletes."""
        self._refuse("moves in one step while objects lie in two storages")

    def replace_head(self, key: str, head: bytes, old_length: int, *, if_match: str) -> ObjectInfo:
        """Refused: an object of the old storage is never changed in its place."""
        self._refuse("replacing the head of an object while objects lie in two storages")

    # ---- many at once

    def batch(self, operations: Iterator[Operation | None], limits: BatchLimits) -> Iterator[Completion]:
        """In rounds: what one storage is to be asked, in its batch, and then what that leaves for the other."""
        rounds = Rounds(operations)
        while (side := rounds.side()) is not None:
            inner = self._storage(side).batch(rounds.asked(side), limits)
            for operation, told_by, answer in closing_with(inner, rounds.answered(inner)):
                value, error = self._told(told_by, answer)
                yield Completion(operation, None if isinstance(value, Body) else value, error)

    # ---- the storages

    def check(self) -> Iterable[Finding]:
        """What both know of themselves."""
        yield from self.inner.check()
        for finding in self._old.check():
            yield replace(finding, name=f"old storage: {finding.name}")

    def connection_info(self) -> ConnectionInfo:
        """The new storage's, with this layer and how to open the old one."""
        info = super().connection_info()
        own, *rest = _listed(info.config["layers"])
        mine: dict[str, JSON] = {**_table(own), "old": self._old.connection_info().to_json()}
        return ConnectionInfo(info.type, {**info.config, "layers": [mine, *rest]})

    def forget(self, key: str, version: str | None = None) -> bool:
        """What the layers of either storage keep."""
        kept = self._old.forget(key, version) if isinstance(self._old, Layer) else False
        return super().forget(key, version) or kept

    def close(self) -> None:
        """Close both."""
        try:
            self.inner.close()
        finally:
            self._old.close()

    def __repr__(self) -> str:
        return f"<MigratingLayer from {self._old!r} over {self.inner!r}>"

    # ---- inside

    def _run(self, operation: Operation, ask: Ask) -> tuple[Side, Value]:
        """Carry out one operation; what is told of it, and by which storage."""
        course = course_of(operation)
        step = next(course)
        while True:
            answer = ask(step)
            try:
                step = course.send(answer)
            except StopIteration as end:
                side, answer = end.value
                break
        value, error = self._told(side, answer)
        if error is not None:
            try:
                raise error
            finally:
                # Its traceback holds this frame: both would stay until somebody looks for such circles.
                del answer, error
        return side, value

    def _answer(self, step: Step) -> Answer:
        storage, operation = self._storage(step.side), step.operation
        try:
            if isinstance(operation, ReadOperation):
                return Answer(storage.read(operation.key, operation.options))
            if isinstance(operation, StatOperation):
                return Answer(storage.stat(operation.key, operation.version))
            if isinstance(operation, PutOperation):
                return Answer(storage.put(operation.key, operation.source, operation.options))
            storage.delete(operation.key, operation.options)
        except StorageError as error:
            return Answer(error=error)
        return Answer()

    def _opened(self, step: Step) -> Answer:
        """The same, for reads in pieces."""
        operation = step.operation
        if not isinstance(operation, ReadOperation):
            return self._answer(step)
        try:
            return Answer(self._storage(step.side).stream(operation.key, operation.options))
        except StorageError as error:
            return Answer(error=error)

    def _told(self, side: Side, answer: Answer) -> tuple[Value, Exception | None]:
        """What callers are told: ETags by the storage that they are of, and errors of the old storage by its name."""
        value, error = answer
        if error is not None:
            if side is Side.OLD:
                tell_origin(error, self._old)
            return None, error
        told = told_of_old if side is Side.OLD else told_of_new
        if isinstance(value, ObjectInfo):
            return told(value), None
        if isinstance(value, Content):
            info = told(value.info)
            return (value if info is value.info else value._replace(info=info)), None
        if isinstance(value, Body):
            info = told(value.info)
            if side is Side.OLD:
                return NamedBody(value, info, self._old), None
            return (value if info is value.info else ToldBody(value, info)), None
        return None, None

    def _storage(self, side: Side) -> StorageBackend:
        return self.inner if side is Side.NEW else self._old

    def _named(self, entries: Callable[[], Iterator[E]]) -> Iterator[E]:
        """What the old storage lists, asked for when the first entry of it is wanted."""
        with naming(self._old):
            yield from entries()

    def _in_old(self, key: str) -> bool:
        with naming(self._old):
            return is_there(self._old, key)

    def _carried(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """A copy of an object of the old storage. Onto itself it must not take the place of what was written meanwhile."""
        own = replace(options, if_match=of_old(options.if_match))
        if source != target or not self.inner.capabilities.if_absent:
            return told_of_new(carry(self._old, source, self.inner, target, own))
        try:
            return told_of_new(carry(self._old, source, self.inner, target, replace(own, if_absent=True)))
        except AlreadyExistsError:
            if options.if_match is not None:
                raise PreconditionError(_CHANGED) from None
            return told_of_new(self.inner.copy(source, target, options))

    # ---- bringing over what is read

    def _brings(self, options: ReadOptions) -> bool:
        conditional = options.if_match is not None or options.if_none_match is not None
        return self._options.copy_on_read and options.range == WHOLE and not conditional

    def _asking(self, options: ReadOptions) -> ReadOptions:
        """The options that bring along what a copy takes along."""
        return replace(options, attributes=True) if self._brings(options) else options


def _body(value: Value) -> Body:
    if not isinstance(value, Body):
        raise TypeError("a stream is answered with a body")
    return value


def _entry_of_new(entry: Entry) -> Entry:
    return entry if isinstance(entry, Folder) else told_of_new(entry)


def _entry_of_old(entry: Entry) -> Entry:
    return entry if isinstance(entry, Folder) else told_of_old(entry)


def _listed(value: JSON) -> list[JSON]:
    return value if isinstance(value, list) else []


def _table(value: JSON) -> dict[str, JSON]:
    return value if isinstance(value, dict) else {}
