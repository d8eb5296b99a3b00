"""Sources: what a put reads its bytes from.

A backend sees one interface whatever the user handed over: the whole content where it lies in memory already
(`Source.buffer`), an open file it may read by position (`Source.region`), or chunks.
"""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, Protocol, runtime_checkable

from mediagit_storage.errors import IntegrityError, StorageError
from mediagit_storage.types import BytesLike

__all__ = [
    "CHUNK",
    "BinaryFile",
    "BytesSource",
    "FileRegion",
    "FileSource",
    "FileState",
    "IterableSource",
    "Source",
    "SourceData",
    "as_source",
    "changed_file",
]

#: How much is read from a file at a time, in bytes.
CHUNK: Final = 1024 * 1024
#: `BytesLike`, for `isinstance`: a union would be made anew for every look.
_MEMORY: Final = (bytes, bytearray, memoryview)


@runtime_checkable
class BinaryFile(Protocol):
    """The part of a binary file that a put needs."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; empty at the end."""
        ...


SourceData = BytesLike | BinaryFile | Iterable[BytesLike]


class FileState(NamedTuple):
    """What of an open file changes when somebody writes to it."""

    size: int
    modified_ns: int

    @classmethod
    def of(cls, descriptor: int) -> FileState:
        """As it is now."""
        status = os.fstat(descriptor)
        return cls(status.st_size, status.st_mtime_ns)


