"""Azurite through a proxy that spoils chosen requests: nothing is lost, torn or left behind, and retries are not seen."""

from __future__ import annotations

import secrets
import threading

import pytest

from mediagit_storage.errors import (
    AlreadyExistsError,
    IntegrityError,
    PreconditionError,
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
    truncated_xml,
    wrong_length,
    wrong_range,
)

MIB = 1024 * 1024
SMALL_BLOCKS = {"part_size": MIB, "multipart_threshold": MIB}
pytestmark = pytest.mark.uses_server("azurite")


def through_url(server, proxy):
    return f"{proxy.url}/{server.access_key}"


@pytest.fixture
def through(servers, fresh_container, open_azure):
    """Opens a new container through a proxy with these faults; the third is the container without a proxy."""
    server = servers("azurite")

    def enter(*faults, always=(), storm=None, **options):
        container = fresh_container(server)
        proxy = FaultProxy(server.host, faults, always=always, storm=storm)
        spoilt = Storage(open_azure(server, container, endpoint=through_url(server, proxy), **options))
        return proxy, spoilt, Storage(open_azure(server, container))

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

    server_name = "azurite"
    deviations = {"test_characters_that_mean_something_elsewhere": "azure-backslash-is-a-slash"}
    rounds = 1
    many = 120
    large = 1_500_000
    chunk_sizes = (1, 64 * 1024)
    storage_class = "Cool"

    def open_backend(self):
        self.container = self.new_container(self.server)
        return self.reopen(None)

    def reopen(self, backend):
        return self.opened(self.container)

    def missing_bucket(self):
        return self.opened(f"missing-{secrets.token_hex(8)}")

    def opened(self, container):
        endpoint = through_url(self.server, self.proxy)
        return self.open_container(
            self.server, container, endpoint=endpoint, buffer_size=8 * MIB, part_size=MIB, multipart_threshold=MIB
        )

    @pytest.fixture(autouse=True)
    def conformance_case(self, tmp_path, request):
        with FaultProxy(self.server.host, always=[OneByteAtATime(600)]) as self.proxy, self.running(tmp_path):
            yield


# ---- one fault, one promise


