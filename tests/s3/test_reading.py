"""Reads: ranges, bodies that break off, absence and its proof."""

from __future__ import annotations

import base64
import hashlib

import pytest

from mediagit_storage.errors import (
    BucketNotFoundError,
    ChecksumError,
    ConnectionLostError,
    IntegrityError,
    InvalidRangeError,
    NotFoundError,
    NotModifiedError,
    PermissionDeniedError,
    PreconditionError,
    StorageError,
    UnauthenticatedError,
    UnavailableError,
)
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.s3_answers import DATE, header, lines, ok, refused
from mediagit_storage.testing.scripted_server import Receive, Reset, answer

BODY = bytes(range(200))


def part(start: int, end: int, *, etag: str = '"e1"', size: int = 200):
    return ok(206, BODY[start : end + 1], ("Content-Range", f"bytes {start}-{end}/{size}"), etag=etag)


def cut(count: int, *, status: int = 200, start: int = 0):
    """A body that breaks off after so many bytes."""
    headers = [DATE, ("ETag", '"e1"')]
    if status == 206:
        headers.append(("Content-Range", f"bytes {start}-199/200"))
    return (Receive(), answer(status, BODY[start : start + count], headers, length=200 - start), Reset())


def test_a_whole_object_and_a_part(play):
    store, server = play(ok(200, BODY), part(10, 19), part(190, 199))
    assert store.get("k") == BODY
    assert store.get("k", offset=10, length=10) == BODY[10:20]
    assert store.get("k", suffix=10) == BODY[-10:]
    assert [header(each, "range") for each in server.received] == [None, "bytes=10-19", "bytes=-10"]


@pytest.mark.parametrize("how", ["get", "stream"])
def test_a_body_that_breaks_off_is_gone_on_with(play, how):
    second = cut(60) if how == "get" else cut(40, status=206, start=50)
    rest = part(60, 199) if how == "get" else part(90, 199)
    store, server = play(cut(50), second, rest)
    data = store.get("k") if how == "get" else b"".join(store.stream("k"))
    assert data == BODY
    last = server.received[-1]
    assert header(last, "if-match") == '"e1"'
    assert header(last, "range") == ("bytes=60-199" if how == "get" else "bytes=90-199")


def test_two_versions_are_never_spliced(play):
    store, _ = play(cut(50), refused(412, "PreconditionFailed"))
    with pytest.raises(ConnectionLostError, match="overwritten"):
        b"".join(store.stream("k"))


def test_a_server_that_ignores_the_condition_is_caught(play):
    store, _ = play(cut(50), part(50, 199, etag='"e2"'))
    with pytest.raises(ConnectionLostError):
        b"".join(store.stream("k"))


def test_a_server_that_begins_anew_is_caught(play):
    store, _ = play(cut(50), ok(200, BODY))
    with pytest.raises(ConnectionLostError):
        b"".join(store.stream("k"))


def test_a_body_that_always_breaks_off_ends(play):
    store, server = play(cut(50), (Receive(), Reset()))
    with pytest.raises(StorageError):
        b"".join(store.stream("k"))
    assert len(server.received) <= 8


def test_a_range_that_was_not_asked_for(play):
    store, _ = play(part(20, 29))
    with pytest.raises(IntegrityError):
        store.get("k", offset=10, length=10)


def test_a_server_that_knows_no_ranges(play):
    store, _ = play(ok(200, BODY))
    assert store.get("k", offset=10, length=10) == BODY[10:20]
    assert b"".join(store.stream("k", offset=190, length=100)) == BODY[190:]


def test_a_200_with_a_content_range_is_a_part(play):
    store, _ = play(ok(200, BODY[10:20], ("Content-Range", "bytes 10-19/200")))
    assert store.get("k", offset=10, length=10) == BODY[10:20]


