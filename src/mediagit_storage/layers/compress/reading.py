"""Reading compressed objects: what their ends tell, and the plain bytes of their frames."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from mediagit_storage.backend import Body, Content, StorageBackend
from mediagit_storage.errors import (
    IntegrityError,
    InvalidRangeError,
    PreconditionError,
    TruncatedError,
    UnavailableError,
)
from mediagit_storage.layers.compress.codec import Codec
from mediagit_storage.layers.compress.config import CompressConfig
from mediagit_storage.layers.compress.framing import (
    HEAD,
    Layout,
    check_frame,
    has_head,
    parse_layout,
    read_ending,
)
from mediagit_storage.layers.ordered import ordered
from mediagit_storage.ranges import Span, resolve_range
from mediagit_storage.scope import current_scope
from mediagit_storage.types import WHOLE, ByteRange, BytesLike, ObjectInfo, ReadOptions

__all__ = ["Reader", "as_plain"]

T = TypeVar("T")

#: How much of an object's end is asked for at first: the table of 2,700 frames, and the whole of a small object.
_TAIL: Final = 32 * 1024
#: How often a read begins anew because the object was written to between its requests.
_ATTEMPTS: Final = 5
#: Layouts that are remembered for readers who pin an ETag: how many, and of at most how many frames.
_REMEMBERED: Final = 16
_REMEMBERED_FRAMES: Final = 64 * 1024


class _ChangedError(Exception):
    """Between two requests somebody wrote the object."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """One version of an object, as it is seen and as it is stored; ``layout`` is None for a foreign one.

    ``tail`` holds the stored bytes from ``tail_start`` on.
    """

    info: ObjectInfo
    stored: ObjectInfo
    layout: Layout | None
    tail: bytes
    tail_start: int

    def held(self, stored: Span) -> memoryview | None:
        """Stored bytes that came with the end; None where they did not."""
        begin = stored.start - self.tail_start
        return memoryview(self.tail)[begin : begin + stored.length] if begin >= 0 else None


class _CompressedBody(Body):
    """Plain bytes out of an inner body, or out of what is in memory."""

    def __init__(
        self, info: ObjectInfo, span: Span, pieces: Generator[bytes, None, None], inner: Body | None = None
    ) -> None:
        self.info = info
        self.start, self.length = span
        self._pieces = pieces
        self._inner = inner

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces

    def close(self) -> None:
        self._pieces.close()
        if self._inner is not None:
            self._inner.close()


class Reader:
    """Opens and reads objects of ``inner``. Thread-safe."""

    def __init__(self, inner: StorageBackend, config: CompressConfig, codec: Codec) -> None:
        self._inner = inner
        self._limits = config.limits
        self._passes = config.foreign == "pass"
        self._workers = config.workers
        self._codec = codec
        self._pins = inner.capabilities.read_conditions
        self._known: OrderedDict[tuple[str, str], Layout] = OrderedDict()

    # ---- what an object is

    def look(self, key: str, options: ReadOptions) -> ObjectInfo:
        """What the object's end tells, by one request; by one more where its table is longer, or it may be foreign.

        Raises `IntegrityError` for what this layer did not write, unless it passes such objects, and for what it wrote
        and was damaged.
        """
        return _steadily(lambda: self._look(key, options)).info

    def _look(self, key: str, options: ReadOptions) -> _Opened:
        content = self._inner.read(key, replace(options, range=ByteRange(suffix=_TAIL)))
        return self._opened(content, key, options)

    def _opened(self, content: Content, key: str, options: ReadOptions) -> _Opened:
        info, tail, start = content
        stored = start + len(tail)
        ending = read_ending(tail, stored)
        if ending is not None and ending.size > len(tail):
            start = stored - ending.size
            tail = self._more(key, options, info, Span(start, ending.size))
        # A view: the table of a hostile object may have 64 MiB, and a copy as many more.
        layout = None if ending is None else parse_layout(memoryview(tail)[-ending.size :], stored, self._limits)
        if layout is None:
            self._require_foreign(tail if start == 0 else None, key, options, info)
            return _Opened(info, info, None, tail, start)
        if start and info.etag is not None and layout.frames <= _REMEMBERED_FRAMES:
            self._known[key, info.etag] = layout
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return _Opened(as_plain(info, layout.plain_size), info, layout, tail, start)

    def _require_foreign(self, whole: bytes | None, key: str, options: ReadOptions, info: ObjectInfo) -> None:
        """What does not end like ours must be let pass, and must not begin like ours."""
        if not self._passes:
            raise IntegrityError(
                "the object does not end like those of the layer 'compress': it was written without the layer, or is"
                ' damaged; foreign = "pass" reads what was written without it'
            )
        begin = self._more(key, options, info, Span(0, len(HEAD))) if whole is None else whole
        if has_head(begin):
            raise TruncatedError("the object begins like those of the layer 'compress' and is cut off or damaged")

    # ---- reading

    def read(self, key: str, options: ReadOptions) -> Content:
        """The plain bytes asked for, in memory. A whole object is one request, a range up to two (see `stream`)."""
        if options.range == WHOLE:
            content = self._inner.read(key, options)
            opened = self._opened(content, key, options)
            if opened.layout is None:
                return content
            pieces = self._plain(opened, opened.layout, Span(0, opened.layout.plain_size), None)
            return Content(opened.info, b"".join(pieces), 0)
        with self.stream(key, options) as body:
            return Content(body.info, b"".join(body), body.start)

    def stream(self, key: str, options: ReadOptions) -> Body:
        """The plain bytes asked for: a request for the object's end, and one for the frames that hold them.

        One is enough where the frames came with the end, and for a caller who pins the ETag of an object whose end was
        read before.
        """
        known = None if options.if_match is None else self._known.get((key, options.if_match))
        if known is not None:
            body = self._at_once(key, options, known)
            if body is not None:
                return body
        return _steadily(lambda: self._stream(key, options))

    def _stream(self, key: str, options: ReadOptions) -> Body:
        opened = self._look(key, options)
        layout = opened.layout
        if layout is None:
            return self._open(key, options, opened.stored, options.range)
        span = resolve_range(options.range, layout.plain_size)
        stored = _stored_span(layout, span)
        if not stored.length or opened.held(stored) is not None:
            return _CompressedBody(opened.info, span, self._plain(opened, layout, span, None))
        body = self._open(key, options, opened.stored, ByteRange(*stored))
        return _CompressedBody(opened.info, span, self._plain(opened, layout, span, body), body)

    def _at_once(self, key: str, options: ReadOptions, layout: Layout) -> Body | None:
        """A part of an object whose layout is known: that its ETag is what the caller insists on is proof enough.

        None where no frame is needed: then somebody has to see whether the object is still there.
        """
        try:
            span = resolve_range(options.range, layout.plain_size)
        except InvalidRangeError:
            return None
        stored = _stored_span(layout, span)
        if not stored.length:
            return None
        body = self._inner.stream(key, replace(options, range=ByteRange(*stored)))
        opened = _Opened(as_plain(body.info, layout.plain_size), body.info, layout, b"", 0)
        return _CompressedBody(opened.info, span, self._plain(opened, layout, span, body), body)

    def _plain(self, opened: _Opened, layout: Layout, span: Span, body: Body | None) -> Generator[bytes, None, None]:
        """The plain bytes of a span, a frame at a time, out of ``body`` or of what came with the end."""
        frames = layout.covering(span)
        stored = _stored_span(layout, span)
        with_head = stored.start == 0 and stored.length > 0
        sizes = [layout.stored[place + 1] - layout.stored[place] for place in frames]
        held = opened.held(stored)
        source: Iterable[BytesLike] = body if body is not None else [] if held is None else [held]
        pieces = _cut(source, [len(HEAD), *sizes] if with_head else sizes)
        if with_head and next(pieces) != HEAD:
            raise IntegrityError("the object ends like those of the layer 'compress' and does not begin like them")

        def decompress(numbered: tuple[int, BytesLike]) -> bytes:
            place, frame = numbered
            begin, size = layout.plain[place], layout.plain[place + 1] - layout.plain[place]
            check_frame(frame, size, layout.checksums[place], self._limits)
            data = self._codec.decompress(frame, size)
            first, last = max(0, span.start - begin), min(size, span.start + span.length - begin)
            return data if last - first == size else data[first:last]

        scope = current_scope()
        for data in ordered(decompress, zip(frames, pieces, strict=True), self._workers):
            scope.check()
            yield data

    # ---- several requests, one version

    def _more(self, key: str, options: ReadOptions, info: ObjectInfo, span: Span) -> bytes:
        """More stored bytes of the very object that ``info`` tells of."""
        with self._open(key, options, info, ByteRange(*span)) as body:
            return b"".join(body)

    def _open(self, key: str, options: ReadOptions, info: ObjectInfo, wanted: ByteRange) -> Body:
        """A part of the very object that ``info``, the storage's own, tells of."""
        pin = info.etag if self._pins else None
        with _changes():
            body = self._inner.stream(key, ReadOptions(wanted, options.version, pin, attributes=options.attributes))
            if (info.etag, info.size) != (body.info.etag, body.info.size):
                body.close()
                raise _ChangedError
            return body


