"""GET and HEAD of objects: conditions, ranges, and bodies in constant memory."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final, NamedTuple

from mediagit_storage.errors import InvalidRangeError
from mediagit_storage.ranges import Span
from mediagit_storage.serve.answers import Header, object_headers
from mediagit_storage.serve.bodies import Opened, Reading, open_body, piece_size
from mediagit_storage.serve.byte_ranges import BadRangeError, content_range, parse_ranges, spans_of, unsatisfied
from mediagit_storage.serve.conditions import CONDITIONS, entity_tag, judge, range_applies
from mediagit_storage.serve.context import Context
from mediagit_storage.serve.exchange import Exchange
from mediagit_storage.types import ByteRange, ObjectInfo, ReadOptions

__all__ = ["read_object"]


#: With one of these the object is looked at before it is read.
_LOOKED_AT: Final = frozenset({*CONDITIONS, "if-range"})


class _Asked(NamedTuple):
    """An object, and how the client wants it called."""

    key: str
    disposition: str | None


async def read_object(context: Context, exchange: Exchange, key: str, disposition: str | None) -> None:
    """Answer a GET or HEAD. One request to the storage, and one look at the object more where there are conditions.

    Errors of the storage are raised, as long as the answer has not begun.
    """
    reading = Reading(exchange, context.workers)
    try:
        await _Reader(context, exchange, reading, _Asked(key, disposition)).answer()
    finally:
        await reading.close()


class _Reader:
    """One request for an object."""

    def __init__(self, context: Context, exchange: Exchange, reading: Reading, asked: _Asked) -> None:
        self._context = context
        self._exchange = exchange
        self._reading = reading
        self._asked = asked
        self._exact = context.reads.capabilities.exact_etags

    async def answer(self) -> None:
        headers = self._exchange.headers
        head = self._exchange.method == "HEAD"
        wanted: Sequence[ByteRange] | None = ()
        try:
            wanted = () if head else parse_ranges(headers.get("range"))
        except BadRangeError:
            wanted = None
        known: ObjectInfo | None = None
        conditional = not _LOOKED_AT.isdisjoint(headers)
        if head or conditional or wanted is None or len(wanted) > 1:
            known = await self._look()
            tag = entity_tag(known, exact=self._exact)
            verdict = judge(headers, tag, known.modified, reading=True)
            if verdict != "go on":
                await self._refused(known, modified=verdict == "failed")
                return
            if not range_applies(headers.get("if-range"), tag, known.modified):
                wanted = ()
        if wanted is None:
            await self._unsatisfied(known or await self._look())
        elif head and known is not None:
            await self._head(known)
        elif known is not None and len(wanted) > 1:
            await self._parts(known, wanted)
        else:
            await self._one(known, wanted[0] if wanted else None)

    async def _look(self) -> ObjectInfo:
        reads, key = self._context.reads, self._asked.key
        return await self._reading.run(lambda: reads.stat(key))

    async def _head(self, info: ObjectInfo) -> None:
        length = [] if info.size is None else [(b"content-length", str(info.size).encode())]
        await self._exchange.start(200, [*self._headers(info), *length])
        await self._exchange.body(b"")

    async def _one(self, known: ObjectInfo | None, wanted: ByteRange | None) -> None:
        """The whole object, or one part of it."""
        try:
            opened = await self._open(wanted or ByteRange(), known)
        except InvalidRangeError:
            await self._unsatisfied(known or await self._look())
            return
        body = opened.body
        headers = self._headers(body.info)
        headers.append((b"content-length", str(body.length).encode()))
        status = 200
        # A part of nothing cannot be told by Content-Range: the last bytes of an empty object are the whole of it.
        if wanted is not None and body.length and body.info.size is not None:
            status = 206
            headers.append((b"content-range", content_range(Span(body.start, body.length), body.info.size).encode()))
        await self._exchange.start(status, headers)
        await self._reading.send(opened)

    async def _parts(self, known: ObjectInfo, wanted: Sequence[ByteRange]) -> None:
        """Several parts, all of one version of the object."""
        size = known.size or 0
        try:
            spans = spans_of(wanted, size)
        except BadRangeError:
            await self._unsatisfied(known)
            return
        if len(spans) == 1:
            await self._one(known, ByteRange(*spans[0]))
            return
        headers = self._headers(known)
        kind = next((value for name, value in headers if name == b"content-type"), b"application/octet-stream")
        boundary = secrets.token_hex(12).encode()
        heads = [
            b"\r\n--%b\r\ncontent-type: %b\r\ncontent-range: %b\r\n\r\n"
            % (boundary, kind, content_range(span, size).encode())
            for span in spans
        ]
        end = b"\r\n--%b--\r\n" % boundary
        length = sum(len(head) + span.length for head, span in zip(heads, spans, strict=True)) + len(end)
        own = (b"content-type", b"multipart/byteranges; boundary=%b" % boundary)
        others = [each for each in headers if each[0] != b"content-type"]
        first = await self._open(ByteRange(*spans[0]), known)
        await self._exchange.start(206, [*others, own, (b"content-length", str(length).encode())])
        for number, (head, span) in enumerate(zip(heads, spans, strict=True)):
            opened = first if number == 0 else await self._open(ByteRange(*span), known)
            await self._exchange.body(head, more=True)
            await self._reading.send(opened, last=False)
        await self._exchange.body(end)

    async def _open(self, wanted: ByteRange, known: ObjectInfo | None) -> Opened:
        """Open a part; of the very object that is known, where one is."""
        reads, key = self._context.reads, self._asked.key
        etag = None if known is None else known.etag
        pinned = etag if reads.capabilities.read_conditions else None
        options = ReadOptions(wanted, if_match=pinned, attributes=True)
        size = piece_size(self._context.gateway_metrics.in_flight)
        return await self._reading.open(lambda: open_body(reads, key, options, etag, size=size))

    async def _refused(self, info: ObjectInfo, *, modified: bool) -> None:
        """A condition does not hold: 412, or 304 with the headers that an answer would have had."""
        if modified:
            await self._exchange.plain(412)
            return
        kept = [each for each in self._headers(info) if each[0] in {b"etag", b"cache-control", b"last-modified"}]
        await self._exchange.start(304, kept)
        await self._exchange.body(b"")

    async def _unsatisfied(self, info: ObjectInfo) -> None:
        size = [] if info.size is None else [(b"content-range", unsatisfied(info.size).encode())]
        await self._exchange.plain(416, headers=size)

    def _headers(self, info: ObjectInfo) -> list[Header]:
        settings = self._context.settings
        return object_headers(
            info,
            self._asked.key,
            exact=self._exact,
            cache_control=settings.cache_control,
            private=settings.reads == "token",
            disposition=self._asked.disposition,
        )
