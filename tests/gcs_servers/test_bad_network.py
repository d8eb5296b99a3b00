"""Google Cloud Storage through a proxy that spoils chosen requests: nothing is lost, torn or left behind."""

from __future__ import annotations

import secrets

import pytest

from mediagit_storage.errors import (
    ConnectionLostError,
    IntegrityError,
    StorageError,
    ThrottledError,
    UnavailableError,
)
from mediagit_storage.storage import Storage
from mediagit_storage.testing.bad_network import BadReads, BadWrites, SlowestNetwork, read_faults, weather, write_faults
from mediagit_storage.testing.conformance import BatchContract, ConditionContract
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.fault_proxy import Fault, FaultProxy, Storm, is_method
from mediagit_storage.testing.sources import content
from mediagit_storage.testing.toxics import (
    CutAnswer,
    Fail,
    FailAfterwards,
    Latency,
    OneByteAtATime,
    ResetBefore,
    ResetWhileSending,
    SlowClose,
    SwallowAnswer,
    wrong_length,
)

from .conftest import new_name, open_bucket

KIB = 1024
WHOLE = {"part_size": 256 * KIB, "multipart_threshold": 100 * KIB}
SESSIONS = {**WHOLE, "in_chunks": True}
pytestmark = pytest.mark.uses_server("fake-gcs-server")


@pytest.fixture
def through(servers, open_gcs):
    """Opens a new bucket through a proxy with these faults; the third is the bucket without a proxy."""
    server = servers("fake-gcs-server")

    def enter(*faults, always=(), storm=None, **options):
        bucket = new_name(server)
        proxy = FaultProxy(server.host, faults, always=always, storm=storm)
        spoilt = Storage(open_gcs(server, bucket, **{"emulator_host": proxy.url, **options}))
        return proxy, spoilt, Storage(open_gcs(server, bucket))

    return enter


class TestOneByteAtATime(BatchContract, ConditionContract, SlowestNetwork):
    server_name = "fake-gcs-server"
    deviations = {
        "test_a_delete_on_condition": "gcs-ignores-delete-conditions",
        "test_a_create_only_copy": "gcs-ignores-copy-conditions",
        "test_of_many_create_only_renames_one_wins": "gcs-ignores-copy-conditions",
    }

    def open_backend(self):
        self.bucket = new_name(self.server)
        return self.reopen(None)

    def reopen(self, backend):
        return open_bucket(self.server, self.bucket, emulator_host=self.proxy.url, part_size=4096 * KIB)

    def missing_bucket(self):
        return open_bucket(self.server, f"missing-{secrets.token_hex(8)}", emulator_host=self.proxy.url)


# ---- one fault, one promise


WRITE_FAULTS = write_faults(Fail(500), Fail(503, "", "0"), Fail(429), FailAfterwards(500), FailAfterwards(503))


class TestReads(BadReads):
    read_faults = read_faults(Fail(500), Fail(503), Fail(503, "", "0"), Fail(429, "", "0"))
    lastings = (
        (Fail(429, "", "0"), ThrottledError),
        (Fail(500), UnavailableError),
        (ResetBefore(), UnavailableError),
        (SwallowAnswer(), UnavailableError),
    )

    def reads(self, request):
        return request.method == "GET" and "alt=media" in request.target

    def pinned(self, request):
        return "generation=" in request.target


class TestWrites(BadWrites):
    write_faults = WRITE_FAULTS

    def writes(self, request):
        return request.method == "POST" and "uploadType=multipart" in request.target


# ---- uploads in sessions

CHUNK_FAULTS = [*WRITE_FAULTS, ResetWhileSending(100 * KIB)]


def chunk(number):
    """Whether a request carries that chunk, or for -1 the last one of 700 KiB."""
    start = {1: 0, 2: 256 * KIB, -1: 512 * KIB}[number]
    return lambda request: (request.value("content-range") or "").startswith(f"bytes {start}-")


