"""The files that the filesystem opens: a reader that can be pickled, and a writer that stores all or nothing."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Protocol, Self

from fsspec.core import OpenFile  # type: ignore[import-untyped]
from fsspec.spec import AbstractFileSystem  # type: ignore[import-untyped]

from mediagit_storage.backend import Content
from mediagit_storage.errors import ClosedError, PreconditionError
from mediagit_storage.reader import ObjectReader
from mediagit_storage.types import ByteRange, BytesLike, ObjectInfo
from mediagit_storage.writer import ObjectWriter

__all__ = ["Encoder", "MgsReader", "MgsTextWriter", "MgsWriter"]


class MgsReader(ObjectReader):
    """A seekable file over one version of an object, with read-ahead. One thread at a time; `read_at` is for several.

    It can be pickled, by reference: what is unpickled reads from the same position of the same object, and is a
    `PreconditionError` if another one is there by then.
    """

    def __init__(self, fs: AbstractFileSystem, path: str, inner: ObjectReader, version: str | None) -> None:
        info, size = inner.info, inner.seek(0, io.SEEK_END)

        def read(wanted: ByteRange) -> Content:
            offset = wanted.offset or 0
            return Content(info, inner.read_at(offset, size if wanted.length is None else wanted.length), offset)

        super().__init__(read, info, size)
        self.fs = fs
        self.path = path
        self.size = size
        self._version = version

    @property
    def full_name(self) -> str:
        """The path with its protocol."""
        return f"mgs://{self.path}"

    def __reduce__(self) -> tuple[object, ...]:
        return (_reopened, (self.fs, self.path, self._version, _identity(self.info), self.tell()))


def _identity(info: ObjectInfo) -> tuple[object, ...]:
    """What tells an object from its successor, also where a storage has no ETags."""
    return info.etag, info.size, info.modified


def _reopened(
    fs: AbstractFileSystem, path: str, version: str | None, identity: tuple[object, ...], position: int
) -> MgsReader:
    file: MgsReader = fs.open(path, "rb", version=version)
    if _identity(file.info) != identity:
        file.close()
        raise PreconditionError("another object was written there since the file was opened", key=path)
    file.seek(position)
    return file


class Encoder(Protocol):
    """What compresses on the way into a file."""

    def write(self, data: BytesLike, /) -> int | None:
        """Take in all of ``data``."""
        ...

    def flush(self) -> object:
        """Pass on what was taken in."""
        ...

    def close(self) -> object:
        """Pass on all that is left."""
        ...


class _Body:
    """What an encoder writes into. Closing it commits nothing, and after a failure what comes still is dropped."""

    def __init__(self, upload: ObjectWriter) -> None:
        self.upload = upload
        self.name = upload.name
        self.mode = "wb"
        self.failed = False
        self.closed = False

    def write(self, data: BytesLike, /) -> int:
        return len(memoryview(data).cast("B")) if self.failed else self.upload.write(data)

    def flush(self) -> None:
        if not self.failed:
            self.upload.flush()

    def tell(self) -> int:
        return self.upload.tell()

    def close(self) -> None:
        """Some encoders close what they write into."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


@io.BufferedIOBase.register
class MgsWriter:
    """A binary file to write to: `close` stores the object, all of it, and nothing else does.

    Nothing is stored, and an object that was there stays, when the ``with`` block ends by an exception, also that of
    `fsspec.open`; when the file is lost without being closed, also behind an `io.TextIOWrapper`; and when the
    transaction that it belongs to is left by an exception. In a transaction `close` only ends the writing, and the end
    of the transaction stores. One thread at a time.
    """

    def __init__(
        self,
        fs: AbstractFileSystem,
        path: str,
        upload: ObjectWriter,
        *,
        autocommit: bool,
        encoder: Callable[[object], Encoder] | None,
    ) -> None:
        self.fs = fs
        self.path = path
        self.name = path
        self.mode = "wb"
        self.autocommit = autocommit
        self._upload = upload
        self._body = _Body(upload)
        self._encoder: Encoder = self._body if encoder is None else encoder(self._body)
        self._closed = False

    @property
    def full_name(self) -> str:
        """The path with its protocol."""
        return f"mgs://{self.path}"

    def write(self, data: BytesLike) -> int:
        """Take in all of ``data`` and return its length. Raises what the storage raised, as soon as it is known."""
        self._require_open()
        self._encoder.write(data)
        return len(memoryview(data).cast("B"))

    def writelines(self, lines: Iterable[BytesLike]) -> None:
        """Write one after the other."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Hand over what was written so far. It becomes visible only when the object is stored."""
        self._require_open()
        self._encoder.flush()

    def close(self) -> None:
        """Store the object: complete, durable and visible when this returns. Closing again does nothing.

        In a transaction this happens at its end. Raises what storing raised; nothing is stored then.
        """
        if self._closed:
            return
        if not self._body.failed and _exits_with_an_error(self):
            self.fail()
        self._closed = True
        if self._body.failed:
            self._encoder.close()
            return
        try:
            self._encoder.close()
            if self.autocommit:
                self._upload.close()
        except BaseException:
            self._upload.abort()
            raise

    def fail(self) -> None:
        """Give up at once: nothing is stored, and what is written still is dropped."""
        self._body.failed = True
        self._upload.abort()

    def commit(self) -> None:
        """Store what was written; a transaction calls this at its end. A file that is still open is a `ValueError`."""
        if not self._closed:
            self.discard()
            raise ValueError(f"{self.path!r} is still open at the end of its transaction, and is not stored")
        self._upload.close()

    def discard(self) -> None:
        """Store nothing; a transaction calls this when it is left by an exception."""
        self.fail()
        self._closed = True

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def tell(self) -> int:
        """Bytes stored so far."""
        return self._upload.tell()

    def readable(self) -> bool:
        """No."""
        return False

    def writable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """No: objects are written from start to end."""
        return False

    def isatty(self) -> bool:
        """No."""
        return False

    def _dealloc_warn(self, source: object) -> None:
        """CPython's word that the wrapper around this was lost, and closes it now without anybody having asked."""
        self.fail()

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a file that is being written cannot be pickled or copied: open it where it is written")

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError("the writer is closed")

    def __enter__(self) -> Self:
        self._require_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.fail()
        self.close()


class MgsTextWriter(io.TextIOWrapper):
    """A text file over a `MgsWriter`: leaving its ``with`` block by an exception stores nothing."""

    def __init__(
        self, file: MgsWriter, *, encoding: str | None = None, errors: str | None = None, newline: str | None = None
    ) -> None:
        super().__init__(file, encoding=encoding, errors=errors, newline=newline)  # type: ignore[arg-type]  # a writer
        self._file = file

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._file.fail()
        super().__exit__(kind, error, trace)


def _exits_with_an_error(file: MgsWriter) -> bool:
    """Whether ``with fsspec.open(...)`` around this file is being left by an exception.

    fsspec closes its files then as if nothing had happened, so the only place to learn of it is the stack.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code is OpenFile.__exit__.__code__:
            outer, arguments = frame.f_locals.get("self"), frame.f_locals.get("args") or (None,)
            if any(each is file for each in getattr(outer, "fobjects", ())):
                return arguments[0] is not None
        frame = frame.f_back
    return False
