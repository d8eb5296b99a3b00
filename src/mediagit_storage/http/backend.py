"""`HttpBackend`: what storages over HTTP do alike, by the parts that each of them sets up."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Generic, Self, TypeVar

from mediagit_storage.backend import BatchLimits, Body, Completion, Content, Operation, StorageBackend
from mediagit_storage.capabilities import Capabilities
from mediagit_storage.clock import SYSTEM_CLOCK, Clock
from mediagit_storage.facets import Place, Placed, Placing, RangePlacing
from mediagit_storage.http.client import HttpClient
from mediagit_storage.http.config import HttpConfig
from mediagit_storage.http.operations import Operations, run_operations
from mediagit_storage.http.placing import place_ranges
from mediagit_storage.http.reading import HttpReader
from mediagit_storage.http.retry import Rules
from mediagit_storage.http.transport import Transport
from mediagit_storage.settings import export_config
from mediagit_storage.types import ConnectionInfo, ReadOptions

__all__ = ["HttpBackend"]

C = TypeVar("C", bound=HttpConfig)


class HttpBackend(StorageBackend, RangePlacing, Generic[C]):
    """One storage that is spoken to over HTTP, opened with a configuration of the type ``C``.

    A backend names its ``SCHEME``, writes `_open`, and the methods that are its own: `put`, `stat`, `list`, `list_dir`,
    `delete`, and what more it can do. Nothing is asked of the service before the first call.
    """

    #: The name under which it is registered.
    SCHEME: ClassVar[str]

    # What `_open` sets. Every read and write goes through capabilities and description, without a step in between.
    _client: HttpClient
    _reader: HttpReader
    _operations: Operations
    _capabilities: Capabilities
    _description: str

    def __init__(self, config: C) -> None:
        self._begin(config)

    @classmethod
    def from_config(cls, config: C, *, clock: Clock = SYSTEM_CLOCK, rules: Rules | None = None) -> Self:
        """The storage that a configuration names. ``clock`` and ``rules`` are seams for tests."""
        self = cls.__new__(cls)
        self._begin(config, clock, rules)
        return self

    def _begin(self, config: C, clock: Clock = SYSTEM_CLOCK, rules: Rules | None = None) -> None:
        self._config = config
        self._clock = clock
        self._transport = Transport(config.transport_options())
        self._open(config, rules if rules is not None else Rules(config.retry_policy(), clock))

    @abstractmethod
    def _open(self, config: C, rules: Rules) -> None:
        """Set the attributes above, without a request; ``_config``, ``_clock`` and ``_transport`` are there."""

    # ---- what is known without asking

    @property
    def capabilities(self) -> Capabilities:
        """What the service can do, as far as the options do not know better."""
        return self._capabilities

    @property
    def description(self) -> str:
        """What a URL of it looks like, with the server's address where that does not tell it."""
        return self._description

    @property
    def config(self) -> C:
        """The options it was opened with."""
        return self._config

    def connection_info(self) -> ConnectionInfo:
        """The options that differ from their defaults; secrets as references only."""
        return ConnectionInfo(self.SCHEME, export_config(self._config))

    # ---- objects

    def read(self, key: str, options: ReadOptions) -> Content:
        """One request. A body that breaks off is gone on with where it stopped, for the same version only."""
        return self._reader.read(key, options)

    def stream(self, key: str, options: ReadOptions) -> Body:
        """One request, pulled by the reader; gone on with like `read`."""
        return self._reader.stream(key, options)

    def batch(self, operations: Iterator[Operation | None], limits: BatchLimits) -> Iterator[Completion]:
        """All in this thread but what takes several requests or waits for its source, which goes to a few threads."""
        return run_operations(self._client, self._operations, operations, limits)

    def placing(self) -> Place:
        """Requests as in a `batch` of reads, in the calling thread; it writes as well."""
        return self._place

    def _place(self, operations: Iterator[Placing], limits: BatchLimits) -> Iterator[Placed]:
        return place_ranges(self._client, self._operations, operations, limits)

    # ---- its life

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __reduce__(self) -> tuple[object, ...]:
        return (_reopen, (type(self), self._config))


def _reopen(kind: type[HttpBackend[C]], config: C) -> HttpBackend[C]:
    return kind.from_config(config)
