"""Writes: what travels, what is undone when it fails, and what a lost answer means."""

from __future__ import annotations

import base64
import hashlib
import re
import threading

import pytest

from mediagit_storage.errors import (
    AlreadyExistsError,
    BucketNotFoundError,
    CancelledError,
    CapacityError,
    ChecksumError,
    ConnectionLostError,
    IntegrityError,
    LimitExceededError,
    PermissionDeniedError,
    PreconditionError,
    StorageError,
    UnavailableError,
    UnsupportedError,
)
from mediagit_storage.scope import scope
from mediagit_storage.testing.s3_answers import header, lines, ok, refused
from mediagit_storage.testing.scripted_server import Call, Receive, ReceiveHead, Reset
from mediagit_storage.testing.sources import DeliberateError, failing
from mediagit_storage.types import Attributes

MIB = 1024 * 1024
BEGUN = ok(200, b"<InitiateMultipartUploadResult><UploadId>U1</UploadId></InitiateMultipartUploadResult>", etag=None)
COMPLETED = ok(200, b"<CompleteMultipartUploadResult><ETag>&quot;whole-2&quot;</ETag></CompleteMultipartUploadResult>")
GONE = ok(204, etag=None)


def test_a_put_is_one_signed_and_checked_request(play):
    store, server = play(ok(), checksum="md5")
    info = store.put("a b/é", b"hello", attributes=Attributes(metadata={"n": "1"}))
    [request] = server.received
    assert lines(server) == ["PUT /bucket/a%20b/%C3%A9"]
    assert request.endswith(b"\r\n\r\nhello")
    assert header(request, "content-md5") == base64.b64encode(hashlib.md5(b"hello").digest()).decode()
    assert header(request, "x-amz-meta-n") == "1"
    assert header(request, "content-type") == "binary/octet-stream"
    assert header(request, "if-none-match") is None
    assert header(request, "x-amz-meta-mgs-token") is None, "only conditional writes carry a token"
    signed = re.search(r"SignedHeaders=([^,]*)", header(request, "authorization") or "")
    assert signed is not None
    assert {"content-md5", "host", "x-amz-date", "x-amz-meta-n"} <= set(signed[1].split(";"))
    assert (info.size, info.etag) == (5, "e1")
    assert info.modified is not None


def test_each_put_has_the_attributes_of_its_own_options(play):
    """What puts with the same options share is not carried over to the others."""
    store, server = play(ok())
    for name in ("1", None, "2"):
        attributes = None if name is None else Attributes(metadata={"n": name})
        store.put("k", b"x", attributes=attributes)
        assert store.put_many([("a", b"x"), ("b", b"y")], attributes=attributes).run() == 2
    found = [header(request, "x-amz-meta-n") for request in server.received]
    assert found == ["1"] * 3 + [None] * 3 + ["2"] * 3
    digests = [header(request, "x-amz-checksum-crc32c") for request in server.received]
    assert digests[0] == digests[3] == digests[6] is not None


def test_a_plain_put_is_repeated_after_a_lost_answer(play):
    store, server = play((Receive(), Reset()), ok())
    assert store.put("k", b"x").etag == "e1"
    assert len(server.received) == 2


@pytest.mark.parametrize("failure", [refused(500, "InternalError"), refused(503, "SlowDown")])
def test_what_passes_is_repeated(play, failure):
    store, server = play(failure, failure, ok())
    store.put("k", b"x")
    assert len(server.received) == 3


def test_attempts_end(play):
    store, server = play(refused(503, "SlowDown"))
    with pytest.raises(UnavailableError):
        store.put("k", b"x")
    assert len(server.received) == 3


# ---- lost answers to conditional writes (promise 9)


def own_object(server, token: str | None = None):
    """The answer to a HEAD that shows the token of the first request."""

    class Own:
        def play(self, conversation):
            told = token or header(server().received[0], "x-amz-meta-mgs-token")
            ok(200, b"", ("x-amz-meta-mgs-token", str(told)), etag='"mine"').play(conversation)

    return Own()


@pytest.mark.parametrize("first", [(Receive(), Reset()), refused(500, "InternalError")], ids=["reset", "500"])
def test_our_own_object_is_no_conflict(play, first):
    holder = []
    store, server = play(first, refused(412, "PreconditionFailed"), own_object(lambda: holder[0]))
    holder.append(server)
    info = store.put("k", b"hello", if_absent=True)
    assert info.etag == "mine"
    assert [each.partition(" ")[0] for each in lines(server)] == ["PUT", "PUT", "HEAD"]
    tokens = {header(each, "x-amz-meta-mgs-token") for each in server.received[:2]}
    assert len(tokens) == 1, "the repeated request is the same write"