@pytest.mark.parametrize("toxic", CHUNK_FAULTS, ids=repr)
@pytest.mark.parametrize("number", [1, 2, -1])
def test_a_chunk_that_broke_off_is_sent_again(through, tmp_path, toxic, number):
    """From a file, which can be begun anew where the server is left in doubt; and no session is left open."""
    proxy, spoilt, plain = through(Fault(toxic, matches=chunk(number)), **SESSIONS)
    data = content(700 * KIB)
    (tmp_path / "file").write_bytes(data)
    plain.put("k", b"old")
    with proxy:
        spoilt.upload(tmp_path / "file", "k")
    assert plain.get("k") == data
    assert [each.key for each in plain.list()] == ["k"]


@pytest.mark.parametrize("toxic", [ResetWhileSending(100 * KIB), SwallowAnswer(), Fail(503)], ids=repr)
@pytest.mark.parametrize("number", [1, -1])
def test_one_request_that_broke_off_is_sent_again(through, tmp_path, toxic, number):
    proxy, spoilt, plain = through(Fault(toxic, matches=chunk(number)), **WHOLE)
    data = content(700 * KIB)
    (tmp_path / "file").write_bytes(data)
    with proxy:
        spoilt.upload(tmp_path / "file", "k")
    assert plain.get("k") == data
    assert [each.key for each in plain.list()] == ["k"]


@pytest.mark.parametrize("toxic", [ResetBefore(), ResetWhileSending(1000), Fail(503)], ids=repr)
@pytest.mark.parametrize("number", [1, 2, -1])
def test_a_chunk_of_a_stream_is_sent_again(through, toxic, number):
    """What can be read only once is held until the server has it."""
    proxy, spoilt, plain = through(Fault(toxic, matches=chunk(number)), **SESSIONS)
    data = content(700 * KIB)
    with proxy:
        spoilt.put("k", iter([data[:300_000], data[300_000:]]))
    assert plain.get("k") == data


@pytest.mark.parametrize("toxic", WRITE_FAULTS, ids=repr)
def test_beginning_a_session_is_repeated(through, toxic):
    proxy, spoilt, plain = through(Fault(toxic, matches=is_method("POST", having="uploadType=resumable")), **SESSIONS)
    data = content(700 * KIB)
    with proxy:
        spoilt.put("k", data)
    assert plain.get("k") == data


@pytest.mark.parametrize("toxic", [SwallowAnswer(), FailAfterwards(500)], ids=repr)
def test_an_answer_to_the_last_chunk_that_got_lost(through, toxic):
    """The session is gone then, and the object is known by its token."""
    proxy, spoilt, plain = through(Fault(toxic, matches=chunk(-1)), **SESSIONS)
    data = content(700 * KIB)
    with proxy:
        info = spoilt.put("k", iter([data]))
    assert plain.get("k") == data
    assert info.etag == plain.stat("k").etag
    assert plain.stat("k").attributes.metadata == {}


def test_a_stream_that_cannot_be_told_apart_is_an_error_and_no_object(through):
    """An answer to a chunk got lost, an emulator has stored it twice, and the stream cannot be read again."""
    proxy, spoilt, plain = through(Fault(SwallowAnswer(), matches=chunk(2)), **SESSIONS)
    plain.put("k", b"old")
    with proxy, pytest.raises(ConnectionLostError):
        spoilt.put("k", iter([content(700 * KIB)]))
    assert plain.get("k") == b"old"


def test_a_failed_upload_leaves_the_old_object_and_cancels_its_session(through):
    proxy, spoilt, plain = through(Fault(Fail(500), times=100, matches=chunk(-1)), **SESSIONS)
    plain.put("k", b"old")
    with proxy:
        with pytest.raises(UnavailableError):
            spoilt.put("k", content(700 * KIB))
        assert [request.method for request in proxy.requests][-1] == "DELETE"
    assert plain.get("k") == b"old"
    assert [each.key for each in plain.list()] == ["k"]


