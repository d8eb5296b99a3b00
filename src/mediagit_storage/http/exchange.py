"""One request on its way: the options a handle gets, what comes in, and what is made of it at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import pycurl  # type: ignore[import-untyped]

from mediagit_storage.http.faults import FaultKind, TransferFault, certificate_detail, disown, error_for, kind_of_code
from mediagit_storage.http.headers import Headers, Layout, final_head, layout_of, status_of
from mediagit_storage.http.network import Route, TransportOptions
from mediagit_storage.http.patience import Patience, seconds_text
from mediagit_storage.http.request import Request
from mediagit_storage.http.response import Response, is_framed
from mediagit_storage.scope import Scope

__all__ = ["BULK_BUFFER", "UNTIMED", "Exchange", "Progress", "tell"]

#: Told how many more bytes of the body have gone either way.
Progress = Callable[[int], None]

#: What libcurl receives into, in bytes: large, so that a busy interpreter is asked seldom.
BULK_BUFFER: Final = 256 * 1024
_UPLOAD_BUFFER: Final = 512 * 1024
#: The body of an answer of status 400 and above is read this far: it is only for people.
ERROR_BODY: Final = 64 * 1024
_CONSENT_MS: Final = 1000
_PROTOCOLS: Final = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS
#: Methods whose handles are used again for the next request of the same kind, without a body and with one.
_READS: Final = frozenset({"GET", "HEAD", "DELETE"})
_WRITES: Final = frozenset({"PUT", "POST"})
#: An idle handle may hold on to a body of at most this size, in bytes.
_SMALL_BODY: Final = 64 * 1024
#: The patience of a transfer whose clock was not started: most are over before any limit is worth a thought.
UNTIMED: Final = Patience(0.0, idle=None, total=None, scope_left=None)
#: What a handle that rests carries: nobody's body stays in memory for it.
_NOTHING: Final = Request("GET", "http://localhost/")


class Exchange:
    """One handle of libcurl and the transfer it carries now. Its owner calls `begin`, lets a driver run, then `finish`.

    A handle remembers what it is set up for: a request like the one before, to the same place, costs two options.
    """

    __slots__ = (
        "_failure", "_kind", "_layout", "_limit", "_options", "_overflow", "_placing", "_route",
        "curl", "lines", "patience", "pieces", "received", "request", "sent",
    )  # fmt: skip

    def __init__(self, options: TransportOptions) -> None:
        self.curl = pycurl.Curl()
        self._options = options
        #: What the handle is set up for: a method and a route; None where it has to be set up anew.
        self._kind: tuple[str, Route] | None = None
        #: How the head of the answer before this one was laid out.
        self._layout: Layout | None = None
        self.lines: list[bytes] = []
        self.pieces: list[bytes] = []
        self.patience = UNTIMED

    # ---- before

    def begin(self, request: Request, route: Route, on_piece: Callable[[bytes], int | None] | None = None) -> None:
        """Set the handle up for a request. ``on_piece`` replaces the collecting of the body."""
        self.request = request
        self._route = route
        self.received = 0
        #: Connections that the request went out on.
        self.sent = 0
        self._limit = ERROR_BODY
        self._overflow = False
        #: Whether the request's sink takes this body; None until it begins.
        self._placing: bool | None = None
        self._failure: BaseException | None = None
        self.patience = UNTIMED
        method, kind = request.method, self._kind
        if kind is None or kind[0] != method or kind[1] is not route or not _is_plain(request) or on_piece is not None:
            self._prepare(on_piece)
            return
        setopt = self.curl.setopt
        setopt(pycurl.URL, request.url)
        setopt(pycurl.HTTPHEADER, request.lines)
        if method in _WRITES:
            setopt(pycurl.POSTFIELDS, request.body or b"")

    def end(self) -> None:
        """Let go of the transfer that is over, and of its body."""
        self.lines.clear()
        self.pieces = []
        body = self.request.body
        self.request = _NOTHING
        if self._kind is None or (body is not None and (not isinstance(body, bytes) or len(body) > _SMALL_BODY)):
            self.forget()

    def forget(self) -> None:
        """Set nothing on the handle, which forgets callbacks and body. Without this it would live until a collection."""
        self._kind = None
        # The garbage collector may have ended the handle, and with it all that was set.
        with suppress(pycurl.error):
            self.curl.reset()

    def _prepare(self, on_piece: Callable[[bytes], int | None] | None) -> None:
        """Set everything anew on the handle."""
        request, route, setopt = self.request, self._route, self.curl.setopt
        if self._kind is not None:
            self.forget()
        if on_piece is None and _is_plain(request):
            self._kind = (request.method, route)
        setopt(pycurl.URL, request.url)
        setopt(pycurl.HTTPHEADER, request.lines)
        setopt(pycurl.HEADERFUNCTION, self.lines.append)
        setopt(pycurl.WRITEFUNCTION, on_piece or (self._collect if request.sink is None else self._place))
        setopt(pycurl.PREREQFUNCTION, self._on_send)
        setopt(pycurl.PATH_AS_IS, 1)
        setopt(pycurl.PROTOCOLS, _PROTOCOLS)
        # HTTP/2 was measured 5 to 23 % slower.
        setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        setopt(pycurl.NOSIGNAL, 1)
        setopt(pycurl.BUFFERSIZE, BULK_BUFFER)
        setopt(pycurl.USERAGENT, self._options.user_agent)
        setopt(pycurl.CONNECTTIMEOUT_MS, max(1, int(self._options.connect_timeout * 1000)))
        # Both are always set: else libcurl reads the environment by itself.
        setopt(pycurl.PROXY, route.proxy)
        setopt(pycurl.NOPROXY, route.no_proxy)
        if request.fresh_connection:
            setopt(pycurl.FRESH_CONNECT, 1)
        if route.secure or route.proxy:
            self._set_tls()
        self._set_method()

    def _set_tls(self) -> None:
        setopt, ca_file = self.curl.setopt, self._route.ca_file
        if self._options.verify:
            setopt(pycurl.CAINFO, ca_file)
            setopt(pycurl.PROXY_CAINFO, ca_file)
        else:
            for option in (pycurl.SSL_VERIFYPEER, pycurl.SSL_VERIFYHOST):
                setopt(option, 0)
            for option in (pycurl.PROXY_SSL_VERIFYPEER, pycurl.PROXY_SSL_VERIFYHOST):
                setopt(option, 0)

    def _set_method(self) -> None:
        request, setopt = self.request, self.curl.setopt
        body, method = request.body, request.method
        if body is None and method == "GET":
            return
        if method == "HEAD":
            # As a custom method libcurl would wait for the body that never comes.
            setopt(pycurl.NOBODY, 1)
            return
        setopt(pycurl.CUSTOMREQUEST, method)
        if isinstance(body, bytes) or (body is None and method in {"PUT", "POST"}):
            setopt(pycurl.POSTFIELDS, body or b"")
        elif body is not None:
            setopt(pycurl.UPLOAD, 1)
            setopt(pycurl.UPLOAD_BUFFERSIZE, _UPLOAD_BUFFER)
            setopt(pycurl.READFUNCTION, self._read)
            setopt(pycurl.SEEKFUNCTION, self._seek)
            if body.size is not None:
                setopt(pycurl.INFILESIZE_LARGE, body.size)
        if request.expect_continue:
            setopt(pycurl.EXPECT_100_TIMEOUT_MS, _CONSENT_MS)

    @property
    def idle(self) -> float | None:
        """How long nothing may move, in seconds; None for as long as it likes."""
        own = self.request.idle_timeout
        return self._options.idle_timeout if own is None else own

    def start_clock(self, now: float, scope_left: float | None, *, total: bool = True) -> None:
        """Count the time of this transfer from ``now``; ``total=False`` leaves the total limit out."""
        limit = self._options.total_timeout if total else None
        self.patience = Patience(now, idle=self.idle, total=limit, scope_left=scope_left)

    def check(self, scope: Scope, now: float) -> None:
        """Raise when a time limit is over or the scope was cancelled."""
        if scope.cancelled:
            raise self.fault(FaultKind.CANCELLED)
        over = self.patience.look(now, self.moved)
        if over is not None:
            raise self.fault(over)

    # ---- during: libcurl calls these; an exception would lose its way, so it is kept for `finish`

    def _on_send(self, *_addresses: str | int) -> int:
        self.sent += 1
        return int(pycurl.PREREQFUNC_OK)

    def _collect(self, piece: bytes) -> int | None:
        self.received += len(piece)
        if self.received > self._limit and not self._raise_limit():
            return -1
        self.pieces.append(piece)
        return None

    def _place(self, piece: bytes) -> int | None:
        """A piece of a body that has a place of its own, if it is the one that was asked for."""
        sink = self.request.sink
        try:
            if self._placing is None and sink is not None:
                lines, _ = final_head(self.lines)
                self._placing = sink.accepts(status_of(lines), self.headers(lines))
            if self._placing and sink is not None:
                sink.take(piece)
                return None
        except BaseException as error:  # noqa: BLE001  # raised again by finish()
            self._keep(error)
            return -1
        return self._collect(piece)

    def _raise_limit(self) -> bool:
        """Small bodies never come here. The rest may go on to the real limit, unless it is an error's."""
        if self.status < 400:
            allowed = self._options.max_body if self.request.max_body is None else self.request.max_body
            self._limit = allowed
        self._overflow = self.received > self._limit
        return not self._overflow

    def _read(self, count: int) -> bytes | int:
        try:
            return self.request.body.read(count)  # type: ignore[union-attr]  # set only for sources
        except BaseException as error:  # noqa: BLE001  # raised again by finish()
            self._keep(error)
            return int(pycurl.READFUNC_ABORT)

    def _seek(self, offset: int, origin: int) -> int:
        body = self.request.body
        if offset or origin or body is None or isinstance(body, bytes) or not body.rewindable:
            return int(pycurl.SEEKFUNC_FAIL)
        try:
            body.rewind()
        except BaseException as error:  # noqa: BLE001  # raised again by finish()
            self._keep(error)
            return int(pycurl.SEEKFUNC_FAIL)
        return int(pycurl.SEEKFUNC_OK)

    def _keep(self, error: BaseException) -> None:
        disown(error)
        self._failure = error

    # ---- after

    @property
    def status(self) -> int:
        """The status of the last head that came, 0 before any."""
        # From the lines: a handle must not be asked during a callback.
        return status_of(final_head(self.lines)[0])

    def moved(self) -> int:
        """A number that changes whenever bytes go either way."""
        info = self.curl.getinfo
        return int(info(pycurl.SIZE_UPLOAD_T) + info(pycurl.SIZE_DOWNLOAD_T)) + len(self.lines) + self.sent

    def body_moved(self) -> int:
        """Bytes of the body that went either way: the upload's where there is one."""
        which = pycurl.SIZE_DOWNLOAD_T if self.request.body is None else pycurl.SIZE_UPLOAD_T
        return int(self.curl.getinfo(which))

    def measured(self) -> tuple[float, int, int]:
        """Seconds since the transfer began, and the bytes of bodies that went up and came down."""
        info = self.curl.getinfo
        return info(pycurl.TOTAL_TIME), int(info(pycurl.SIZE_UPLOAD_T)), int(info(pycurl.SIZE_DOWNLOAD_T))

    def finish(self, code: int, message: str) -> Response:
        """The answer, or the error that says why there is none (what a source or a sink raised is raised unchanged)."""
        if self._failure is not None:
            raise self._failure
        if self._overflow and not code:
            # A body that had been held up may end well for libcurl, without the piece that was refused.
            code = pycurl.E_WRITE_ERROR
        known = self._layout
        head: Sequence[bytes] = self.lines[:-1]
        if known is not None and not code and known.is_all_of(self.lines):
            status, headers = known.status, Headers(head, known)
        else:
            head, whole = final_head(self.lines)
            if code and not self._answered(code, whole=whole):
                raise self._error(code, message)
            if not whole:
                raise self.fault(FaultKind.LOST, "it was closed before the answer's head was complete")
            status, headers = status_of(head), self.headers(head)
        if status < 400 and self.curl.getinfo(pycurl.CONTENT_LENGTH_DOWNLOAD_T) < 0:
            self.check_framing(status, head)
        placed = self._placed() if self._placing else None
        return Response(self.request, status, headers, self.pieces, attempts=self.sent, cut=code != 0, placed=placed)

    def _placed(self) -> int | None:
        """How many bytes the sink took of this answer."""
        try:
            return None if self.request.sink is None else self.request.sink.finish()
        except BaseException as error:
            disown(error)
            raise

    def headers(self, head: Sequence[bytes]) -> Headers:
        """The fields of an answer's final head."""
        self._layout = layout_of(head, self._layout)
        return Headers(head, self._layout)

    def check_framing(self, status: int, lines: Sequence[bytes]) -> None:
        """Refuse a successful body whose end cannot be told from a lost connection."""
        if status >= 400 or self.request.self_checking:
            return
        length = int(self.curl.getinfo(pycurl.CONTENT_LENGTH_DOWNLOAD_T))
        if not is_framed(self.request.method, status, length, lines):
            raise self.fault(FaultKind.UNFRAMED, "no Content-Length and no chunks")

    def _answered(self, code: int, *, whole: bool) -> bool:
        """Whether a transfer that ended badly has brought an error's whole head: its status counts, however it ended."""
        return whole and self.status >= 400 and (self._overflow or code in {18, 55, 56})

    def _error(self, code: int, message: str) -> Exception:
        if self._overflow:
            return self.fault(FaultKind.LIMIT, f"{self._limit:,} bytes", code)
        kind = kind_of_code(code, message)
        detail = message
        if kind is FaultKind.CERTIFICATE:
            detail = certificate_detail(message, int(self.curl.getinfo(pycurl.SSL_VERIFYRESULT)))
        elif kind is FaultKind.CONNECT_TIMEOUT:
            detail = f"no connection within {seconds_text(self._options.connect_timeout)}"
        elif kind is FaultKind.TRUNCATED:
            detail = f"after {self.received or self.body_moved():,} bytes of the body"
        return self.fault(kind, detail, code)

    def fault(self, kind: FaultKind, detail: str = "", code: int = 0) -> Exception:
        """The error for something that went wrong with this transfer."""
        if kind is FaultKind.IDLE:
            detail = seconds_text(self.idle)
        elif kind is FaultKind.TOTAL:
            detail = seconds_text(self._options.total_timeout)
        number = int(self.curl.getinfo(pycurl.OS_ERRNO)) if kind is FaultKind.CONNECT else 0
        return error_for(
            TransferFault(kind, detail, code=code, sent=self.sent), self._route.origin, system_error=number
        )


def tell(progress: Progress, count: int) -> None:
    """Tell of bytes that moved. What the callback raises is its own, and no fault of the transfer."""
    try:
        progress(count)
    except BaseException as error:
        disown(error)
        raise


def _is_plain(request: Request) -> bool:
    """Whether a handle that carries this request may be used as it is for another one of the same method."""
    if request.fresh_connection or request.expect_continue or request.sink is not None:
        return False
    body = request.body
    if body is None:
        return request.method in _READS or request.method in _WRITES
    return isinstance(body, bytes) and request.method in _WRITES
