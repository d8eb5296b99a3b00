"""How a transfer can fail, and what that is called in the library's own tree of errors. Pure tables.

The numbers are libcurl's (curl/curl.h). Every error made here has a `TransferFault` as its ``__cause__``: it tells the
retry decision what happened, and whether the server can have seen the request.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from mediagit_storage.errors import (
    CancelledError,
    ConfigError,
    ConnectionLostError,
    LimitExceededError,
    StorageError,
    StorageTimeoutError,
    TruncatedError,
)
from mediagit_storage.http.redact import redact_text

__all__ = ["FaultKind", "TransferFault", "disown", "error_for", "fault_of", "kind_of_code"]


class FaultKind(StrEnum):
    """What went wrong with a transfer."""

    NAME = "name"  # the host's name does not resolve
    CONNECT = "connect"
    CONNECT_TIMEOUT = "connect time-out"
    PROXY = "proxy"
    TLS = "tls"
    CERTIFICATE = "certificate"
    CA_FILE = "ca file"
    LOST = "lost"  # the connection broke
    PROTOCOL = "protocol"  # what came is not HTTP
    TRUNCATED = "truncated"
    UNFRAMED = "unframed"
    IDLE = "idle"
    TOTAL = "total"
    SCOPE = "scope"
    CANCELLED = "cancelled"
    REWIND = "rewind"
    LIMIT = "limit"
    UNKNOWN = "unknown"


class TransferFault(Exception):  # noqa: N818  # never raised: the cause of the error that is
    """What happened on the wire. ``sent`` is how many connections the request, or a part of it, went out on."""

    def __init__(self, kind: FaultKind, detail: str, *, code: int = 0, sent: int = 0) -> None:
        super().__init__(kind, detail, code, sent)
        self.kind = kind
        self.detail = detail
        self.code = code
        self.sent = sent
        #: Set once its error came out of what a caller had given to another transfer: see `disown`.
        self.foreign = False

    def __str__(self) -> str:
        number = f"libcurl {self.code}, " if self.code else ""
        return f"{self.kind}: {self.detail} ({number}sent on {self.sent} connections)"


class _Row(NamedTuple):
    error: type[StorageError]
    text: str


#: ``{origin}`` is scheme, host and port; ``{detail}`` libcurl's own words, redacted.
_ERRORS: Final[Mapping[FaultKind, _Row]] = {
    FaultKind.NAME: _Row(
        ConnectionLostError, "the host name of {origin} cannot be resolved; check its spelling, the network and DNS"
    ),
    FaultKind.CONNECT: _Row(
        ConnectionLostError, "cannot connect to {origin} ({detail}); check address and port, and that the server runs"
    ),
    FaultKind.CONNECT_TIMEOUT: _Row(
        StorageTimeoutError,
        "cannot connect to {origin} ({detail}); check the network, a firewall or proxy may be in the way",
    ),
    FaultKind.PROXY: _Row(
        ConnectionLostError,
        "the proxy on the way to {origin} does not work ({detail}); check HTTPS_PROXY, HTTP_PROXY, NO_PROXY",
    ),
    FaultKind.TLS: _Row(
        ConnectionLostError, "no TLS connection to {origin} ({detail}); check that this port speaks https"
    ),
    FaultKind.CERTIFICATE: _Row(ConfigError, "the certificate of {origin} is not accepted: {detail}"),
    FaultKind.CA_FILE: _Row(ConfigError, "the CA certificates for {origin} cannot be used: {detail}; check ca_file"),
    FaultKind.LOST: _Row(ConnectionLostError, "the connection to {origin} broke ({detail})"),
    FaultKind.PROTOCOL: _Row(
        ConnectionLostError, "what {origin} answers is not valid HTTP ({detail}); check that this is the right port"
    ),
    FaultKind.TRUNCATED: _Row(TruncatedError, "{origin} ended its answer early ({detail})"),
    FaultKind.UNFRAMED: _Row(
        TruncatedError, "{origin} sent a body with neither length nor chunks, so nobody can tell whether it is whole"
    ),
    FaultKind.IDLE: _Row(StorageTimeoutError, "{origin} did nothing for {detail}"),
    FaultKind.TOTAL: _Row(StorageTimeoutError, "the request to {origin} took longer than {detail}"),
    FaultKind.SCOPE: _Row(StorageTimeoutError, "the surrounding scope's time was over during a request to {origin}"),
    FaultKind.CANCELLED: _Row(CancelledError, "cancelled by the surrounding scope during a request to {origin}"),
    FaultKind.REWIND: _Row(
        ConnectionLostError,
        "the connection to {origin} broke, and the body cannot be sent again: it can be read only once",
    ),
    FaultKind.LIMIT: _Row(LimitExceededError, "the answer of {origin} is larger than allowed ({detail})"),
    FaultKind.UNKNOWN: _Row(StorageError, "the request to {origin} failed ({detail})"),
}

_CODES: Final[Mapping[int, FaultKind]] = {
    5: FaultKind.PROXY,
    6: FaultKind.NAME,
    7: FaultKind.CONNECT,
    8: FaultKind.PROTOCOL,  # a Content-Length or status line that makes no sense
    1: FaultKind.PROTOCOL,  # an answer that does not begin with HTTP/
    16: FaultKind.LOST,
    18: FaultKind.TRUNCATED,
    28: FaultKind.CONNECT_TIMEOUT,  # no other time limit is libcurl's
    35: FaultKind.TLS,
    43: FaultKind.UNKNOWN,
    45: FaultKind.CONNECT,
    52: FaultKind.LOST,
    53: FaultKind.TLS,
    55: FaultKind.LOST,
    56: FaultKind.LOST,
    58: FaultKind.CA_FILE,
    59: FaultKind.TLS,
    60: FaultKind.CERTIFICATE,
    61: FaultKind.PROTOCOL,
    63: FaultKind.LIMIT,
    65: FaultKind.REWIND,
    66: FaultKind.TLS,
    77: FaultKind.CA_FILE,
    80: FaultKind.LOST,
    82: FaultKind.CA_FILE,
    83: FaultKind.CERTIFICATE,
    91: FaultKind.CERTIFICATE,
    97: FaultKind.PROXY,
    98: FaultKind.CA_FILE,
    100: FaultKind.LIMIT,  # headers
}

#: OpenSSL's verdicts (x509_vfy.h) for which there is something better to say than its own words.
_EXPIRED: Final = 10
_NOT_YET_VALID: Final = 9
_UNTRUSTED: Final = frozenset({2, 18, 19, 20, 21, 27})
_WRONG_NAME: Final = frozenset({62, 64})


def kind_of_code(code: int, message: str = "") -> FaultKind:
    """What a libcurl result code means here. A proxy that refuses a tunnel shares its codes with broken connections."""
    if code in {7, 56} and "CONNECT tunnel" in message:
        return FaultKind.PROXY
    return _CODES.get(code, FaultKind.UNKNOWN)


def certificate_detail(message: str, verdict: int) -> str:
    """Why a certificate was refused and what helps; ``verdict`` is OpenSSL's, 0 when the chain was fine."""
    if verdict == _EXPIRED:
        return "it has expired; the server needs a new one (or this machine's clock is wrong)"
    if verdict == _NOT_YET_VALID:
        return "it is not valid yet; is this machine's clock right?"
    if verdict in _UNTRUSTED:
        return "it is not signed by a CA known here; give the CA's certificate as ca_file"
    if "subject name" in message or verdict in _WRONG_NAME:
        return "it was made for another host name; check the endpoint's name"
    return redact_text(message)


def error_for(fault: TransferFault, origin: str, *, system_error: int = 0) -> StorageError:
    """The error to raise for a fault; its cause is set. ``system_error`` is the operating system's number, or 0."""
    kind, text = _ERRORS[fault.kind]
    detail = fault.detail
    if fault.kind is FaultKind.CONNECT and system_error:
        detail = "connection refused" if system_error == errno.ECONNREFUSED else os.strerror(system_error).lower()
    error = kind(text.format(origin=origin, detail=redact_text(detail)))
    error.__cause__ = fault
    return error


def fault_of(error: BaseException) -> TransferFault | None:
    """The fault behind an error of the transport, None behind any other, and behind one that was disowned."""
    fault = error.__cause__
    return fault if isinstance(fault, TransferFault) and not fault.foreign else None


def disown(error: BaseException) -> None:
    """Tell that a transfer did not fail by itself: a body's source, a sink or a progress callback raised this.

    It may be the error of a transfer of theirs, which must not be taken for a fault of the one that they are part of.
    """
    if isinstance(error.__cause__, TransferFault):
        error.__cause__.foreign = True