def test_a_source_that_fails_cancels_its_session(through):
    proxy, spoilt, plain = through(**SESSIONS)

    def source():
        yield content(300 * KIB)
        raise KeyError("of the user's own")

    with proxy:
        with pytest.raises(KeyError):
            spoilt.put("k", source())
        # The first chunk may have been on its way.
        methods = [request.method for request in proxy.requests]
        assert (methods[0], methods[-1]) == ("POST", "DELETE")
    assert [*plain.list()] == []


# ---- deletes and listings


def test_a_bulk_delete_whose_answer_was_lost(through):
    proxy, spoilt, plain = through(Fault(SwallowAnswer(), matches=is_method("POST", having="/batch/")))
    plain.put_many((f"k{number}", b"") for number in range(20)).run()
    with proxy:
        assert all(outcome.error is None for outcome in spoilt.delete_many([f"k{number}" for number in range(20)]))
    assert [*plain.list()] == []


def test_a_bulk_delete_that_was_cut_off_is_an_error_of_each(through):
    """How many were deleted is not known, so nobody is told that all were."""
    spoil = Fault(wrong_body(lambda body: body[: len(body) // 2]), matches=is_method("POST", having="/batch/"), times=9)
    proxy, spoilt, plain = through(spoil)
    plain.put_many((f"k{number}", b"") for number in range(5)).run()
    with proxy:
        outcomes = [*spoilt.delete_many([f"k{number}" for number in range(5)])]
    assert {type(outcome.error) for outcome in outcomes} == {IntegrityError}


def wrong_body(change):
    """A toxic that changes the body of an answer, its length included."""
    from mediagit_storage.testing.toxics import Rewrite

    def alter(head, body):
        changed = change(body)
        old, new = str(len(body)).encode(), str(len(changed)).encode()
        return head.replace(b"Content-Length: " + old, b"Content-Length: " + new), changed

    return Rewrite("wrong_body", alter)


@covers(60)
def test_a_listing_goes_on_after_a_page_that_got_lost(through):
    listing = is_method("GET", having="maxResults=1000")
    proxy, spoilt, plain = through(Fault(Fail(503), matches=listing), Fault(CutAnswer(100), matches=listing))
    names = [f"k{number:04}" for number in range(1100)]
    plain.put_many((name, b"") for name in names).run()
    with proxy:
        assert [info.key for info in spoilt.list()] == names


def test_half_a_page_is_an_error(through):
    proxy, spoilt, plain = through(Fault(wrong_body(lambda body: body[:-20]), matches=is_method("GET"), times=9))
    plain.put("k", b"")
    with proxy, pytest.raises(IntegrityError):
        [*spoilt.list()]


# ---- when nothing helps


@pytest.mark.parametrize("status", [403, 404, 502])
def test_a_page_of_a_proxy_proves_no_absence(through, status):
    """Neither 404 nor 403 is "not there" where the service did not say it."""
    proxy, spoilt, plain = through(Fault(Fail(status), times=100))
    plain.put("k", b"x")
    with proxy:
        for look in (spoilt.get, spoilt.stat, spoilt.exists):
            with pytest.raises(StorageError) as caught:
                look("k")
            assert not isinstance(caught.value, FileNotFoundError)


# ---- a storm


STORM = [
    ResetBefore(), ResetWhileSending(500), SwallowAnswer(), SwallowAnswer(reset=False), CutAnswer(10), CutAnswer(700, reset=True),
    Fail(500), Fail(503, "", "0"), Fail(429), FailAfterwards(500), FailAfterwards(503), SlowClose(0.0),
    Latency(0.02), OneByteAtATime(300), wrong_length(20),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_a_storm_of_faults_loses_and_tears_nothing(through, seed):
    """Four writers, readers and deleters in one bucket, a third of all requests spoilt."""
    storm = Storm(STORM, seed=seed, rate=0.3, in_a_row=3)
    proxy, spoilt, plain = through(storm=storm, attempts=8, **SESSIONS)
    # In one request: sessions of the emulator know no conditions.
    weather(proxy, spoilt, plain, lambda number, turn: content(70 * KIB * turn, seed=number), creates=2)
