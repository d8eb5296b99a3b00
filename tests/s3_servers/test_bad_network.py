"""S3 through a proxy that spoils chosen requests: nothing is lost, torn or left behind, and retries are not seen."""

from __future__ import annotations

import secrets

import pytest

from mediagit_storage.errors import (
    AlreadyExistsError,
    IntegrityError,
    StorageTimeoutError,
    ThrottledError,
    UnavailableError,
)
from mediagit_storage.storage import Storage
from mediagit_storage.testing.conformance import (
    BatchContract,
    ConditionContract,
    CopyContract,
    DeleteContract,
    ErrorContract,
    ListingContract,
    ObjectContract,
    RangeContract,
    SourceContract,
    StreamingContract,
)
from mediagit_storage.testing.emulators.raw_s3 import call
from mediagit_storage.testing.fault_proxy import Fault, FaultProxy, is_method
from mediagit_storage.testing.sources import content
from mediagit_storage.testing.toxics import (
    CutAnswer,
    Fail,
    FailAfterwards,
    Hang,
    Latency,
    OneByteAtATime,
    ResetBefore,
    ResetWhileSending,
    SlowClose,
    SwallowAnswer,
    error_in_ok,
    truncated_xml,
    wrong_length,
    wrong_range,
)

MIB = 1024 * 1024
pytestmark = pytest.mark.uses_server("seaweedfs")


@pytest.fixture
def through(servers, new_bucket, open_s3):
    """Opens a new bucket of SeaweedFS through a proxy with these faults; the third is the bucket without a proxy."""
    server = servers("seaweedfs")

    def enter(*faults, always=(), storm=None, **options):
        bucket = new_bucket(server)
        proxy = FaultProxy(server.host, faults, always=always, storm=storm)
        spoilt = Storage(open_s3(server, bucket, endpoint=proxy.url, **options))
        return proxy, spoilt, Storage(open_s3(server, bucket))

    return enter


class TestOneByteAtATime(
    ErrorContract,
    ObjectContract,
    SourceContract,
    DeleteContract,
    RangeContract,
    ConditionContract,
    ListingContract,
    CopyContract,
    BatchContract,
    StreamingContract,
):
    """The suite with every head, and the first bytes of every body, arriving one by one."""

    server_name = "seaweedfs"
    deviations = {
        "test_characters_that_mean_something_elsewhere": "backslash-is-a-slash",
        "test_a_deleted_object_is_gone_for_every_call": "folders-outlive-objects",
    }
    rounds = 1
    many = 120
    large = 1_500_000
    chunk_sizes = (1, 64 * 1024)

    def open_backend(self):
        self.bucket = self.make_bucket(self.server)
        return self.reopen(None)

    def reopen(self, backend):
        return self.open_bucket(self.server, self.bucket, endpoint=self.proxy.url, buffer_size=8 * MIB)

    def missing_bucket(self):
        return self.open_bucket(self.server, f"missing-{secrets.token_hex(8)}", endpoint=self.proxy.url)

    @pytest.fixture(autouse=True)
    def conformance_case(self, tmp_path, request):
        with FaultProxy(self.server.host, always=[OneByteAtATime(600)]) as self.proxy, self.running(tmp_path):
            yield


# ---- one fault, one promise


READ_FAULTS = [
    ResetBefore(), CutAnswer(0), CutAnswer(1000), CutAnswer(1000, reset=True), SwallowAnswer(), SwallowAnswer(reset=False),
    Fail(500, "InternalError"), Fail(503, "SlowDown"), Fail(503, "SlowDown", "0"), Fail(429, "TooManyRequests", "0"),
    wrong_length(50), SlowClose(0.0), Latency(0.05),
]  # fmt: skip


@pytest.mark.parametrize("toxic", READ_FAULTS, ids=repr)
def test_a_read_comes_whole_all_the_same(through, toxic):
    proxy, spoilt, plain = through(Fault(toxic, matches=is_method("GET", having="/k")))
    data = content(300_000)
    plain.put("k", data)
    with proxy:
        assert spoilt.get("k") == data
        assert spoilt.get("k", offset=1000, length=5000) == data[1000:6000]
        assert b"".join(spoilt.stream("k")) == data


