"""Google Cloud Storage through a proxy that spoils chosen requests: nothing is lost, torn or left behind."""

from __future__ import annotations

import secrets
import threading

import pytest

from mediagit_storage.errors import (
    AlreadyExistsError,
    ConnectionLostError,
    IntegrityError,
    StorageError,
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
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.fault_proxy import Fault, FaultProxy, Storm, is_method
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
    wrong_length,
    wrong_range,
)

from .conftest import new_name, open_bucket

KIB = 1024
SESSIONS = {"part_size": 256 * KIB, "multipart_threshold": 100 * KIB}
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

    server_name = "fake-gcs-server"
    deviations = {
        "test_a_delete_on_condition": "gcs-ignores-delete-conditions",
        "test_a_create_only_copy": "gcs-ignores-copy-conditions",
        "test_of_many_create_only_renames_one_wins": "gcs-ignores-copy-conditions",
    }
    rounds = 1
    many = 120
    large = 1_500_000
    chunk_sizes = (1, 64 * KIB)

    def open_backend(self):
        self.bucket = new_name(self.server)
        return self.reopen(None)

    def reopen(self, backend):
        return open_bucket(self.server, self.bucket, emulator_host=self.proxy.url, part_size=4096 * KIB)

    def missing_bucket(self):
        return open_bucket(self.server, f"missing-{secrets.token_hex(8)}", emulator_host=self.proxy.url)

    @pytest.fixture(autouse=True)
    def conformance_case(self, tmp_path, request):
        with FaultProxy(self.server.host, always=[OneByteAtATime(600)]) as self.proxy, self.running(tmp_path):
            yield


# ---- one fault, one promise


READ_FAULTS = [
    ResetBefore(), CutAnswer(0), CutAnswer(1000), CutAnswer(1000, reset=True), SwallowAnswer(), SwallowAnswer(reset=False),
    Fail(500), Fail(503), Fail(503, "", "0"), Fail(429, "", "0"), wrong_length(50), SlowClose(0.0), Latency(0.05),
]  # fmt: skip


@pytest.mark.parametrize("toxic", READ_FAULTS, ids=repr)
def test_a_read_comes_whole_all_the_same(through, toxic):
    proxy, spoilt, plain = through(Fault(toxic, matches=is_method("GET", having="alt=media")))
    data = content(300_000)
    plain.put("k", data)
    with proxy:
        assert spoilt.get("k") == data
        assert spoilt.get("k", offset=1000, length=5000) == data[1000:6000]
        assert b"".join(spoilt.stream("k")) == data


@pytest.mark.parametrize("toxic", [CutAnswer(100_000), CutAnswer(100_000, reset=True)], ids=repr)
def test_a_stream_that_breaks_off_goes_on_where_it_was(through, toxic):
    proxy, spoilt, plain = through(Fault(toxic, matches=is_method("GET", having="alt=media"), times=2))
    data = content(3_000_000)
    plain.put("k", data)
    with proxy:
        assert b"".join(spoilt.stream("k")) == data
        ranges = [request.value("range") for request in proxy.requests if "alt=media" in request.target]
        assert ranges[0] is None
        assert None not in ranges[1:]
        assert all("generation=" in request.target for request in proxy.requests[-2:])


def test_a_range_other_than_asked_for_is_never_given_out(through):
    proxy, spoilt, plain = through(Fault(wrong_range(7), matches=is_method("GET"), times=100))
    plain.put("k", content(1000))
    with proxy, pytest.raises(IntegrityError):
        spoilt.get("k", offset=100, length=50)


WRITE_FAULTS = [
    ResetBefore(), ResetWhileSending(0), ResetWhileSending(1000), SwallowAnswer(), SwallowAnswer(reset=False),
    Fail(500), Fail(503, "", "0"), Fail(429), FailAfterwards(500), FailAfterwards(503), SlowClose(0.0),
]  # fmt: skip
UPLOADS = is_method("POST", having="uploadType=multipart")


@pytest.mark.parametrize("toxic", WRITE_FAULTS, ids=repr)
def test_a_write_is_repeated(through, toxic):
    proxy, spoilt, plain = through(Fault(toxic, matches=UPLOADS))
    data = content(300_000)
    with proxy:
        spoilt.put("k", data)
    assert plain.get("k") == data


@pytest.mark.parametrize("toxic", WRITE_FAULTS, ids=repr)
def test_our_own_create_is_not_a_conflict(through, toxic):
    """A lost answer to a create-only write is resolved: the object there is ours."""
    proxy, spoilt, plain = through(Fault(toxic, matches=UPLOADS))
    with proxy:
        assert spoilt.put("k", b"ours", if_absent=True).size == 4
        with pytest.raises(AlreadyExistsError):
            spoilt.put("k", b"later", if_absent=True)
    assert plain.get("k") == b"ours"
    assert plain.stat("k").attributes.metadata == {}


@pytest.mark.parametrize("toxic", [SwallowAnswer(), FailAfterwards(503), ResetBefore()], ids=repr)
def test_anothers_create_is_a_conflict_however_bad_the_network(through, toxic):
    proxy, spoilt, plain = through(Fault(toxic, matches=UPLOADS))
    plain.put("k", b"theirs")
    with proxy, pytest.raises(AlreadyExistsError):
        spoilt.put("k", b"ours", if_absent=True)
    assert plain.get("k") == b"theirs"


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
        assert [request.method for request in proxy.requests] == ["POST", "PUT", "DELETE"]
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


@pytest.mark.parametrize(
    ("toxic", "kind"),
    [
        (Fail(429, "", "0"), ThrottledError),
        (Fail(500), UnavailableError),
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
        with pytest.raises(UnavailableError):
            spoilt.exists("k")
    assert plain.get("k") == b"x"


def test_a_server_that_never_answers_is_a_time_out(through):
    proxy, spoilt, _ = through(Fault(Hang(), times=100), idle_timeout=0.3, attempts=1)
    with proxy, pytest.raises(StorageTimeoutError):
        spoilt.get("k")


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
    expected, wrong = {}, []

    def work(number):
        for turn in range(12):
            key = f"{number}/{turn % 5}"
            data = content(70 * KIB * turn, seed=number)
            try:
                if turn % 5 == 4:
                    spoilt.delete(key)
                    expected.pop(key, None)
                    continue
                # In one request: sessions of the emulator know no conditions.
                spoilt.put(key, data, if_absent=turn < 2)
                expected[key] = data
                if spoilt.get(key) != data:
                    wrong.append(f"{key} is torn")
            except StorageError as error:
                wrong.append(f"{key}: {error!r}")

    with proxy:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert {info.key: info.size for info in spoilt.list()} == {key: len(data) for key, data in expected.items()}
    assert {info.key: plain.get(info.key) for info in plain.list()} == expected