class FileRegion(NamedTuple):
    """A part of a file on disk, for those who read by position: ``size`` bytes from ``offset`` of ``descriptor``."""

    descriptor: int
    offset: int
    size: int

    def read(self, length: int, offset: int) -> bytes:
        """Exactly ``length`` bytes from ``offset`` of the region; `IntegrityError` when the file has become shorter.

        Thread-safe.
        """
        pieces: list[bytes] = []
        missing = length
        while missing:
            data = os.pread(self.descriptor, missing, self.offset + offset + length - missing)
            if not data:
                raise changed_file()
            pieces.append(data)
            missing -= len(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class Source(ABC):
    """Bytes to be stored. ``size`` is None while it is unknown; ``rewindable`` says if `chunks` may be called again."""

    size: int | None
    rewindable: bool

    @abstractmethod
    def chunks(self) -> Iterator[BytesLike]:
        """All the bytes from the start, in pieces of any length (a piece is valid until the next is asked for).

        Raises `StorageError` when called again on a source that is not rewindable; errors of the user's own
        iterator or file pass through unchanged.
        """

    def buffer(self) -> BytesLike | None:
        """The whole content if it lies in memory already, else None."""
        return None

    # ---- for uploads in parts, which are read in any order, and for those that resume, which leave some out

    def region(self) -> FileRegion | None:
        """Where the content lies in a file on disk, to be read by position in any order, else None.

        Who reads it calls `admit` before bytes of it are sent, `advance` for what is done, and `finished` before the
        commit. A declared checksum is verified before this returns.
        """
        return None

    def admit(self, count: int) -> int:
        """How many of the next ``count`` bytes of the `region` may be sent now, at least one: it waits for their turn.

        What is only read, for a digest, needs no turn.
        """
        return count

    def finished(self) -> None:  # noqa: B027  # what lies in memory or comes once has nothing to prove
        """Call when the `region` was read, before the commit: `IntegrityError` if the file is not as it was."""

    def advance(self, count: int) -> None:  # noqa: B027  # nobody may be watching
        """Report ``count`` bytes of the `region` as done: stored now, or by the run that is being resumed."""


class BytesSource(Source):
    """Content in memory. The caller keeps it unchanged until the put returns."""

    rewindable = True

    def __init__(self, data: BytesLike) -> None:
        self._data = _flat(data)
        self.size = len(self._data)

    def chunks(self) -> Iterator[BytesLike]:
        """The content as one piece, nothing for an empty one."""
        if self.size:
            yield self._data

    def buffer(self) -> BytesLike:
        """The content."""
        return self._data


class FileSource(Source):
    """An open binary file from its current position; never closed here. Rewindable where the file can seek."""

    def __init__(self, file: BinaryFile) -> None:
        self._file = file
        self._start = _position(file)
        self.rewindable = self._start is not None
        self.size = _remaining(file, self._start)
        self._used = False
        self._before: FileState | None = None

    def chunks(self) -> Iterator[BytesLike]:
        """The rest of the file in pieces of `CHUNK` bytes; again from the same position on a second call."""
        if self._start is not None:
            self._file.seek(self._start)  # type: ignore[attr-defined]  # _position() proved that it can
        elif self._used:
            raise StorageError("the source was read once already and cannot be rewound")
        self._used = True
        while chunk := self._read():
            yield chunk

    def pread(self, length: int, offset: int) -> bytes | None:
        """``length`` bytes at ``offset`` of this source, without moving the file; None where that is impossible.

        Thread-safe. Shorter only at the end of the file.
        """
        descriptor = self.descriptor()
        return None if descriptor is None else os.pread(descriptor, length, (self._start or 0) + offset)

    def descriptor(self) -> int | None:
        """The operating system's descriptor of a plain file on disk, else None."""
        # A buffer may also lie over a member of an archive or over memory.
        raw = self._file.raw if isinstance(self._file, io.BufferedReader | io.BufferedRandom) else self._file
        if self._start is None or not isinstance(raw, io.FileIO):
            return None
        if isinstance(self._file, io.BufferedRandom):
            self._file.flush()
        return raw.fileno()

    def region(self) -> FileRegion | None:
        """The rest of the file, where it lies on disk. It must not change from here on."""
        descriptor = self.descriptor()
        if descriptor is None or self.size is None:
            return None
        self._before = self._before or FileState.of(descriptor)
        return FileRegion(descriptor, self._start or 0, self.size)

    def finished(self) -> None:
        """Compares size and time of change with those of before."""
        descriptor = self.descriptor()
        if self._before is not None and descriptor is not None and FileState.of(descriptor) != self._before:
            raise changed_file()

    @property
    def start(self) -> int | None:
        """The position in the file where this source begins."""
        return self._start

    def _read(self) -> bytes:
        chunk = self._file.read(CHUNK)
        if isinstance(chunk, str):  # type: ignore[unreachable]  # the user's file may break its promise
            raise TypeError("the source is a text file; open it in binary mode ('rb')")
        if chunk is None:
            raise BlockingIOError("the source is a non-blocking file that has no data now")
        return chunk


class IterableSource(Source):
    """An iterable of bytes-like pieces. A list or tuple can be gone through again, an iterator cannot."""

    def __init__(self, pieces: Iterable[BytesLike]) -> None:
        self._pieces = pieces
        self.rewindable = not isinstance(pieces, Iterator)
        self.size = None
        self._used = False

    def chunks(self) -> Iterator[BytesLike]:
        """The pieces as they come."""
        if self._used and not self.rewindable:
            raise StorageError("the source was read once already and cannot be rewound")
        self._used = True
        for piece in self._pieces:
            if not isinstance(piece, _MEMORY):
                raise TypeError(f"a source yields bytes-like pieces, not {type(piece).__name__}")
            yield _flat(piece)


def as_source(data: SourceData) -> Source:
    """The source for what a user handed to ``put``.

    Takes bytes-like objects, binary files (from their current position) and iterables of bytes-like objects.
    A ``str``, a text file or anything else is a `TypeError`.
    """
    if isinstance(data, _MEMORY):
        return BytesSource(data)
    if isinstance(data, str):  # an iterable of str, which no type checker refuses
        raise TypeError("data is bytes, not str: encode the text first, for example with .encode()")
    if isinstance(data, io.TextIOBase):  # type: ignore[unreachable]  # the caller may not run a type checker
        raise TypeError("data is a text file; open it in binary mode ('rb')")
    if isinstance(data, BinaryFile):
        return FileSource(data)
    if isinstance(data, Iterable):
        return IterableSource(data)
    raise TypeError(f"data is bytes-like, a binary file or an iterable of bytes-like, not {type(data).__name__}")


def changed_file() -> IntegrityError:
    """The error for a local file that did not keep still."""
    return IntegrityError("the local file changed while it was read; nothing was stored")


def _flat(data: BytesLike) -> BytesLike:
    """The same bytes in a row, one an item: len() of a view counts items, and nothing can be written from one with gaps."""
    if not isinstance(data, memoryview) or (data.format == "B" and data.ndim == 1 and data.c_contiguous):
        return data
    try:
        return data.cast("B")
    except TypeError:
        return data.tobytes()


def _position(file: BinaryFile) -> int | None:
    try:
        return int(file.tell()) if file.seekable() else None  # type: ignore[attr-defined]  # absent: caught below
    except (AttributeError, OSError):
        return None


def _remaining(file: BinaryFile, start: int | None) -> int | None:
    if start is None:
        return None
    try:
        end = int(file.seek(0, os.SEEK_END))  # type: ignore[attr-defined]  # a position means that it can seek
    except OSError:
        # Files that the kernel makes up as they are read have a position and no end.
        return None
    file.seek(start)  # type: ignore[attr-defined]
    return max(0, end - start)