@pytest.mark.parametrize("toxic", [CutAnswer(100_000), CutAnswer(100_000, reset=True)], ids=repr)
def test_a_stream_that_breaks_off_goes_on_where_it_was(through, toxic):
    proxy, spoilt, plain = through(Fault(toxic, matches=is_method("GET", having="/k"), times=2))
    data = content(3_000_000)
    plain.put("k", data)
    with proxy:
        assert b"".join(spoilt.stream("k")) == data
        ranges = [request.value("range") for request in proxy.requests if "/k" in request.target]
        assert ranges[0] is None
        assert None not in ranges[1:]
        assert all(request.value("if-match") for request in proxy.requests[-2:])


def test_a_range_other_than_asked_for_is_never_given_out(through):
    proxy, spoilt, plain = through(Fault(wrong_range(7), matches=is_method("GET"), times=100))
    plain.put("k", content(1000))
    with proxy, pytest.raises(IntegrityError):
        spoilt.get("k", offset=100, length=50)


WRITE_FAULTS = [
    ResetBefore(), ResetWhileSending(0), ResetWhileSending(1000), SwallowAnswer(), SwallowAnswer(reset=False),
    Fail(500, "InternalError"), Fail(503, "SlowDown", "0"), Fail(429, "TooManyRequests"), FailAfterwards(500),
    FailAfterwards(503, "SlowDown"), SlowClose(0.0),
]  # fmt: skip


@pytest.mark.parametrize("toxic", WRITE_FAULTS, ids=repr)
def test_a_write_is_repeated(through, toxic):
    proxy, spoilt, plain = through(Fault(toxic, matches=is_method("PUT", having="/k")))
    data = content(300_000)
    with proxy:
        spoilt.put("k", data)
    assert plain.get("k") == data


@pytest.mark.parametrize("toxic", WRITE_FAULTS, ids=repr)
def test_our_own_create_is_not_a_conflict(through, toxic):
    """A lost answer to a create-only write is resolved: the object there is ours."""
    proxy, spoilt, plain = through(Fault(toxic, matches=is_method("PUT", having="/k")))
    with proxy:
        assert spoilt.put("k", b"ours", if_absent=True).size == 4
        with pytest.raises(AlreadyExistsError):
            spoilt.put("k", b"later", if_absent=True)
    assert plain.get("k") == b"ours"


@pytest.mark.parametrize("toxic", [SwallowAnswer(), FailAfterwards(503, "SlowDown"), ResetBefore()], ids=repr)
def test_anothers_create_is_a_conflict_however_bad_the_network(through, toxic):
    proxy, spoilt, plain = through(Fault(toxic, matches=is_method("PUT", having="/k")))
    plain.put("k", b"theirs")
    with proxy, pytest.raises(AlreadyExistsError):
        spoilt.put("k", b"ours", if_absent=True)
    assert plain.get("k") == b"theirs"


PART_FAULTS = [*WRITE_FAULTS, ResetWhileSending(2 * MIB)]


@pytest.mark.parametrize("toxic", PART_FAULTS, ids=repr)
@pytest.mark.parametrize("having", ["partNumber=2", "uploads=", "uploadId="], ids=["part", "begin", "complete"])
def test_an_upload_in_parts_survives(through, toxic, having):
    method = "PUT" if having == "partNumber=2" else "POST"
    size = {"part_size": 5 * MIB, "multipart_threshold": 6 * MIB}
    proxy, spoilt, plain = through(Fault(toxic, matches=is_method(method, having=having)), **size)
    data = content(11 * MIB)
    with proxy:
        spoilt.put("k", data)
    assert plain.get("k") == data
    # An upload whose id got lost on the way is nobody's, and clean-up finds it. Its request has no body, so that a
    # reset while it is sent comes when the server may have it already.
    lost = having == "uploads=" and isinstance(toxic, SwallowAnswer | FailAfterwards | ResetWhileSending)
    assert len([*plain.pending_uploads()]) <= int(lost)


