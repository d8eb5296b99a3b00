"""A storage that behaves like a far one: ranges side by side, uploads in parts that resume, and a trip wire on the way.

It is a layer over any backend. What was sent of unfinished uploads lies in a folder, so that it outlives a process
that is killed, as it does on a server. What travels is counted.
"""

from __future__ import annotations

import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from mediagit_storage.backend import BatchLimits, Body, Completion, Content, Operation, ReadOperation, StorageBackend
from mediagit_storage.capabilities import Capabilities
from mediagit_storage.errors import CancelledError, UnavailableError
from mediagit_storage.layers.base import Layer
from mediagit_storage.scope import current_scope
from mediagit_storage.source import FileRegion, IterableSource, Source
from mediagit_storage.types import BytesLike, ObjectInfo, PutOptions, ReadOptions

__all__ = ["Remote"]

#: Called with "get" and the number of bytes of a piece, or "part" and those of a part, before it travels; may raise.
Wire = Callable[[str, int], None]


def _nothing(what: str, count: int) -> None:
    """The wire over which everything travels well."""


@dataclass(frozen=True, slots=True)
class _NoOptions:
    """Made in tests only, and configured by its arguments."""


class _Pieces(Body):
    def __init__(self, content: Content, piece: int, wire: Wire) -> None:
        self.info = content.info
        self.start = content.start
        self.length = len(content.data)
        self._data: bytes | None = content.data
        self._piece = piece
        self._wire = wire

    def __iter__(self) -> Iterator[bytes]:
        for place in range(0, self.length, self._piece):
            if self._data is None:
                return
            data = self._data[place : place + self._piece]
            self._wire("get", len(data))
            yield data

    def close(self) -> None:
        self._data = None


class Remote(Layer):
    """``inner`` as if it were far away. ``fetched`` and ``sent`` count the bytes of content that travelled.

    ``folder`` holds the parts of unfinished uploads, each as a file; parts have ``part`` bytes, streams come in pieces
    of ``piece``. ``wire`` is called before anything travels.
    """

    layer_name: ClassVar[str] = "remote"

    def __init__(
        self,
        inner: StorageBackend,
        folder: Path,
        *,
        part: int = 1000,
        piece: int = 400,
        native: bool = False,
        wire: Wire = _nothing,
    ) -> None:
        super().__init__(inner, _NoOptions())
        self.folder = folder
        self.wire = wire
        self.fetched = 0
        self.sent = 0
        self.ranges: list[tuple[int, int]] = []
        self._part = part
        self._piece = piece
        self._native = native
        self._lock = threading.Lock()

    @property
    def capabilities(self) -> Capabilities:
        """Those of the inner storage, and what only far ones have."""
        return replace(self.inner.capabilities, parallel_reads=True, resumable_uploads=True, batch=self._native)

    # ---- reading

    def read(self, key: str, options: ReadOptions) -> Content:
        """Counted."""
        content = self.inner.read(key, options)
        self._travel("get", len(content.data))
        return content

    def stream(self, key: str, options: ReadOptions) -> Body:
        """In pieces, each counted as it is taken."""
        content = self.inner.read(key, options)
        with self._lock:
            self.ranges.append((content.start, len(content.data)))
        return _Pieces(content, self._piece, self._travel)

    def batch(self, operations: Iterator[Operation | None], limits: BatchLimits) -> Iterator[Completion]:
        """As if several travelled at once: of each group the last is the first to complete. Reads only."""
        waiting: list[ReadOperation] = []
        for operation in operations:
            if isinstance(operation, ReadOperation):
                waiting.append(operation)
            if len(waiting) == min(limits.concurrency, 3):
                while waiting:
                    yield self._complete(waiting.pop())
        while waiting:
            yield self._complete(waiting.pop())

    def _complete(self, operation: ReadOperation) -> Completion:
        try:
            return Completion(operation, self.read(operation.key, operation.options), None)
        except Exception as error:  # noqa: BLE001  # every failure belongs to its item
            return Completion(operation, None, error)

    # ---- writing

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """A file that is larger than a part goes in parts, which the same upload finds again."""
        region = source.region()
        if region is None or region.size <= self._part:
            return self.inner.put(key, source, options)
        upload, kept = self._begin(options)
        try:
            parts = self._send(upload, region, source)
            source.finished()
            info = self.inner.put(key, IterableSource(map(_read, parts)), replace(options, resume=None))
        except (UnavailableError, CancelledError, KeyboardInterrupt):
            if not kept:
                self._abort(upload, options)
            raise
        except BaseException:
            self._abort(upload, options)
            raise
        self._abort(upload, options)
        return info

    def _begin(self, options: PutOptions) -> tuple[Path, bool]:
        """The folder of the upload's parts, and whether another run will find it."""
        resume = options.resume
        if resume is None:
            return self._new_upload(), False
        stale = resume.abandoned()
        if stale is not None:
            shutil.rmtree(self.folder / str(stale["upload"]), ignore_errors=True)
        found = resume.load()
        if found is not None and found.get("part") == self._part and (self.folder / str(found["upload"])).is_dir():
            return self.folder / str(found["upload"]), True
        upload = self._new_upload()
        return upload, resume.save({"upload": upload.name, "part": self._part})

    def _new_upload(self) -> Path:
        upload = self.folder / secrets.token_hex(8)
        upload.mkdir(parents=True)
        return upload

    def _send(self, upload: Path, region: FileRegion, source: Source) -> list[Path]:
        parts: list[Path] = []
        for number, offset in enumerate(range(0, region.size, self._part)):
            current_scope().check()
            length = min(self._part, region.size - offset)
            place = upload / f"{number:06}"
            parts.append(place)
            if not place.exists():
                data = region.read(length, offset)
                left = length
                while left:
                    left -= source.admit(left)
                self._travel("part", length)
                unfinished = place.with_suffix(".unfinished")
                unfinished.write_bytes(data)
                unfinished.rename(place)
            source.advance(length)
        return parts

    def _abort(self, upload: Path, options: PutOptions) -> None:
        shutil.rmtree(upload)
        if options.resume is not None:
            options.resume.clear()

    def _travel(self, what: str, count: int) -> None:
        self.wire(what, count)
        with self._lock:
            if what == "get":
                self.fetched += count
            else:
                self.sent += count


def _read(path: Path) -> BytesLike:
    return path.read_bytes()
