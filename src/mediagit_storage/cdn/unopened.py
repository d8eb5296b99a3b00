"""A storage that nobody asks: what lies below the layers while links are made, so that links need no credentials of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Final

from mediagit_storage.backend import Body, Content, StorageBackend
from mediagit_storage.capabilities import ALL_ATTRIBUTES, Capabilities
from mediagit_storage.opening import Unopened
from mediagit_storage.source import Source
from mediagit_storage.types import (
    ConnectionInfo,
    DeleteOptions,
    Entry,
    ListOptions,
    ObjectInfo,
    PresignOptions,
    PutOptions,
    ReadOptions,
)

__all__ = ["UnopenedBackend"]

#: No layer is to be refused for what the storage might not be able to do.
_ALL: Final = Capabilities(
    if_absent=True,
    if_match=True,
    delete_if_match=True,
    read_conditions=True,
    copy_if_absent=True,
    versions=True,
    retention=True,
    attributes=ALL_ATTRIBUTES,
    presign=frozenset({"GET", "PUT", "DELETE"}),
    server_copy=True,
    server_rename=True,
    batch=True,
    pending_uploads=True,
    late_metadata=True,
    replace_head=True,
    parallel_reads=True,
    resumable_uploads=True,
    raw_keys=True,
)


class UnopenedBackend(StorageBackend):
    """Refuses all that would ask the storage. For a link of the storage's own it is opened, and closed again."""

    def __init__(self, unopened: Unopened) -> None:
        self._unopened = unopened

    @property
    def capabilities(self) -> Capabilities:
        """Everything that layers may need."""
        return _ALL

    @property
    def description(self) -> str:
        """Where the storage is, as far as its URL says."""
        return self._unopened.description

    def presign(self, key: str, options: PresignOptions) -> str:
        """That of the storage."""
        with closing(self._unopened.opened()) as backend:
            return backend.presign(key, options)

    def connection_info(self) -> ConnectionInfo:
        """Refused: what is kept for a storage is not for this."""
        self._refuse("being opened again while only links are made")

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Refused."""
        self._refuse("requests while only links are made")

    def read(self, key: str, options: ReadOptions) -> Content:
        """Refused."""
        self._refuse("requests while only links are made")

    def stream(self, key: str, options: ReadOptions) -> Body:
        """Refused."""
        self._refuse("requests while only links are made")

    def stat(self, key: str, version: str | None = None) -> ObjectInfo:
        """Refused."""
        self._refuse("requests while only links are made")

    def list(self, prefix: str, options: ListOptions) -> Iterator[ObjectInfo]:
        """Refused."""
        self._refuse("requests while only links are made")

    def list_dir(self, prefix: str, options: ListOptions) -> Iterator[Entry]:
        """Refused."""
        self._refuse("requests while only links are made")

    def delete(self, key: str, options: DeleteOptions) -> None:
        """Refused."""
        self._refuse("requests while only links are made")
