"""A storage that nobody asks: what lies below the layers while links are made, so that links need no credentials of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from mediagit_storage.backend import Body, Content, StorageBackend
from mediagit_storage.capabilities import EVERYTHING, Capabilities
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


class UnopenedBackend(StorageBackend):
    """Refuses all that would ask the storage. For a link of the storage's own it is opened, and closed again."""

    def __init__(self, unopened: Unopened) -> None:
        self._unopened = unopened

    @property
    def capabilities(self) -> Capabilities:
        """Everything: no layer is to be refused for what the storage might not be able to do."""
        return EVERYTHING

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
