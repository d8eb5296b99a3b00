"""S3 through a proxy that spoils chosen requests: nothing is lost, torn or left behind, and retries are not seen."""

from __future__ import annotations

import secrets

import pytest

from mediagit_storage.errors import (
    ThrottledError,
    UnavailableError,
)
from mediagit_storage.testing.bad_network import BadReads, BadWrites, SlowestNetwork, read_faults, write_faults
from mediagit_storage.testing.conformance import BatchContract, ConditionContract
from mediagit_storage.testing.emulators.raw_s3 import call
from mediagit_storage.testing.fault_proxy import Fault, is_method
from mediagit_storage.testing.sources import content
from mediagit_storage.testing.toxics import (
    Fail,
    FailAfterwards,
    ResetBefore,
    ResetWhileSending,
    SwallowAnswer,
    error_in_ok,
    truncated_xml,
)

MIB = 1024 * 1024
pytestmark = pytest.mark.uses_server("seaweedfs")


@pytest.fixture
def through(through_proxy):
    return through_proxy


class TestOneByteAtATime(BatchContract, ConditionContract, SlowestNetwork):
    server_name = "seaweedfs"
    deviations = {
        "test_characters_that_mean_something_elsewhere": "backslash-is-a-slash",
        "test_a_deleted_object_is_gone_for_every_call": "folders-outlive-objects",
    }

    def open_backend(self):
        self.bucket = self.make_bucket(self.server)
        return self.reopen(None)

    def reopen(self, backend):
        return self.open_bucket(self.server, self.bucket, endpoint=self.proxy.url, buffer_size=8 * MIB)

    def missing_bucket(self):
        return self.open_bucket(self.server, f"missing-{secrets.token_hex(8)}", endpoint=self.proxy.url)


# ---- one fault, one promise


WRITE_FAULTS = write_faults(
    Fail(500, "InternalError"), Fail(503, "SlowDown", "0"), Fail(429, "TooManyRequests"), FailAfterwards(500),
    FailAfterwards(503, "SlowDown"),
)  # fmt: skip


class TestReads(BadReads):
    read_faults = read_faults(
        Fail(500, "InternalError"), Fail(503, "SlowDown"), Fail(503, "SlowDown", "0"), Fail(429, "TooManyRequests", "0")
    )  # fmt: skip
    lastings = (
        (Fail(503, "SlowDown", "0"), ThrottledError),
        (Fail(500, "InternalError"), UnavailableError),
        (ResetBefore(), UnavailableError),
        (SwallowAnswer(), UnavailableError),
    )


class TestWrites(BadWrites):
    write_faults = WRITE_FAULTS
    lost_answers = (SwallowAnswer(), FailAfterwards(503, "SlowDown"), ResetBefore())


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
