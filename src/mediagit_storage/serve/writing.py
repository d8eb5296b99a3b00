"""PUT and DELETE of objects: all or nothing, on conditions where the client names them."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Final

from mediagit_storage.attributes import guess_content_type
from mediagit_storage.errors import (
    ChecksumError,
    LimitExceededError,
    NotFoundError,
    PreconditionError,
    TruncatedError,
)
from mediagit_storage.scope import context_inside, inner_scope
from mediagit_storage.serve.answers import Header
from mediagit_storage.serve.conditions import CONDITIONS, entity_tag, judge
from mediagit_storage.serve.context import Context
from mediagit_storage.serve.exchange import ClientGoneError, Exchange
from mediagit_storage.types import Attributes, Checksum, ObjectInfo

__all__ = ["BadRequestError", "NoLengthError", "delete_object", "put_object"]

#: An upload of so many bytes is taken into memory first: it can then be sent to the storage again, and costs one call.
_SMALL: Final = 1024 * 1024


class BadRequestError(ValueError):
    """Something about the request is wrong; the words are for the client."""


class NoLengthError(Exception):
    """An upload names neither its length nor chunks: HTTP takes it for an empty one, and its client may not mean that."""


async def put_object(context: Context, exchange: Exchange, key: str) -> None:
    """Store what the client sends, all of it or nothing, and answer 201 (``If-None-Match: *``) or 204.

    A client that leaves, is silent for too long, or sends something else than it announced stores nothing. Errors of the
    storage are raised, and `BadRequestError`, `NoLengthError`, `ClientGoneError` and `ClientSlowError`.
    """
    headers = exchange.headers
    size = _announced(headers.get("content-length"))
    if size is None and "transfer-encoding" not in headers and exchange.scope.get("http_version") != "2":
        raise NoLengthError
    if "content-range" in headers:
        raise BadRequestError("a part of an object cannot be put")
    most = context.settings.max_body
    if most is not None and size is not None and size > most:
        raise LimitExceededError("the upload is larger than this gateway takes")
    attributes = _attributes(context, headers, key)
    checksum = _declared(headers.get("content-md5"))
    if_absent, if_match = await _conditions(context, exchange, key)
    incoming = _Incoming(exchange, context.settings.idle, most)
    whole = await incoming.all() if size is not None and size <= _SMALL else None
    inside = inner_scope()
    around = context_inside(inside)

    def store() -> ObjectInfo:
        """The put itself, in a thread."""
        return context.storage.put(
            key,
            incoming.pieces() if whole is None else whole,
            attributes=attributes,
            if_absent=if_absent,
            if_match=if_match,
            size=size,
            checksum=checksum,
        )

    if exchange.connection is not None:
        exchange.connection.on_lost(inside.cancel)
    task = asyncio.ensure_future(context.workers.upload(lambda: around.run(store)))
    try:
        info = await asyncio.shield(task)
    except asyncio.CancelledError:
        inside.cancel()
        incoming.stop()
        await asyncio.wait({task})
        raise
    except (TruncatedError, ChecksumError):
        raise BadRequestError("the upload is not what was announced; nothing was stored") from None
    finally:
        if exchange.connection is not None:
            exchange.connection.on_lost(None)
    tag = entity_tag(info, exact=context.storage.capabilities.exact_etags)
    about: list[Header] = [] if tag is None else [(b"etag", tag.encode())]
    if if_absent:
        about.append((b"location", exchange.path.encode("latin-1")))
    await exchange.plain(201 if if_absent else 204, "stored", about)


async def delete_object(context: Context, exchange: Exchange, key: str) -> None:
    """Delete an object, and answer 204 whether it was there or not, unless a condition says otherwise."""
    if_absent, if_match = await _conditions(context, exchange, key)
    if if_absent:
        await exchange.plain(204)
        return
    await context.run(lambda: context.storage.delete(key, if_match=if_match))
    await exchange.plain(204)


class _Incoming:
    """The body of a request, for a thread that stores it while it arrives: each piece is asked for when it is wanted."""

    def __init__(self, exchange: Exchange, patience: float, most: int | None) -> None:
        self._exchange = exchange
        self._patience = patience
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._awaited: Future[tuple[bytes, bool]] | None = None
        self._stopped = False

    async def all(self) -> bytes:
        """The whole of it, where it is known to be small."""
        pieces: list[bytes] = []
        more = True
        while more:
            piece, more = await self._piece()
            pieces.append(piece)
        return b"".join(pieces)

    def pieces(self) -> Iterator[bytes]:
        """Piece by piece, in a thread that is not the loop's. Raises what ends the request before its end."""
        more = True
        while more:
            if self._stopped:
                raise ClientGoneError
            self._awaited = asyncio.run_coroutine_threadsafe(self._piece(), self._loop)
            piece, more = self._awaited.result()
            if piece:
                yield piece

    def stop(self) -> None:
        """Let the thread that waits for a piece go: nothing more comes."""
        self._stopped = True
        if self._awaited is not None:
            self._awaited.cancel()

    async def _piece(self) -> tuple[bytes, bool]:
        piece, more = await self._exchange.piece(self._patience)
        if self._most is not None and self._exchange.received > self._most:
            raise LimitExceededError("the upload is larger than this gateway takes")
        return piece, more


