"""`MirrorLayer`: several storages as one."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import ClassVar, Final

from mediagit_storage.backend import BatchLimits, Body, Completion, Content, Operation, StorageBackend
from mediagit_storage.capabilities import Capabilities
from mediagit_storage.clock import SYSTEM_CLOCK, Clock
from mediagit_storage.errors import ConfigError, IntegrityError, StorageError
from mediagit_storage.events import Event, emit
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.mirror.batching import run_batch
from mediagit_storage.layers.mirror.config import MirrorConfig
from mediagit_storage.layers.mirror.following import Following, Send, look
from mediagit_storage.layers.mirror.joining import (
    check_members,
    common_capabilities,
    lasting,
    names_of,
    one_provider,
    place_of_notes,
)
from mediagit_storage.layers.mirror.members import Member, MirrorStatus, ReplicaStatus
from mediagit_storage.layers.mirror.pending import Pending, Ticket
from mediagit_storage.layers.mirror.reading import Read, Reads, ReplicaBody, replica_named
from mediagit_storage.layers.mirror.repairing import Difference, RepairRules, repaired
from mediagit_storage.layers.mirror.sharing import Again, Late, Shared
from mediagit_storage.scope import current_scope
from mediagit_storage.source import BytesSource, Source
from mediagit_storage.types import (
    JSON,
    Checksum,
    ConnectionInfo,
    CopyOptions,
    DeleteOptions,
    Finding,
    FindingLevel,
    ListOptions,
    ObjectInfo,
    PresignOptions,
    PutOptions,
    ReadOptions,
)

__all__ = ["MirrorLayer"]

logger: Final = logging.getLogger("mediagit_storage")

_PROVIDERS_OWN: Final = frozenset({"storage_class"})


class MirrorLayer(Layer):
    """``inner``, the primary, and ``replicas`` that follow it. Owns and closes them all.

    Every change goes to the primary first, which alone decides about conditions; then to the replicas, all before the
    call returns. It is acknowledged when ``require`` of them have it, else it is an `UnavailableError`: then the primary
    has it all the same. Listings, ETags, versions and links are the primary's. Reads are, too, unless ``failover`` lets a
    replica answer them (see `reading`). What a replica misses is written down (see `pending`), and `repair` makes up
    for it. So a replica holds, for each key, what the primary holds or held before, and nothing else.

    A put makes one more request, a look whether it still stands; a copy or rename sends the bytes to each replica. A
    `ConfigError`: no replicas, fewer than ``require``, a member that is or holds another one, and ``failover`` with a
    member that has no conditional reads, or without a folder to remember in what replicas miss.
    """

    layer_name: ClassVar[str] = "mirror"

    def __init__(
        self,
        inner: StorageBackend,
        replicas: Sequence[StorageBackend],
        config: MirrorConfig | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        chosen = config or MirrorConfig()
        super().__init__(inner, chosen)
        self._backends = tuple(replicas)
        require = len(self._backends) if chosen.require is None else chosen.require
        check_members(inner, self._backends, require, failover=chosen.failover)
        primary, *others = (
            Member(number, each, chosen.pause, clock) for number, each in enumerate((inner, *self._backends))
        )
        self._replicas = tuple(others)
        place = place_of_notes(inner, self._backends, chosen.state)
        if place is None and lasting((inner, *self._backends)):
            _without_notes(failover=chosen.failover)
        self._pending = Pending(place, names_of(self._backends), believed=chosen.failover)
        foreign = frozenset[str]() if one_provider(inner, self._backends) else _PROVIDERS_OWN
        self._following = Following(primary, others, self._pending, require, foreign)
        self._reads = Reads(primary, self._replicas, self._pending, failover=chosen.failover, hedge=chosen.hedge)
        self._capabilities = common_capabilities(inner.capabilities, self._backends, foreign)

    @classmethod
    def from_config(
        cls, inner: StorageBackend, config: MirrorConfig, others: Mapping[str, Sequence[StorageBackend]]
    ) -> MirrorLayer:
        """What ``layer = "mirror"`` in a profile makes."""
        return cls(inner, others["replicas"], config)

    @property
    def replicas(self) -> tuple[StorageBackend, ...]:
        """The storages that follow, in their order: the first is number 1."""
        return self._backends

    @property
    def capabilities(self) -> Capabilities:
        """The primary's; attributes, retention, keys and sizes as all members have them.

        Off are new heads for old objects and links to write: they would pass the replicas by.
        """
        return self._capabilities

    # ---- changes

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """To the primary, then to the replicas: from memory at once, by reading again one after the other.

        A source that can be read only once is read once, for all; no replica ends before the primary has the object.
        """
        late = None if options.late_attributes is None else Late(options.late_attributes)
        theirs = replace(options, if_absent=False, if_match=None, resume=None, late_attributes=late and late.decided)
        ours = options if late is None else replace(options, late_attributes=late)
        data = source.buffer()
        if data is None and not source.rewindable:
            shared = Shared(source, self._replicas, lambda member, piped: _store(member, key, piped, theirs))
            with closing(shared):
                return self._put(key, shared, ours, partial(self._commit, shared, key), at_once=True)
        again = BytesSource(data) if data is not None else Again(source, declared=options.checksum is not None)
        first = again.first if isinstance(again, Again) else source

        def send(member: Member) -> None:
            plain = theirs if late is None else replace(theirs, attributes=late.decided(), late_attributes=None)
            try:
                _store(member, key, again, plain)
            except Exception as error:
                if isinstance(error, StorageError) and not isinstance(error, IntegrityError):
                    raise
                # The source is not any more what the primary has stored.
                self._following.give(key, self._following.now(key), member)

        return self._put(key, first, ours, send, at_once=data is not None)

    def delete(self, key: str, options: DeleteOptions) -> None:
        """From the primary, then from the replicas, which hold no versions for it: only the current object, or none."""
        before = None if options.version is None else look(self.inner, key)
        ticket = self._following.begin(key, deleting=(key,))
        with self._deciding(ticket):
            self.inner.delete(key, options)
        now = None if options.version is None else self._now(ticket, key)
        if options.version is not None and _same_version(before, now):
            self._pending.undone(ticket)
        else:
            self._follow_copy(ticket, key, now)

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """Within the primary; its copy is then sent to the replicas, whose own source may be an older one."""
        ticket = self._following.begin(target)
        with self._deciding(ticket):
            info = self.inner.copy(source, target, options)
        self._follow_copy(ticket, target, info)
        return info

    def rename(self, source: str, target: str, *, if_absent: bool = False) -> ObjectInfo:
        """Within the primary, atomically; each replica then gets the new object before it loses the old one."""
        ticket = self._following.begin(*dict.fromkeys((source, target)), deleting=(source,))
        with self._deciding(ticket):
            info = self.inner.rename(source, target, if_absent=if_absent)
        if source == target:
            self._pending.undone(ticket)
            return info

        def send(member: Member) -> None:
            self._following.give(target, self._following.now(target), member)
            self._following.give(source, None, member)

        self._following.follow(ticket, {target: info, source: None}, send, at_once=True)
        return info

    def create(self, *, versioning: bool | None = None) -> None:
        """On every member; ``versioning`` is for the primary."""
        self.inner.create(versioning=versioning)
        for each in self._backends:
            each.create()

    def replace_head(self, key: str, head: bytes, old_length: int, *, if_match: str) -> ObjectInfo:
        """Refused: replicas would have to be sent all of it."""
        self._refuse("replacing the head of an object on replicas")

    def presign(self, key: str, options: PresignOptions) -> str:
        """The primary's link to read. Who writes by a link passes the replicas by."""
        if options.method not in self.capabilities.presign:
            self._refuse(f"presigned URLs for {options.method}, which would pass the replicas by")
        return self.inner.presign(key, options)

    # ---- reads

    def read(self, key: str, options: ReadOptions) -> Content:
        """The primary's; with ``failover`` a replica's, whole, where the primary cannot be reached or gives damaged bytes."""
        return self._reads.answer(
            Read(
                "read",
                key,
                options,
                lambda backend, asked: backend.read(key, asked),
                lambda content, marked: Content(marked(content.info), content.data, content.start),
            )
        )

    def stream(self, key: str, options: ReadOptions) -> Body:
        """The same. A stream that breaks off raises: another member's bytes are never put behind those of one."""
        return self._reads.answer(
            Read(
                "stream",
                key,
                options,
                lambda backend, asked: backend.stream(key, asked),
                lambda body, marked: ReplicaBody(body, marked(body.info)),
            )
        )

    def stat(self, key: str, version: str | None = None) -> ObjectInfo:
        """The primary's. With ``failover`` a replica may tell of an object, never of an absence."""
        return self._reads.answer(
            Read(
                "stat",
                key,
                ReadOptions(version=version),
                lambda backend, asked: backend.stat(key, asked.version),
                lambda info, marked: marked(info),
            )
        )

    def content_checksum(self, key: str, options: ReadOptions) -> Checksum | None:
        """That of the member whose ETag is named."""
        named = replica_named(options.if_match)
        if named is None or not 1 <= named[0] <= len(self._backends):
            return self.inner.content_checksum(key, options)
        return self._backends[named[0] - 1].content_checksum(key, replace(options, if_match=named[1]))

    def batch(self, operations: Iterator[Operation | None], limits: BatchLimits) -> Iterator[Completion]:
        """Reads in the primary's own batch, changes in threads. Where reads fail over, those that failed go one by one."""
        return run_batch(self, self.inner, operations, limits, self._reads)

    # ---- the mirror itself

    def status(self) -> MirrorStatus:
        """What is known without asking anybody."""
        replicas = []
        for each in self._replicas:
            behind, everything = self._pending.count(each.number)
            replicas.append(ReplicaStatus(each.number, each.backend.description, each.up, behind, everything))
        return MirrorStatus(self._reads.failovers, tuple(replicas))

    def repair(self, rules: RepairRules | None = None) -> Generator[Difference, None, None]:
        """Find what replicas lack or have otherwise, and copy it from the primary; see `RepairRules`.

        Yields each difference as it was dealt with. Closing stops; doing it again goes on with what is left. Writers need
        not wait meanwhile.
        """
        return repaired(self._following, rules or RepairRules())

    def check(self) -> Iterable[Finding]:
        """What the primary knows; whether each replica can be listed, and what it is known to have missed."""
        yield from self.inner.check()
        status = self.status()
        for member, known in zip(self._replicas, status.replicas, strict=True):
            yield _reachable(member)
            if known.everything or known.behind:
                what = "an unknown number of changes" if known.everything else f"changes of {known.behind:,} keys"
                advice = "repair the mirror"
                yield Finding("mirror", FindingLevel.WARNING, f"{member.name} has missed {what}", advice)

    def connection_info(self) -> ConnectionInfo:
        """The primary's, led by this layer with the replicas' own."""
        info = super().connection_info()
        layers = info.config["layers"]
        others: list[JSON] = [each.connection_info().to_json() for each in self._backends]
        if isinstance(layers, list) and isinstance(layers[0], dict):
            layers[0]["replicas"] = others
        return info

    def close(self) -> None:
        """Close every member, also where one of them raises."""
        with ExitStack() as closing_all:
            for each in (self.inner, *self._backends):
                closing_all.callback(each.close)
            closing_all.callback(self._pending.close)

    def __reduce__(self) -> tuple[object, ...]:
        return (_copy, (self.inner, self._backends, self.config))

    def __repr__(self) -> str:
        return f"<MirrorLayer {[*self._backends]!r} over {self.inner!r}>"

    # ---- parts

    def _put(self, key: str, source: Source, options: PutOptions, send: Send, *, at_once: bool) -> ObjectInfo:
        ticket = self._following.begin(key)
        with self._deciding(ticket):
            info = self.inner.put(key, source, options)
        self._following.follow(ticket, {key: info}, send, at_once=at_once)
        return info

    def _commit(self, shared: Shared, key: str, member: Member) -> None:
        try:
            shared.commit(member)
        except Exception:  # noqa: BLE001  # whatever it was, the source cannot be read again
            current_scope().check()
            self._following.give(key, self._following.now(key), member)

    def _now(self, ticket: Ticket, key: str) -> ObjectInfo | None:
        """What the primary has after a change that did not tell."""
        with self._deciding(ticket):
            return look(self.inner, key)

    def _follow_copy(self, ticket: Ticket, key: str, now: ObjectInfo | None) -> None:
        """Let the replicas have what the primary has got, by copying it."""
        give = self._following.give
        self._following.follow(ticket, {key: now}, lambda member: give(key, now, member), at_once=True)

    @contextmanager
    def _deciding(self, ticket: Ticket) -> Iterator[None]:
        """The primary's own step of a change."""
        try:
            yield
        except BaseException as error:
            self._following.failed(ticket, error)
            raise


