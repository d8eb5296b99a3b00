"""The table of statuses, row by row."""

from __future__ import annotations

import pytest

from mediagit_storage.backends.webdav.translate import STATUSES, row_of, translate
from mediagit_storage.errors import (
    AlreadyExistsError,
    BucketNotFoundError,
    NotFoundError,
    NotModifiedError,
    PermissionDeniedError,
    PreconditionError,
    StorageError,
    UnavailableError,
)
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.request import Request
from mediagit_storage.http.response import Response
from mediagit_storage.testing.covers import covers


def answer(status, body=b"", kind="text/html", method="GET", **fields):
    headers = [("Content-Type", kind), *((name.replace("_", "-"), value) for name, value in fields.items())]
    return Response(Request(method, "https://h/dav/k"), status, Headers.of(headers), [body])


@pytest.mark.parametrize("status", STATUSES)
def test_every_row(status):
    error = translate(answer(status))
    assert type(error) is STATUSES[status].kind
    assert f"HTTP {status}" in str(error)


@covers(224)
@pytest.mark.parametrize("status", [status for status in range(300, 600) if status not in {404, 410}])
def test_nothing_else_is_ever_not_found(status):
    assert not issubclass(row_of(status).kind, NotFoundError)


def test_a_refusal_is_no_absence():
    assert isinstance(translate(answer(403)), PermissionDeniedError)


def test_statuses_that_are_in_no_row():
    assert type(translate(answer(418))) is StorageError
    assert isinstance(translate(answer(599)), UnavailableError)


@pytest.mark.parametrize(
    ("condition", "kind"),
    [
        ("absent", AlreadyExistsError),
        ("match", PreconditionError),
        ("none-match", NotModifiedError),
        (None, PreconditionError),
    ],
)
def test_a_failed_condition(condition, kind):
    assert type(translate(answer(412), condition=condition)) is kind


def test_what_is_missing():
    assert type(translate(answer(404))) is NotFoundError
    assert type(translate(answer(404), subject="bucket")) is BucketNotFoundError
    assert type(translate(answer(404), condition="match")) is PreconditionError


def test_short_words_of_the_server_are_shown_and_pages_are_not():
    assert "quota of bob" in str(translate(answer(507, b"quota of bob\n", "text/plain; charset=utf-8")))
    assert "<html>" not in str(translate(answer(500, b"<html>oops</html>")))
    assert "x" * 400 not in str(translate(answer(500, b"x" * 400, "text/plain")))
    sabre = b'<d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns"><s:message>File is locked</s:message></d:error>'
    assert "File is locked" in str(translate(answer(423, sabre, "application/xml")))
    assert str(translate(answer(423, b"<broken", "application/xml")))


def test_no_message_has_line_ends_or_secrets():
    text = str(translate(answer(500, b"a\r\nb https://u:hush@h/x?token=hush", "text/plain")))
    assert text.isprintable()
    assert "hush" not in text


def test_a_redirect_names_its_target_without_secrets():
    text = str(translate(answer(302, location="https://u:hush@login.example/?token=hush")))
    assert "login.example" in text
    assert "hush" not in text


@pytest.mark.parametrize("method", ["COPY", "MOVE"])
def test_a_server_behind_another_one(method):
    assert "destination=path" in str(translate(answer(502, method=method)))
    assert "destination=path" not in str(translate(answer(502)))