async def _conditions(context: Context, exchange: Exchange, key: str) -> tuple[bool, str | None]:
    """What the storage has to see to, so that the conditions of the request hold when it writes: if_absent, if_match.

    What clients call a tag is none that the storage knows: the object is looked at once, and then held to be that one.
    Raises `PreconditionError` where they do not hold.
    """
    given = {name: exchange.headers[name] for name in CONDITIONS if name in exchange.headers}
    given.pop("if-modified-since", None)
    if not given:
        return False, None
    creates = {name: value.strip() for name, value in given.items()} == {"if-none-match": "*"}
    # Who waits to be told to go on with an upload is spared it where it is known to fail.
    if creates and exchange.method == "PUT" and "expect" not in exchange.headers:
        return True, None
    try:
        info: ObjectInfo | None = await context.run(lambda: context.storage.stat(key))
    except NotFoundError:
        info = None
    exact = context.storage.capabilities.exact_etags
    tag = None if info is None else entity_tag(info, exact=exact)
    modified = None if info is None else info.modified
    if judge(given, tag, modified, reading=False, exists=info is not None) != "go on":
        raise PreconditionError("the object is not the one that the request is about")
    return info is None, None if info is None else info.etag


def _attributes(context: Context, headers: dict[str, str], key: str) -> Attributes | None:
    """What the request says about the object. A type is kept where the storage can keep it, the rest must be."""
    typed = "content_type" in context.storage.capabilities.attributes
    found = Attributes(
        content_type=headers.get("content-type") or guess_content_type(key) if typed else None,
        cache_control=None if _is_browsers_own(headers) else headers.get("cache-control"),
        content_encoding=headers.get("content-encoding"),
        content_disposition=_text(headers.get("content-disposition")),
    )
    return found if found.named() else None


def _text(header: str | None) -> str | None:
    """A header as its sender meant it: file names come in UTF-8, and go out so again."""
    if header is None or header.isascii():
        return header
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return header


def _is_browsers_own(headers: dict[str, str]) -> bool:
    """Whether a browser has added the Cache-Control itself: it does so with every PUT, and means the request."""
    return "origin" in headers and headers.get("cache-control") == "max-age=0"


def _declared(header: str | None) -> Checksum | None:
    if header is None:
        return None
    try:
        digest = base64.b64decode(header, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != 16:
        raise BadRequestError("Content-MD5 is no MD5 in base64")
    return Checksum("md5", digest)


def _announced(header: str | None) -> int | None:
    """The length of the body; the server has refused what is no number."""
    return None if header is None else int(header)