def test_somebody_elses_object_is_a_conflict(play):
    holder = []
    store, server = play(
        (Receive(), Reset()), refused(412, "PreconditionFailed"), own_object(lambda: holder[0], "another")
    )
    holder.append(server)
    with pytest.raises(AlreadyExistsError):
        store.put("k", b"hello", if_absent=True)


def test_a_conflict_at_the_first_try_is_believed(play):
    store, server = play(refused(412, "PreconditionFailed"))
    with pytest.raises(PreconditionError):
        store.put("k", b"hello", if_match="old")
    assert lines(server) == ["PUT /bucket/k"]
    assert header(server.received[0], "if-match") == '"old"'


def test_a_race_of_conditions_is_repeated(play):
    store, server = play(refused(409, "ConditionalRequestConflict"), ok())
    store.put("k", b"x", if_absent=True)
    assert len(server.received) == 2


def test_if_match_on_an_absent_object(play):
    store, _ = play(refused(404, "NoSuchKey"))
    with pytest.raises(PreconditionError):
        store.put("k", b"x", if_match="old")


def test_generic_servers_are_not_trusted_with_conditions(play):
    store, server = play(ok(), service="generic")
    with pytest.raises(UnsupportedError):
        store.put("k", b"x", if_absent=True)
    assert server.received == []


# ---- errors


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (refused(404, "NoSuchBucket"), BucketNotFoundError),
        (refused(403, "AccessDenied"), PermissionDeniedError),
        (refused(400, "EntityTooLarge"), LimitExceededError),
        (refused(507, "InsufficientStorage"), (CapacityError, UnavailableError)),
        (refused(400, "BadDigest"), ChecksumError),
        (refused(400, "SomethingNew"), StorageError),
    ],
)
def test_failures_have_their_own_errors(play, failure, kind):
    store, _ = play(failure)
    with pytest.raises(kind) as caught:
        store.put("k", b"x")
    assert caught.value.key == "k"
    assert "very-secret-key" not in str(caught.value)


def test_metadata_that_do_not_fit_are_refused_before_the_source_is_read(play):
    store, server = play(ok())
    touched = []

    def pieces():
        touched.append(True)
        yield b"x"

    with pytest.raises(LimitExceededError):
        store.put("k", pieces(), attributes=Attributes(metadata={"n": "v" * 5000}))
    assert not touched
    assert server.received == []


# ---- uploads in parts


def parted(**options):
    return {"part_size": 5 * MIB, "concurrency": 2, "buffer_size": 20 * MIB, "multipart_threshold": 6 * MIB, **options}


def by_kind(server) -> list[str]:
    return sorted(re.sub(r"partNumber=\d+", "partNumber=N", line) for line in lines(server))


class Routed:
    """Answers by what is asked, on every connection alike."""

    def __init__(self, **answers):
        self.answers = answers
        self.requests: list[bytes] = []
        self.lock = threading.Lock()

    def play(self, conversation):
        request = conversation.server.received[-1]
        line = request.partition(b"\r\n")[0].decode()
        if "uploads=" in line:
            kind = "begin"
        elif "partNumber=" in line:
            kind = "part"
        elif line.startswith("DELETE"):
            kind = "abort"
        elif line.startswith("HEAD"):
            kind = "head"
        elif line.startswith("PUT"):
            kind = "put"
        else:
            kind = "complete"
        with self.lock:
            found = self.answers[kind]
            step = found.pop(0) if isinstance(found, list) and len(found) > 1 else found
        (step[0] if isinstance(step, list) else step).play(conversation)


def upload_script(**changes):
    return (Receive(), Routed(**{"begin": BEGUN, "part": ok(), "complete": COMPLETED, "abort": GONE, **changes}))


