"""Answers that are not whole, credentials and clocks that are wrong, and networks that are not there."""

from __future__ import annotations

import socket

import pytest

from mediagit_storage.errors import (
    AccessError,
    ConnectionLostError,
    IntegrityError,
    TruncatedError,
    UnauthenticatedError,
    UnavailableError,
)
from mediagit_storage.secrets import Secret
from mediagit_storage.storage import Storage
from mediagit_storage.testing.s3_answers import lines, ok, refused
from mediagit_storage.testing.scripted_server import Close, Receive, Send

BODY = bytes(range(200))
WHOLE = ok(200, b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>", etag=None)
VERSIONS = ok(200, b"<ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>", etag=None)
UPLOADS = ok(
    200, b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>", etag=None
)
TAGGED = ok(200, b"x", ("x-amz-tagging-count", "1"))
TAGS = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"


# ---- documents ------------------------------------------------------------------------------------------------------


BROKEN = {
    "cut off": ok(200, b"<ListBucketResult><IsTruncated>false</IsTru", etag=None),
    "cut off between elements": ok(200, b"<ListBucketResult><Contents></Contents>", etag=None),
    "empty": ok(200, b"", etag=None),
    "an error": ok(200, b"<Error><Code>InternalError</Code><Message>sorry</Message></Error>", etag=None),
    "busy": ok(200, b"<Error><Code>SlowDown</Code><Message>slower</Message></Error>", etag=None),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_list_that_is_not_one_is_asked_for_again(play, broken):
    store, server = play(BROKEN[broken], WHOLE)
    assert list(store.list()) == []
    assert len(server.received) == 2


def test_so_are_lists_of_versions_and_uploads(play):
    store, _ = play(BROKEN["cut off"], VERSIONS)
    assert list(store.list(versions=True)) == []
    store, _ = play(BROKEN["empty"], UPLOADS)
    assert list(store.pending_uploads()) == []


def test_so_are_tags(play):
    store, server = play(TAGGED, ok(200, TAGS[:-5]), ok(200, TAGS))
    assert store.stat("k").attributes.tags == {"a": "b"}
    assert lines(server)[1:] == ["GET /bucket/k?tagging="] * 2


def test_one_that_stays_broken_is_an_error_and_no_short_list(play):
    store, server = play(BROKEN["cut off"])
    with pytest.raises(TruncatedError):
        list(store.list())
    assert len(server.received) == 3


def test_an_error_inside_of_a_success_keeps_its_meaning(play):
    store, server = play(ok(200, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>", etag=None))
    with pytest.raises(AccessError):
        list(store.list())
    assert len(server.received) == 1, "asking again would not help"


def test_what_is_whole_and_wrong_is_not_asked_for_again(play):
    store, server = play(ok(200, b"<html><body>sign in</body></html>", etag=None))
    with pytest.raises(IntegrityError):
        list(store.list())
    assert len(server.received) == 1


# ---- bodies ---------------------------------------------------------------------------------------------------------


def cut(length: int):
    """An answer that announces more than the object has, and breaks off."""
    head = 'HTTP/1.1 200 OK\r\nContent-Length: 220\r\nETag: "e1"\r\n\r\n'
    return (Receive(), Send(head.encode() + BODY[:length]), Close())


@pytest.mark.parametrize(
    "second",
    [refused(416, "InvalidRange"), refused(412, "PreconditionFailed"), ok(200, BODY, etag='"e2"')],
    ids=["shorter", "overwritten", "from the start"],
)
def test_a_body_in_memory_that_cannot_be_gone_on_with_is_read_anew(play, second):
    store, server = play(cut(50), cut(50), second, ok(200, BODY))
    assert store.get("k") == BODY
    assert len(server.received) == 4


# ---- credentials and clocks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidToken", "TokenRefreshRequired"])
def test_an_expired_token_that_nobody_can_renew_says_so_at_once(play, code):
    store, server = play(refused(400, code), session_token=Secret("old-token"))
    with pytest.raises(UnauthenticatedError, match="sign in again"):
        store.get("k")
    assert len(server.received) == 1


def test_a_clock_that_stays_wrong_is_told_after_one_more_signature(play):
    store, server = play(refused(403, "RequestTimeTooSkewed"))
    with pytest.raises(UnauthenticatedError, match="clock"):
        store.get("k")
    assert len(server.received) == 2


@pytest.mark.parametrize(
    ("code", "words"),
    [("InvalidAccessKeyId", "access key"), ("SignatureDoesNotMatch", "secret"), ("AccessDenied", "permission")],
)
def test_wrong_credentials_say_what_to_check(play, code, words):
    store, server = play(refused(403, code))
    with pytest.raises(AccessError, match=words):
        store.put("k", b"x")
    assert len(server.received) == 1


# ---- no network -----------------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there(opened):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    store = Storage(opened(f"http://127.0.0.1:{port}"))
    for call in (lambda: store.get("k"), lambda: store.put("k", b"x"), lambda: list(store.list())):
        with pytest.raises(ConnectionLostError, match="check address and port") as caught:
            call()
        assert caught.value.retryable
        assert "(3 attempts" in str(caught.value)


def test_a_name_that_does_not_resolve(opened):
    store = Storage(opened("http://name.invalid", allow_http=True))
    with pytest.raises(UnavailableError, match="check its spelling, the network and DNS"):
        store.get("k")
