"""Azurite through a proxy that spoils chosen requests: nothing is lost, torn or left behind, and retries are not seen."""

from __future__ import annotations

import secrets

import pytest

from mediagit_storage.errors import (
    AlreadyExistsError,
    IntegrityError,
    PreconditionError,
    ThrottledError,
    UnavailableError,
)
from mediagit_storage.storage import Storage
from mediagit_storage.testing.bad_network import BadReads, BadWrites, SlowestNetwork, read_faults, weather, write_faults
from mediagit_storage.testing.conformance import BatchContract, ConditionContract
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
    truncated_xml,
    wrong_length,
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


class TestOneByteAtATime(BatchContract, ConditionContract, SlowestNetwork):
    server_name = "azurite"
    deviations = {"test_characters_that_mean_something_elsewhere": "azure-backslash-is-a-slash"}
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


# ---- one fault, one promise


WRITE_FAULTS = write_faults(
    Fail(500, "InternalError"), Fail(503, "ServerBusy", "0"), FailAfterwards(500), FailAfterwards(503, "ServerBusy")
)


class TestReads(BadReads):
    read_faults = read_faults(
        Fail(500, "InternalError"),
        Fail(500, "OperationTimedOut"),
        Fail(503, "ServerBusy"),
        Fail(503, "ServerBusy", "0"),
    )
    lastings = (
        (Fail(503, "ServerBusy", "0"), ThrottledError),
        (Fail(500, "InternalError"), UnavailableError),
        (ResetBefore(), UnavailableError),
        (SwallowAnswer(), UnavailableError),
    )
    range_field = "x-ms-range"


class TestWrites(BadWrites):
    write_faults = WRITE_FAULTS
    lost_answers = (SwallowAnswer(), FailAfterwards(503, "ServerBusy"), ResetBefore())


@pytest.mark.parametrize("toxic", [SwallowAnswer(), FailAfterwards(503, "ServerBusy"), ResetBefore()], ids=repr)
def test_our_own_replacement_is_not_a_conflict(through, toxic):
    proxy, spoilt, plain = through(Fault(toxic, matches=is_method("PUT", having="/k")))
    etag = plain.put("k", b"old").etag
    with proxy:
        spoilt.put("k", b"new", if_match=etag)
        with pytest.raises(PreconditionError):
            spoilt.put("k", b"newer", if_match=etag)
    assert plain.get("k") == b"new"


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
    weather(
        proxy,
        spoilt,
        plain,
        lambda number, turn: content(2 * MIB + 9 if turn == 6 else 1000 * turn, seed=number),
        creates=4,
    )
    assert [*plain.pending_uploads()] == []
