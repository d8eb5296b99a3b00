"""What every storage over HTTP promises behind a network that spoils chosen requests: for the tests of one on a server.

A test file has a fixture ``through(*faults, **options)``: a `FaultProxy` with these faults, to be entered by the test, a
new storage opened through it, and the same storage without a proxy. Its classes derive from those here::

    class TestReads(BadReads):
        read_faults = read_faults(Fail(500, "InternalError"), Fail(503, "SlowDown", "0"))
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

import pytest

from mediagit_storage.errors import (
    AlreadyExistsError,
    IntegrityError,
    StorageError,
    StorageTimeoutError,
    UnavailableError,
)
from mediagit_storage.storage import Storage
from mediagit_storage.testing.conformance import (
    CopyContract,
    DeleteContract,
    ErrorContract,
    ListingContract,
    ObjectContract,
    RangeContract,
    SourceContract,
    StreamingContract,
)
from mediagit_storage.testing.emulators.kinds import Running
from mediagit_storage.testing.fault_proxy import Fault, FaultProxy, RequestHead, is_method
from mediagit_storage.testing.sources import content
from mediagit_storage.testing.toxics import (
    CutAnswer,
    FailAfterwards,
    Hang,
    Latency,
    OneByteAtATime,
    ResetBefore,
    ResetWhileSending,
    SlowClose,
    SwallowAnswer,
    Toxic,
    wrong_length,
    wrong_range,
)

__all__ = ["BadReads", "BadWrites", "SlowestNetwork", "Through", "read_faults", "weather", "write_faults"]


class Through(Protocol):
    """Opens a new storage through a proxy with faults; the third is the storage without a proxy."""

    def __call__(self, *faults: Fault, **options: object) -> tuple[FaultProxy, Storage, Storage]:
        """``options`` are those of the storage."""
        ...


def read_faults(*refusals: Toxic) -> list[Toxic]:
    """What a read goes through; ``refusals`` are answers of the service that ask to come again."""
    return [
        ResetBefore(), CutAnswer(0), CutAnswer(1000), CutAnswer(1000, reset=True), SwallowAnswer(),
        SwallowAnswer(reset=False), *refusals, wrong_length(50), SlowClose(0.0), Latency(0.05),
    ]  # fmt: skip


def write_faults(*refusals: Toxic) -> list[Toxic]:
    """What a write goes through; ``refusals`` are answers that ask to come again, also after the deed."""
    return [
        ResetBefore(), ResetWhileSending(0), ResetWhileSending(1000), SwallowAnswer(), SwallowAnswer(reset=False),
        *refusals, SlowClose(0.0),
    ]  # fmt: skip


class _Faulty:
    """Tests whose arguments ``read_fault``, ``write_fault``, ``lost_answer`` and ``lasting`` come from the class."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for each of the faults that the class names."""
        for name in ("read_fault", "write_fault", "lost_answer", "lasting"):
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, getattr(self, f"{name}s"), ids=repr)


class BadReads(_Faulty):
    """Reads of a storage: whole and right, or an error."""

    read_faults: ClassVar[Sequence[Toxic]]
    #: Faults that stay, and what they are.
    lastings: ClassVar[Sequence[tuple[Toxic, type[StorageError]]]]
    #: The field that asks for a part.
    range_field: ClassVar[str] = "range"

    def reads(self, request: RequestHead) -> bool:
        """Whether a request gets the bytes of the object ``k``."""
        return request.method == "GET" and "/k" in request.target

    def pinned(self, request: RequestHead) -> bool:
        """Whether a request asks for one version of the object and no other."""
        return request.value("if-match") is not None

    def test_a_read_comes_whole_all_the_same(self, through: Through, read_fault: Toxic) -> None:
        """In memory, in part and in pieces."""
        proxy, spoilt, plain = through(Fault(read_fault, matches=self.reads))
        data = content(300_000)
        plain.put("k", data)
        with proxy:
            assert spoilt.get("k") == data
            assert spoilt.get("k", offset=1000, length=5000) == data[1000:6000]
            assert spoilt.get("k", suffix=777) == data[-777:]
            assert b"".join(spoilt.stream("k")) == data

    @pytest.mark.parametrize("cut", [CutAnswer(100_000), CutAnswer(100_000, reset=True)], ids=repr)
    def test_a_stream_that_breaks_off_goes_on_where_it_was(self, through: Through, cut: Toxic) -> None:
        """Twice, each time by range and for the same version only."""
        proxy, spoilt, plain = through(Fault(cut, matches=self.reads, times=2))
        data = content(3_000_000)
        plain.put("k", data)
        with proxy:
            assert b"".join(spoilt.stream("k")) == data
            ranges = [request.value(self.range_field) for request in proxy.requests if self.reads(request)]
            assert ranges[0] is None
            assert None not in ranges[1:]
            assert all(self.pinned(request) for request in proxy.requests[-2:])

    def test_a_range_other_than_asked_for_is_never_given_out(self, through: Through) -> None:
        """Not even when the server says that it is the one asked for."""
        proxy, spoilt, plain = through(Fault(wrong_range(7), matches=is_method("GET"), times=100))
        plain.put("k", content(1000))
        with proxy, pytest.raises(IntegrityError):
            spoilt.get("k", offset=100, length=50)

    def test_a_fault_that_stays_is_its_own_error_after_three_attempts(
        self, through: Through, lasting: tuple[Toxic, type[StorageError]]
    ) -> None:
        """What never passes is told as what it is."""
        toxic, kind = lasting
        proxy, spoilt, plain = through(Fault(toxic, times=100))
        plain.put("k", b"x")
        with proxy:
            with pytest.raises(kind):
                spoilt.get("k")
            assert len(proxy.requests) == 3
            # The answer to a HEAD has no body that could tell more.
            with pytest.raises(UnavailableError):
                spoilt.exists("k")
        assert plain.get("k") == b"x"

    def test_a_server_that_never_answers_is_a_time_out(self, through: Through) -> None:
        """After the idle time."""
        proxy, spoilt, _ = through(Fault(Hang(), times=100), idle_timeout=0.3, attempts=1)
        with proxy, pytest.raises(StorageTimeoutError):
            spoilt.get("k")


