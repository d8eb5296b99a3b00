"""A request as data: checked when it is made, so that nothing below has to ask again.

libcurl lets CR and LF through in header lines and methods, and cuts a URL at ``#``: none of them gets that far.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from mediagit_storage.errors import ConfigError, StorageError
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.redact import redact_headers, redact_url
from mediagit_storage.scope import Scope
from mediagit_storage.types import BytesLike

__all__ = ["BodySink", "BodySource", "FileBody", "Lines", "PiecesBody", "Request", "checked_line"]

_USUAL: Final = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE"})
_METHOD: Final = re.compile(r"[A-Z]{1,20}")
_PLAIN: Final = r"[A-Za-z0-9._~:/?@!$&'()*+,;=-]*+"
_URL: Final = re.compile(
    rf"https?://(?:[A-Za-z0-9._~-]++|\[[0-9A-Fa-f:.]++\])(?::[0-9]{{1,5}}+)?+(?:[/?]{_PLAIN}(?:%[0-9A-Fa-f]{{2}}{_PLAIN})*+)?+"
)
#: Lines of "name: value" joined by LF: a name is a token, a value printable ASCII.
_LINES: Final = re.compile(r"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++(?:: [!-~]++(?:[\t ]++[!-~]++)*+|;)(?:\n|\Z))*+")


#: Lines that switch off what libcurl would add by itself; beside a real field of the same name they do nothing.
#: libcurl goes through all lines many times, so there are none without need.
_BARE: Final[tuple[str, ...]] = ("Accept:",)
_BARE_WITH_BODY: Final[tuple[str, ...]] = ("Accept:", "Expect:", "Content-Type:")
_CONSENTING: Final[tuple[str, ...]] = ("Accept:", "Expect: 100-continue", "Content-Type:")


class Lines(tuple[str, ...]):
    """Header fields as libcurl takes them, checked when they were made: a signer keeps most of them ready.

    Made by `of`, and of these and `checked_line`.
    """

    __slots__ = ()

    @classmethod
    def of(cls, fields: Sequence[tuple[str, str]]) -> Lines:
        """The lines of names and values. Raises `ConfigError`, which never shows a value."""
        lines = [_line(name, value) for name, value in fields]
        text = "\n".join(lines)
        if _LINES.fullmatch(text) is None or (lines and text.count("\n") != len(lines) - 1):
            raise ConfigError(_header_message(fields))
        return cls(lines)

    def fields(self) -> tuple[tuple[str, str], ...]:
        """The names and values again."""
        return tuple((name, value) if colon else (name[:-1], "") for name, colon, value in map(_split, self))


def checked_line(name: str, value: str) -> str:
    """One line for `Lines`. Raises `ConfigError`, which never shows the value."""
    line = _line(name, value)
    if "\n" in line or _LINES.fullmatch(line) is None:
        raise ConfigError(_header_message(((name, value),)))
    return line


def _line(name: str, value: str) -> str:
    # ";" makes libcurl send an empty field, where ":" would remove it.
    return f"{name}: {value}" if value else f"{name};"


def _split(line: str) -> tuple[str, str, str]:
    return line.partition(": ")


class BodySource(Protocol):
    """A body that is read while it is sent. ``size`` None means unknown: it then travels in chunks.

    ``rewindable`` says whether `rewind` works: without it a request that got lost cannot be sent again.
    """

    @property
    def size(self) -> int | None:
        """Length in bytes, or None."""
        ...

    @property
    def rewindable(self) -> bool:
        """Whether the body can be read again from its start."""
        ...

    def read(self, count: int, /) -> bytes:
        """At most ``count`` bytes; empty at the end. What it raises reaches the caller of the request unchanged."""
        ...

    def rewind(self) -> None:
        """Start again. Raises `StorageError` when that is impossible."""
        ...


class BodySink(Protocol):
    """Where the body of an answer goes piece by piece, instead of into memory.

    What a method raises reaches the caller of the request unchanged.
    """

    def accepts(self, status: int, headers: Headers, /) -> bool:
        """Whether this body does; asked when it begins, for each sending of the request. Others are held in memory."""
        ...

    def take(self, piece: bytes, /) -> None:
        """The next piece of it."""
        ...

    def finish(self) -> int:
        """All of it has come: how many bytes these were."""
        ...


class FileBody:
    """``size`` bytes at ``offset`` of an open file, read by position: many parts of one file may travel at once.

    ``admit`` says how many of the next bytes may go now, and waits for their turn.
    """

    __slots__ = ("_admit", "_descriptor", "_offset", "_position", "size")

    rewindable: Final = True

    def __init__(self, descriptor: int, offset: int, size: int, *, admit: Callable[[int], int] | None = None) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._position = 0
        self._admit = admit
        self.size = size

    def read(self, count: int, /) -> bytes:
        """The next bytes of this part of the file."""
        wanted = min(count, self.size - self._position)
        if wanted and self._admit is not None:
            wanted = self._admit(wanted)
        data = os.pread(self._descriptor, wanted, self._offset + self._position)
        self._position += len(data)
        return data

    def rewind(self) -> None:
        """Start again at the offset."""
        self._position = 0


class PiecesBody:
    """The pieces of an iterator, sent as they come; cannot be rewound once begun."""

    __slots__ = ("_begun", "_pieces", "_rest", "size")

    def __init__(self, pieces: Iterator[BytesLike], size: int | None = None) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")
        self._begun = False
        self.size = size

    @property
    def rewindable(self) -> bool:
        """Only until the first piece was taken."""
        return not self._begun

    def read(self, count: int, /) -> bytes:
        """At most ``count`` bytes of the current piece."""
        self._begun = True
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = memoryview(piece).cast("B")
        taken, self._rest = self._rest[:count], self._rest[count:]
        return bytes(taken)

    def rewind(self) -> None:
        """Possible only before anything was read."""
        if self._begun:
            raise StorageError("the connection was lost and the body cannot be sent again: it can be read only once")


class Request:
    """One HTTP request. Treat it as immutable. ``url`` is absolute, percent-encoded exactly as it shall travel (libcurl
    only writes the digits of its escapes in capitals).

    ``expect_continue`` waits a moment for the server's consent before a body is sent; ``idle_timeout`` replaces the
    transport's (a server-side copy says nothing for minutes); ``max_body`` bounds a buffered answer;
    ``self_checking`` accepts a successful body with neither length nor chunks, for callers that can tell if it is whole;
    ``sink`` takes the body of an answer that is read by `Transport.send` or `Transport.send_all`;
    ``fresh_connection`` never reuses one, so that libcurl never sends the request twice by itself.

    Raises `ConfigError`, which never shows the value, for a method, URL or header that must not be sent.
    """

    __slots__ = (
        "_given", "body", "expect_continue", "fresh_connection", "idle_timeout", "lines", "max_body", "method",
        "scope", "self_checking", "sink", "url",
    )  # fmt: skip

    def __init__(
        self,
        method: str,
        url: str,
        headers: tuple[tuple[str, str], ...] | Lines = (),
        body: bytes | BodySource | None = None,
        *,
        expect_continue: bool = False,
        idle_timeout: float | None = None,
        max_body: int | None = None,
        self_checking: bool = False,
        fresh_connection: bool = False,
        sink: BodySink | None = None,
    ) -> None:
        if method not in _USUAL and _METHOD.fullmatch(method) is None:
            raise ConfigError("an HTTP method is capital letters only")
        if _URL.fullmatch(url) is None:
            raise ConfigError(_url_message(url))
        given = headers if isinstance(headers, Lines) else Lines.of(headers)
        with_body = _CONSENTING if expect_continue else _BARE_WITH_BODY
        self.method = method
        self.url = url
        self._given = given
        self.body = body
        self.expect_continue = expect_continue
        self.idle_timeout = idle_timeout
        self.max_body = max_body
        self.self_checking = self_checking
        self.fresh_connection = fresh_connection
        self.sink = sink
        #: What bounds this one request where many travel together, inside of what bounds all.
        self.scope: Scope | None = None
        #: The header lines as libcurl takes them.
        self.lines = [*given, *(_BARE if body is None else with_body)]

    def moved_to(self, url: str) -> Request:
        """The same request for another URL."""
        return Request(
            self.method,
            url,
            self._given,
            self.body,
            expect_continue=self.expect_continue,
            idle_timeout=self.idle_timeout,
            max_body=self.max_body,
            self_checking=self.self_checking,
            fresh_connection=self.fresh_connection,
            sink=self.sink,
        )

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The names and values of its own fields."""
        return self._given.fields()

    @property
    def rewindable(self) -> bool:
        """Whether this request can be sent a second time with the same body."""
        return self.body is None or isinstance(self.body, bytes) or self.body.rewindable

    def rewind(self) -> None:
        """Make the body ready to be sent again. Raises `StorageError` where it is not `rewindable`."""
        if self.body is not None and not isinstance(self.body, bytes):
            self.body.rewind()

    @property
    def shown_url(self) -> str:
        """The URL without secrets, for people."""
        return redact_url(self.url)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.shown_url} {dict(redact_headers(self.headers))!r}>"


def _url_message(url: str) -> str:
    shown = redact_url(url.partition("#")[0])
    if "#" in url:
        return f"a request's URL has no fragment; encode '#' as %23: {shown}"
    if not url.isascii():
        return "a request's URL is ASCII; percent-encode the rest"
    if "@" in url.partition("://")[2].partition("/")[0]:
        return "a request's URL holds no user name or password"
    return f"not an absolute, percent-encoded http or https URL: {shown!a}"


def _header_message(headers: Sequence[tuple[str, str]]) -> str:
    for name, value in headers:
        line = _line(name, value)
        if "\n" in line or _LINES.fullmatch(line) is None:
            return f"the header {name!a} must be a plain name with printable ASCII, without line ends or outer blanks"
    return "a header is not valid"