def _copy(inner: StorageBackend, replicas: Sequence[StorageBackend], config: MirrorConfig) -> MirrorLayer:
    """One that was pickled; what it remembered in memory alone was left behind."""
    mirror = MirrorLayer(inner, replicas, config)
    mirror._pending.forgotten()  # noqa: SLF001  # a part of the class
    return mirror


def _without_notes(*, failover: bool) -> None:
    """Lasting members, and no folder for notes that last: no other process will know what this one leaves undone."""
    why = "there is no folder to remember in what replicas miss (set state, or the variable MGS_STATE_DIR)"
    if failover:
        raise ConfigError(f"{why}, so reads cannot fail over to them")
    message = f"{why}: it ends with this process; repair the whole mirror later"
    logger.warning("mirror: %s", message)
    emit(Event("mirror.no-journal", message))


def _store(member: Member, key: str, source: Source, options: PutOptions) -> None:
    stored = member.backend.put(key, source, options).size
    if None not in {stored, source.size} and stored != source.size:
        raise IntegrityError(f"{stored} bytes were stored of {source.size}")


def _same_version(one: ObjectInfo | None, other: ObjectInfo | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.version == other.version


def _reachable(member: Member) -> Finding:
    try:
        next(iter(member.backend.list("", ListOptions())), None)
    except StorageError as error:
        return Finding("mirror", FindingLevel.FAILED, f"{member.name} cannot be listed: {error.message}")
    return Finding("mirror", FindingLevel.OK, f"{member.name} can be listed")
