"""Answers as the service gives them, and what to look for in the requests that came."""

from __future__ import annotations

from mediagit_storage.testing.s3_answers import header, lines
from mediagit_storage.testing.scripted_server import answer

DATE = ("Date", "Sun, 06 Nov 2044 08:49:37 GMT")
MODIFIED = ("Last-Modified", "Sun, 06 Nov 2044 08:49:37 GMT")

__all__ = ["DATE", "blob", "created", "header", "lines", "ok", "refused"]


def ok(status=200, body=b"", *headers, etag='"0x1"', date=DATE):
    """A success."""
    return answer(status, body, [date, MODIFIED, ("ETag", etag), *headers])


def created(etag='"0x1"', *headers):
    """What was written."""
    return ok(201, b"", *headers, etag=etag)


def blob(size, *headers, etag='"0x1"'):
    """The answer to a HEAD."""
    return answer(200, b"", [DATE, MODIFIED, ("ETag", etag), ("Content-Length", str(size)), *headers], length=size)


def refused(status, code, message="no", *headers, date=DATE):
    """A failure with its document and code."""
    body = f"<Error><Code>{code}</Code><Message>{message}\nRequestId:1</Message></Error>".encode()
    return answer(status, body, [date, ("x-ms-error-code", code), *headers])