def test_a_long_stream_travels_in_parts(play):
    store, server = play(upload_script(), **parted())
    data = bytes(range(256)) * (MIB // 256) * 11
    info = store.put("k", (data[at : at + 700_000] for at in range(0, len(data), 700_000)))
    assert (info.size, info.etag) == (len(data), "whole-2")
    found = {}
    for request in server.received:
        number = re.search(rb"partNumber=(\d+)", request)
        if number:
            found[int(number[1])] = request.partition(b"\r\n\r\n")[2]
    assert sorted(found) == [1, 2, 3]
    assert b"".join(found[number] for number in sorted(found)) == data
    last = server.received[-1]
    assert [int(each) for each in re.findall(rb"<PartNumber>(\d+)<", last)] == [1, 2, 3]


@pytest.mark.parametrize("kind", ["bytes", "file"])
def test_large_buffers_and_files_travel_in_parts(play, kind, tmp_path):
    store, server = play(upload_script(), **parted())
    data = bytes(range(256)) * (MIB // 256) * 11 + b"end"
    if kind == "bytes":
        store.put("k", data)
    else:
        path = tmp_path / "file"
        path.write_bytes(data)
        store.upload(path, "k")
    parts = {}
    for request in server.received:
        number = re.search(rb"partNumber=(\d+)", request)
        if number:
            parts[int(number[1])] = request.partition(b"\r\n\r\n")[2]
    assert b"".join(parts[number] for number in sorted(parts)) == data


def test_a_failing_source_aborts_its_upload(play):
    store, server = play(upload_script(), **parted())
    with pytest.raises(DeliberateError):
        store.put("k", failing(bytes(12 * MIB), 300_000))
    assert "DELETE /bucket/k?uploadId=U1" in lines(server)
    assert not any(line.startswith("POST /bucket/k?uploadId") for line in lines(server))


def test_a_cancelled_put_aborts_its_upload(play):
    store, server = play(upload_script(), **parted())

    def pieces(inside):
        for number in range(20):
            if number == 12:
                inside.cancel()
            yield bytes(MIB)

    with scope() as inside, pytest.raises(CancelledError):
        store.put("k", pieces(inside))
    assert "DELETE /bucket/k?uploadId=U1" in lines(server)


def test_a_part_that_is_refused_aborts_the_upload(play):
    store, server = play(upload_script(part=refused(403, "AccessDenied")), **parted())
    with pytest.raises(PermissionDeniedError):
        store.put("k", bytes(12 * MIB))
    assert "DELETE /bucket/k?uploadId=U1" in lines(server)


def test_a_part_is_repeated(play):
    store, server = play(upload_script(part=[refused(500, "InternalError"), ok(), ok(), ok()]), **parted())
    store.put("k", bytes(11 * MIB))
    assert sum("partNumber=" in line for line in lines(server)) == 4


def test_a_200_that_hides_an_error_is_repeated(play):
    hidden = ok(200, b"<Error><Code>InternalError</Code><Message>no</Message></Error>")
    store, _ = play(upload_script(complete=[hidden, COMPLETED]), **parted())
    assert store.put("k", bytes(11 * MIB)).etag == "whole-2"


def test_a_200_that_stays_an_error_is_one_and_aborts(play):
    hidden = ok(200, b"<Error><Code>InternalError</Code><Message>no</Message></Error>")
    store, server = play(upload_script(complete=hidden), **parted())
    with pytest.raises(UnavailableError):
        store.put("k", bytes(11 * MIB))
    assert "DELETE /bucket/k?uploadId=U1" in lines(server)


def test_a_lost_answer_to_the_completion_is_found_out(play):
    class Own:
        def play(self, conversation):
            begin = next(each for each in conversation.server.received if b"uploads=" in each)
            ok(200, b"", ("x-amz-meta-mgs-token", str(header(begin, "x-amz-meta-mgs-token"))), etag='"mine-3"').play(
                conversation
            )

    script = upload_script(complete=[Reset(), refused(404, "NoSuchUpload")], head=Own())
    store, _ = play(script, **parted())
    assert store.put("k", bytes(11 * MIB), if_absent=True).etag == "mine-3"


def test_conditions_travel_with_the_completion(play):
    store, server = play(upload_script(complete=refused(412, "PreconditionFailed"), head=ok()), **parted())
    with pytest.raises(AlreadyExistsError):
        store.put("k", bytes(11 * MIB), if_absent=True)
    assert "DELETE /bucket/k?uploadId=U1" in lines(server)
    completion = next(each for each in server.received if each.startswith(b"POST /bucket/k?uploadId"))
    assert header(completion, "if-none-match") == "*"
    assert all(header(each, "if-none-match") is None for each in server.received if each is not completion)


def test_parts_without_etags_are_no_parts(play):
    store, _ = play(upload_script(part=ok(etag=None)), **parted())
    with pytest.raises(IntegrityError):
        store.put("k", bytes(11 * MIB))


def test_conditional_streams_where_parts_know_no_conditions(play):
    store, server = play(upload_script(), **parted(service="r2"))
    with pytest.raises(UnsupportedError):
        store.put("k", (bytes(MIB) for _ in range(30)), if_absent=True)
    assert server.received == []


def test_a_put_into_a_server_that_never_answers(play):
    store, _ = play((ReceiveHead(), Call(lambda: None), Reset()))
    with pytest.raises(ConnectionLostError):
        store.put("k", b"x")