def test_the_edges_of_an_empty_object(play):
    unsatisfied = answer(416, b"<Error><Code>InvalidRange</Code></Error>", [DATE, ("Content-Range", "bytes */0")])
    store, _ = play(unsatisfied, ok(200, b""))
    assert store.get("k", suffix=5) == b""
    store, _ = play(unsatisfied, ok(200, b""))
    assert store.get("k", length=5) == b""
    store, _ = play(unsatisfied)
    with pytest.raises(InvalidRangeError):
        store.get("k", offset=0, length=5)


def test_checksums_that_the_server_keeps_are_checked(play):
    good = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    bad = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    store, server = play(
        ok(200, BODY, ("x-amz-checksum-sha256", good)), ok(200, BODY, ("x-amz-checksum-sha256", bad)),
        ok(200, BODY, ("x-amz-checksum-sha256", bad)),
    )  # fmt: skip
    assert store.get("k") == BODY
    assert header(server.received[0], "x-amz-checksum-mode") == "ENABLED"
    with pytest.raises(ChecksumError):
        store.get("k")
    with pytest.raises(ChecksumError):
        b"".join(store.stream("k"))


# ---- absence, and what only looks like it


def test_absence_is_proven(play):
    store, server = play(refused(404, "NoSuchKey"))
    with pytest.raises(NotFoundError) as caught:
        store.get("k")
    assert not isinstance(caught.value, BucketNotFoundError)
    assert len(server.received) == 1


def test_a_head_that_says_404_leads_to_one_look_at_the_bucket(play):
    store, server = play(answer(404, b"", [DATE]), ok(200), answer(404, b"", [DATE]))
    assert store.exists("k") is False
    assert store.exists("k") is False
    assert lines(server) == ["HEAD /bucket/k", "HEAD /bucket", "HEAD /bucket/k"]


def test_a_missing_bucket_is_not_an_absent_object(play):
    store, _ = play(answer(404, b"", [DATE]))
    with pytest.raises(BucketNotFoundError):
        store.exists("k")


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (refused(403, "AccessDenied"), PermissionDeniedError),
        (refused(403, "InvalidAccessKeyId"), UnauthenticatedError),
        (refused(500, "InternalError"), UnavailableError),
        (answer(404, b"<html>no such page</html>", [DATE]), StorageError),
    ],
)
def test_what_is_no_absence_raises(play, failure, kind):
    store, _ = play(failure)
    with pytest.raises(kind) as caught:
        store.get("k")
    assert not isinstance(caught.value, NotFoundError)


def test_a_silent_refusal_of_a_head_is_asked_aloud(play):
    store, server = play(answer(403, b"", [DATE]), refused(403, "AccessDenied", "not you"))
    with pytest.raises(PermissionDeniedError, match="not you"):
        store.exists("k")
    assert [each.partition(" ")[0] for each in lines(server)] == ["HEAD", "GET"]


def test_conditions_of_reads(play):
    store, _ = play(refused(412, "PreconditionFailed"), answer(304, b"", [DATE]))
    with pytest.raises(PreconditionError):
        store.get("k", if_match="e0")
    with pytest.raises(NotModifiedError):
        store.get("k", if_none_match="e1")


def test_the_library_s_own_metadata_is_not_shown(play):
    store, _ = play(ok(200, b"", ("x-amz-meta-mgs-token", "t"), ("x-amz-meta-a", "1")))
    found = store.stat("k").attributes
    assert found is not None
    assert dict(found.metadata) == {"a": "1"}


@covers(35)
@pytest.mark.parametrize("start", [2**32 - 5, 2**32, 2**32 + 7, 5 * 2**40 - 10])
def test_offsets_beyond_four_gibibytes(play, start):
    size = 5 * 2**40
    end = min(start + 10, size) - 1
    body = BODY[: end - start + 1]
    store, server = play(ok(206, body, ("Content-Range", f"bytes {start}-{end}/{size}")))
    assert store.get("k", offset=start, length=10) == body
    assert header(server.received[0], "range") == f"bytes={start}-{start + 9}"