READ_FAULTS = [
    ResetBefore(), CutAnswer(0), CutAnswer(1000), CutAnswer(1000, reset=True), SwallowAnswer(), SwallowAnswer(reset=False),
    Fail(500, "InternalError"), Fail(500, "OperationTimedOut"), Fail(503, "ServerBusy"), Fail(503, "ServerBusy", "0"),
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
        assert spoilt.get("k", suffix=777) == data[-777:]
        assert b"".join(spoilt.stream("k")) == data


@pytest.mark.parametrize("toxic", [CutAnswer(100_000), CutAnswer(100_000, reset=True)], ids=repr)
def test_a_stream_that_breaks_off_goes_on_where_it_was(through, toxic):
    proxy, spoilt, plain = through(Fault(toxic, matches=is_method("GET", having="/k"), times=2))
    data = content(3_000_000)
    plain.put("k", data)
    with proxy:
        assert b"".join(spoilt.stream("k")) == data
        ranges = [request.value("x-ms-range") for request in proxy.requests if "/k" in request.target]
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
    Fail(500, "InternalError"), Fail(503, "ServerBusy", "0"), FailAfterwards(500), FailAfterwards(503, "ServerBusy"),
    SlowClose(0.0),
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


@pytest.mark.parametrize("toxic", [SwallowAnswer(), FailAfterwards(503, "ServerBusy"), ResetBefore()], ids=repr)
def test_our_own_replacement_is_not_a_conflict(through, toxic):
    proxy, spoilt, plain = through(Fault(toxic, matches=is_method("PUT", having="/k")))
    etag = plain.put("k", b"old").etag
    with proxy:
        spoilt.put("k", b"new", if_match=etag)
        with pytest.raises(PreconditionError):
            spoilt.put("k", b"newer", if_match=etag)
    assert plain.get("k") == b"new"


@pytest.mark.parametrize("toxic", [SwallowAnswer(), FailAfterwards(503, "ServerBusy"), ResetBefore()], ids=repr)
def test_anothers_create_is_a_conflict_however_bad_the_network(through, toxic):
    proxy, spoilt, plain = through(Fault(toxic, matches=is_method("PUT", having="/k")))
    plain.put("k", b"theirs")
    with proxy, pytest.raises(AlreadyExistsError):
        spoilt.put("k", b"ours", if_absent=True)
    assert plain.get("k") == b"theirs"


@pytest.mark.parametrize("toxic", [*WRITE_FAULTS, ResetWhileSending(500_000)], ids=repr)
@pytest.mark.parametrize("having", ["comp=block", "comp=blocklist"], ids=["block", "commit"])
@pytest.mark.parametrize("if_absent", [False, True], ids=["plain", "create"])
def test_an_upload_in_blocks_survives(through, toxic, having, if_absent):
    proxy, spoilt, plain = through(Fault(toxic, matches=is_method("PUT", having=having)), **SMALL_BLOCKS)
    data = content(3 * MIB + 5)
    with proxy:
        assert spoilt.put("k", data, if_absent=if_absent).size == len(data)
    assert plain.get("k") == data
    assert [*plain.pending_uploads()] == []


@pytest.mark.parametrize("toxic", [SwallowAnswer(), FailAfterwards(500), Fail(503, "ServerBusy", "0")], ids=repr)
def test_a_create_only_copy_survives(through, toxic):
    copies = Fault(toxic, matches=lambda request: request.value("x-ms-copy-source") is not None)
    proxy, spoilt, plain = through(copies)
    plain.put("k", b"data")
    with proxy:
        spoilt.copy("k", "l", if_absent=True)
        with pytest.raises(AlreadyExistsError):
            spoilt.copy("k", "l", if_absent=True)
    assert plain.get("l") == b"data"


def test_half_a_listing_is_not_taken_for_one(through):
    proxy, spoilt, plain = through(Fault(truncated_xml(), matches=is_method("GET", having="comp=list")))
    plain.put_many((f"k{number}", b"") for number in range(20)).run()
    with proxy:
        try:
            found = [info.key for info in spoilt.list()]
        except IntegrityError:
            found = [info.key for info in spoilt.list()]
        assert len(found) == 20


@pytest.mark.parametrize("toxic", [SwallowAnswer(), Fail(500), FailAfterwards(503)], ids=repr)
def test_a_bulk_delete_whose_answer_was_lost(through, toxic):
    proxy, spoilt, plain = through(Fault(toxic, matches=is_method("POST", having="comp=batch")))
    plain.put_many((f"k{number}", b"") for number in range(20)).run()
    with proxy:
        assert all(outcome.error is None for outcome in spoilt.delete_many([f"k{number}" for number in range(20)]))
    assert [*plain.list()] == []


def test_a_delete_whose_answer_was_lost_is_no_missing_object(through):
    proxy, spoilt, plain = through(Fault(SwallowAnswer(), matches=is_method("DELETE")))
    plain.put("k", b"x")
    with proxy:
        spoilt.delete("k", missing_ok=False)
        with pytest.raises(FileNotFoundError):
            spoilt.delete("k", missing_ok=False)


# ---- when nothing helps


@pytest.mark.parametrize(
    ("toxic", "kind"),
    [
        (Fail(503, "ServerBusy", "0"), ThrottledError),
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
        with pytest.raises(UnavailableError):
            spoilt.exists("k")
    assert plain.get("k") == b"x"


def test_a_server_that_never_answers_is_a_time_out(through):
    proxy, spoilt, _ = through(Fault(Hang(), times=100), idle_timeout=0.3, attempts=1)
    with proxy, pytest.raises(StorageTimeoutError):
        spoilt.get("k")


def test_a_failed_upload_leaves_the_old_object_and_nothing_else(through):
    blocks = Fault(Fail(500), times=100, matches=is_method("PUT", having="comp=block"))
    proxy, spoilt, plain = through(blocks, **SMALL_BLOCKS)
    plain.put("old", b"old")
    with proxy:
        for key in ("old", "new"):
            with pytest.raises(UnavailableError):
                spoilt.put(key, content(5 * MIB))
    assert plain.get("old") == b"old"
    assert [info.key for info in plain.list()] == ["old"]
    assert [*plain.pending_uploads()] == []


# ---- a storm


STORM = [
    ResetBefore(), ResetWhileSending(500), SwallowAnswer(), SwallowAnswer(reset=False), CutAnswer(10), CutAnswer(700, reset=True),
    Fail(500), Fail(503, "ServerBusy", "0"), FailAfterwards(500), FailAfterwards(503), SlowClose(0.0),
    Latency(0.02), OneByteAtATime(300), wrong_length(20),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_a_storm_of_faults_loses_and_tears_nothing(through, seed):
    """Four writers, readers and deleters in one container, a third of all requests spoilt."""
    storm = Storm(STORM, seed=seed, rate=0.3, in_a_row=3)
    proxy, spoilt, plain = through(storm=storm, attempts=8, **SMALL_BLOCKS)
    expected, wrong = {}, []

    def work(number):
        for turn in range(12):
            key = f"{number}/{turn % 5}"
            data = content(2 * MIB + 9 if turn == 6 else 1000 * turn, seed=number)
            try:
                if turn % 5 == 4:
                    spoilt.delete(key)
                    expected.pop(key, None)
                    continue
                spoilt.put(key, data, if_absent=turn < 4)
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
    assert [*plain.pending_uploads()] == []