class BadWrites(_Faulty):
    """Writes of small objects: repeated, and never taken for somebody else's."""

    write_faults: ClassVar[Sequence[Toxic]]
    #: The answer got lost, in the network or in the service, or never came to be.
    lost_answers: ClassVar[Sequence[Toxic]] = (SwallowAnswer(), FailAfterwards(503), ResetBefore())

    def writes(self, request: RequestHead) -> bool:
        """Whether a request stores the object ``k``."""
        return request.method == "PUT" and "/k" in request.target

    def test_a_write_is_repeated(self, through: Through, write_fault: Toxic) -> None:
        """The object is there, and whole."""
        proxy, spoilt, plain = through(Fault(write_fault, matches=self.writes))
        data = content(300_000)
        with proxy:
            spoilt.put("k", data)
        assert plain.get("k") == data

    def test_our_own_create_is_not_a_conflict(self, through: Through, write_fault: Toxic) -> None:
        """A lost answer to a create-only write is resolved: the object there is ours."""
        proxy, spoilt, plain = through(Fault(write_fault, matches=self.writes))
        with proxy:
            assert spoilt.put("k", b"ours", if_absent=True).size == 4
            with pytest.raises(AlreadyExistsError):
                spoilt.put("k", b"later", if_absent=True)
        assert plain.get("k") == b"ours"
        attributes = plain.stat("k").attributes
        assert attributes is not None
        assert attributes.metadata == {}

    def test_anothers_create_is_a_conflict_however_bad_the_network(self, through: Through, lost_answer: Toxic) -> None:
        """The object there is theirs, whatever became of the answer."""
        proxy, spoilt, plain = through(Fault(lost_answer, matches=self.writes))
        plain.put("k", b"theirs")
        with proxy, pytest.raises(AlreadyExistsError):
            spoilt.put("k", b"ours", if_absent=True)
        assert plain.get("k") == b"theirs"


class SlowestNetwork(
    ErrorContract,
    ObjectContract,
    SourceContract,
    DeleteContract,
    RangeContract,
    ListingContract,
    CopyContract,
    StreamingContract,
):
    """The suite with every head, and the first bytes of every body, arriving one by one; ``self.proxy`` is the way.

    A test file opens its storage at ``self.proxy``, and adds the contracts that are worth their time there.
    """

    rounds = 1
    many = 120
    large = 1_500_000
    chunk_sizes = (1, 64 * 1024)
    #: The real server, which the class names by ``server_name``.
    server: Running
    #: How many bytes come one by one.
    slow_bytes: ClassVar[int] = 600

    @pytest.fixture(autouse=True)
    def conformance_case(self, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[None]:
        """A test of the suite, behind a proxy of its own."""
        slow = OneByteAtATime(self.slow_bytes)
        with FaultProxy(self.server.host, always=[slow]) as self.proxy, self.running(tmp_path):
            yield


def weather(
    proxy: FaultProxy,
    spoilt: Storage,
    plain: Storage,
    data: Callable[[int, int], bytes],
    *,
    turns: int = 12,
    keys: int = 5,
    creates: int = 0,
) -> None:
    """Four writers, readers and deleters in one storage behind a storm lose and tear nothing.

    ``data`` makes the bytes of a writer's turn; the first ``creates`` turns are create-only writes.
    """
    expected: dict[str, bytes] = {}
    wrong: list[str] = []

    def work(number: int) -> None:
        for turn in range(turns):
            key = f"{number}/{turn % keys}"
            try:
                if turn % keys == keys - 1:
                    spoilt.delete(key)
                    expected.pop(key, None)
                    continue
                body = data(number, turn)
                spoilt.put(key, body, if_absent=turn < creates)
                expected[key] = body
                if spoilt.get(key) != body:
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
        assert {info.key: info.size for info in spoilt.list()} == {key: len(body) for key, body in expected.items()}
    assert {info.key: plain.get(info.key) for info in plain.list()} == expected