def as_plain(info: ObjectInfo, size: int | None) -> ObjectInfo:
    """What the storage tells of stored bytes, told of the plain ones: another size, and no checksum that is known."""
    # Spelled out: dataclasses.replace() would take several times as long for each object of a listing.
    return ObjectInfo(
        info.key, size, info.stored_size, info.modified, info.etag, info.version, info.attributes, info.deleted
    )


@contextmanager
def _changes() -> Iterator[None]:
    """A condition that does not hold here is one that we made."""
    try:
        yield
    except PreconditionError:
        raise _ChangedError from None


def _steadily(attempt: Callable[[], T]) -> T:
    """Begin anew where somebody wrote the object between two requests: a read is of one version."""
    for _ in range(_ATTEMPTS):
        try:
            return attempt()
        except _ChangedError:
            continue
    raise UnavailableError(f"the object was written to during each of {_ATTEMPTS} attempts to read it")


def _stored_span(layout: Layout, span: Span) -> Span:
    """The stored bytes of the frames that hold a part, and of the head where it begins at the first of them.

    Nothing for nothing; the whole of an empty object is its head.
    """
    frames = layout.covering(span)
    if not frames:
        return Span(0, len(HEAD) if not layout.frames else 0)
    begin = layout.stored[frames.start] if frames.start else 0
    return Span(begin, layout.stored[frames.stop] - begin)


def _cut(source: Iterable[BytesLike], sizes: Sequence[int]) -> Iterator[BytesLike]:
    """The bytes of ``source`` in pieces of exactly these sizes. Too few or too many are errors."""
    chunks = iter(source)
    rest = memoryview(b"")
    for size in sizes:
        parts: list[BytesLike] = []
        missing = size
        while missing:
            if not rest:
                chunk = next(chunks, None)
                if chunk is None:
                    raise TruncatedError(f"{missing:,} bytes of a frame of the compressed object are missing")
                rest = memoryview(chunk)
            parts.append(rest[:missing])
            rest = rest[missing:]
            missing -= len(parts[-1])
        yield parts[0] if len(parts) == 1 else b"".join(parts)
    if rest or any(len(chunk) for chunk in chunks):
        raise IntegrityError("more bytes came of the compressed object than were asked for")