@pytest.mark.parametrize(
    "toxic", [error_in_ok(), error_in_ok("SlowDown"), truncated_xml()], ids=["error", "slow", "cut"]
)
def test_a_success_that_is_none_is_not_taken_for_one(through, toxic):
    """The status 200 with an error or half a document behind it."""
    size = {"part_size": 5 * MIB, "multipart_threshold": 6 * MIB}
    completes = Fault(toxic, matches=is_method("POST", having="uploadId="))
    copies = Fault(toxic, matches=lambda request: request.value("x-amz-copy-source") is not None)
    lists = Fault(toxic, matches=is_method("GET", having="list-type"))
    deletes = Fault(toxic, matches=is_method("POST", having="delete"))
    proxy, spoilt, plain = through(completes, copies, lists, deletes, **size)
    with proxy:
        spoilt.put("k", content(7 * MIB))
        spoilt.copy("k", "l")
        assert [info.key for info in spoilt.list()] == ["k", "l"]
        assert all(outcome.error is None for outcome in spoilt.delete_many(["k", "l"]))
    assert [*plain.list()] == []
    assert [*plain.pending_uploads()] == []


def test_a_bulk_delete_whose_answer_was_lost(through):
    proxy, spoilt, plain = through(Fault(SwallowAnswer(), matches=is_method("POST", having="delete")))
    plain.put_many((f"k{number}", b"") for number in range(20)).run()
    with proxy:
        assert all(outcome.error is None for outcome in spoilt.delete_many([f"k{number}" for number in range(20)]))
    assert [*plain.list()] == []


# ---- when nothing helps


@pytest.mark.parametrize(
    ("toxic", "kind"),
    [
        (Fail(503, "SlowDown", "0"), ThrottledError),
        (Fail(500, "InternalError"), UnavailableError),
        (ResetBefore(), UnavailableError),
        (SwallowAnswer(), UnavailableError),
    ],
    ids=repr,
)
def test_a_fault_that_stays_is_its_own_error_after_three_attempts(through, toxic, kind):
    proxy, spoilt, plain = through(Fault(toxic, times=100))
    plain.put("k", b"x")
    with proxy:
        with pytest.raises(kind):
            spoilt.get("k")
        assert len(proxy.requests) == 3
        # The answer to HEAD has no body that could tell more.
        with pytest.raises(UnavailableError):
            spoilt.exists("k")
    assert plain.get("k") == b"x"


def test_a_server_that_never_answers_is_a_time_out(through):
    proxy, spoilt, _ = through(Fault(Hang(), times=100), idle_timeout=0.3, attempts=1)
    with proxy, pytest.raises(StorageTimeoutError):
        spoilt.get("k")


def test_a_failed_upload_leaves_the_old_object_and_nothing_else(through):
    size = {"part_size": 5 * MIB, "multipart_threshold": 6 * MIB}
    third = Fault(Fail(500), times=100, matches=is_method("PUT", having="partNumber=3"))
    proxy, spoilt, plain = through(third, **size)
    plain.put("k", b"old")
    with proxy, pytest.raises(UnavailableError):
        spoilt.put("k", content(17 * MIB))
    assert plain.get("k") == b"old"
    assert [*plain.pending_uploads()] == []


def test_the_proxy_saw_what_the_server_saw(through, servers):
    """Signatures hold through the proxy: SeaweedFS checks them, and refuses what was changed on the way."""
    proxy, spoilt, _ = through()
    with proxy:
        spoilt.put("a b", b"x")
        assert spoilt.get("a b") == b"x"
        assert [request.target.rpartition("/")[2] for request in proxy.requests] == ["a%20b", "a%20b"]
    assert call(servers("seaweedfs"), "GET", signed=False).status == 403
