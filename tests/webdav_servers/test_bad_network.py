"""WebDAV through a proxy that spoils chosen requests: nothing is lost or torn, and what is left behind can be found."""

from __future__ import annotations

import pytest

from mediagit_storage.errors import (
    AlreadyExistsError,
    CapacityError,
    IntegrityError,
    StorageError,
    ThrottledError,
    UnavailableError,
)
from mediagit_storage.storage import Storage
from mediagit_storage.testing.bad_network import BadReads, SlowestNetwork, read_faults, weather, write_faults
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
    truncated_xml,
)

MIB = 1024 * 1024
#: One that shows nothing before it has everything, one that needs a MOVE, one whose MOVE is dangerous to repeat.
WRITTEN = pytest.mark.parametrize("server", ["apache", "wsgidav", "rclone-webdav"], indirect=True)


@pytest.fixture
def through(server, folder, open_dav):
    """Opens the folder through a proxy with these faults; the third is the folder without a proxy."""

    def enter(*faults, storm=None, **options):
        proxy = FaultProxy(server.host, faults, storm=storm)
        url = f"{server.url.replace(server.host, proxy.host)}/{folder}"
        spoilt = Storage(open_dav(server, folder, url=url, **options))
        return proxy, spoilt, Storage(open_dav(server, folder))

    return enter


class TestOneByteAtATime(SlowestNetwork):
    server_name = "apache"
    slow_bytes = 400
    many = 60

    def open_backend(self):
        self.folder_name = self.make_folder(self.server)
        return self.reopen(None)

    def reopen(self, backend):
        url = self.server.url.replace(self.server.host, self.proxy.host)
        return self.open_folder(self.server, self.folder_name, url=f"{url}/{self.folder_name}")

    def missing_bucket(self):
        url = self.server.url.replace(self.server.host, self.proxy.host)
        return self.open_folder(self.server, "none", url=f"{url}/t-missing")


# ---- one fault, one promise


class TestReads(BadReads):
    read_faults = read_faults(Fail(500), Fail(503), Fail(429, "Slow", "0"))
    lastings = ((Fail(503, "Slow", "0"), UnavailableError),)

    def pinned(self, request):
        """No condition holds on every server: the answers are judged."""
        return request.value("range") is not None


def test_a_resume_never_splices(through):
    """The object is another one when the stream goes on: an error, never bytes of both."""
    proxy, spoilt, plain = through(Fault(CutAnswer(100_000), matches=is_method("GET", having="/k")))
    plain.put("k", content(3_000_000, seed=1))
    with proxy, spoilt.stream("k") as stream:
        pieces = iter(stream)
        received = bytearray(next(pieces))
        plain.put("k", content(3_000_001, seed=2))
        with pytest.raises(StorageError):
            received.extend(byte for piece in pieces for byte in piece)
        assert content(3_000_000, seed=1).startswith(received)


@covers(60)
@pytest.mark.parametrize(
    "toxic",
    [truncated_xml(), CutAnswer(200), CutAnswer(200, reset=True), SwallowAnswer(), Fail(500), ResetBefore()],
    ids=repr,
)
def test_a_listing_is_complete_or_an_error(through, toxic):
    proxy, spoilt, plain = through(Fault(toxic, nth=2, matches=is_method("PROPFIND")))
    keys = sorted(f"{number % 3}/{number:03}" for number in range(30))
    plain.put_many((key, b"") for key in keys).run()
    with proxy:
        assert [info.key for info in spoilt.list()] == keys
        assert [entry.prefix for entry in spoilt.list_dir()] == ["0/", "1/", "2/"]


def test_a_listing_that_stays_broken_is_an_error(through):
    proxy, spoilt, plain = through(Fault(truncated_xml(), matches=is_method("PROPFIND"), times=100))
    plain.put("k", b"")
    with proxy:
        with pytest.raises(IntegrityError):
            [*spoilt.list()]
        with pytest.raises(IntegrityError):
            spoilt.stat("k")


WRITE_FAULTS = write_faults(Fail(500), Fail(503, "Slow", "0"), Fail(429), FailAfterwards(500), FailAfterwards(503))


@WRITTEN
@pytest.mark.parametrize("toxic", WRITE_FAULTS, ids=repr)
def test_an_upload_is_repeated(through, toxic):
    proxy, spoilt, plain = through(Fault(toxic, matches=is_method("PUT")))
    data = content(300_000)
    with proxy:
        assert spoilt.put("d/k", data).size == len(data)
    assert plain.get("d/k") == data
    assert [info.key for info in plain.list()] == ["d/k"]
    assert [*plain.pending_uploads()] == []


@pytest.mark.parametrize("server", ["wsgidav", "rclone-webdav"], indirect=True)
@pytest.mark.parametrize("toxic", WRITE_FAULTS, ids=repr)
@pytest.mark.parametrize("over", [False, True], ids=["new", "over"])
def test_a_move_whose_answer_is_lost_is_not_done_twice(through, toxic, over):
    """Done twice, it would delete on some servers what the first one brought."""
    nth = 2 if over else 1
    proxy, spoilt, plain = through(Fault(toxic, nth=nth, matches=is_method("MOVE")))
    if over:
        plain.put("d/k", b"old")
    data = content(100_000)
    with proxy:
        spoilt.put("d/k", data)
    assert plain.get("d/k") == data
    assert [info.key for info in plain.list()] == ["d/k"]
    assert [*plain.pending_uploads()] == []


@pytest.mark.parametrize("server", ["nginx", "rclone-webdav"], indirect=True)
@pytest.mark.parametrize("toxic", WRITE_FAULTS, ids=repr)
def test_our_own_create_is_not_a_conflict(through, toxic):
    """The answer to the MOVE got lost: the upload is gone from where it was, so it was ours that created the object."""
    proxy, spoilt, plain = through(Fault(toxic, matches=is_method("MOVE")))
    with proxy:
        assert spoilt.put("k", b"ours", if_absent=True).size == 4
        with pytest.raises(AlreadyExistsError):
            spoilt.put("k", b"later", if_absent=True)
    assert plain.get("k") == b"ours"
    assert [*plain.pending_uploads()] == []


@pytest.mark.parametrize("server", ["nginx", "rclone-webdav"], indirect=True)
@pytest.mark.parametrize("toxic", [SwallowAnswer(), FailAfterwards(503), ResetBefore()], ids=repr)
def test_anothers_create_is_a_conflict_however_bad_the_network(through, toxic):
    proxy, spoilt, plain = through(Fault(toxic, matches=is_method("MOVE")))
    plain.put("k", b"theirs")
    with proxy, pytest.raises(AlreadyExistsError):
        spoilt.put("k", b"ours", if_absent=True)
    assert plain.get("k") == b"theirs"
    assert [*plain.pending_uploads()] == []


@pytest.mark.parametrize("toxic", [SwallowAnswer(), FailAfterwards(500), ResetBefore(), Fail(503)], ids=repr)
@pytest.mark.parametrize("method", ["MKCOL", "COPY", "DELETE"])
def test_other_requests_are_repeated(through, toxic, method):
    proxy, spoilt, plain = through(Fault(toxic, matches=is_method(method)))
    plain.put("k", b"x")
    with proxy:
        spoilt.put("a/b/c", b"y")
        spoilt.copy("k", "l")
        spoilt.delete("k")
    assert [info.key for info in plain.list()] == ["a/b/c", "l"]
    assert plain.get("l") == b"x"


def test_a_stream_that_can_be_read_once_is_an_error_and_leaves_nothing(through):
    proxy, spoilt, plain = through(Fault(ResetWhileSending(1_500_000), matches=is_method("PUT")))
    plain.put("k", b"old")
    with proxy, pytest.raises(UnavailableError):
        spoilt.put("k", iter([content(MIB), content(MIB)]))
    assert plain.get("k") == b"old"
    assert [info.key for info in plain.list()] == ["k"]


# ---- when nothing helps


@pytest.mark.parametrize(
    ("toxic", "kind"),
    [
        (Fail(429), ThrottledError),
        (Fail(500), UnavailableError),
        (Fail(507), CapacityError),
        (Fail(423), UnavailableError),
        (ResetBefore(), UnavailableError),
        (SwallowAnswer(), UnavailableError),
    ],
    ids=repr,
)
def test_a_fault_that_stays_is_its_own_error(through, toxic, kind):
    proxy, spoilt, plain = through(Fault(toxic, times=10_000))
    plain.put("k", b"x")
    with proxy:
        for attempt in (
            lambda: spoilt.get("k"),
            lambda: spoilt.exists("k"),
            lambda: spoilt.put("k", b"y"),
            lambda: [*spoilt.list()],
        ):
            with pytest.raises(kind):
                attempt()
    # A put whose answers are all lost may have worked.
    assert plain.get("k") in ({b"x", b"y"} if isinstance(toxic, SwallowAnswer) else {b"x"})


@WRITTEN
def test_a_full_disk_leaves_the_old_object_and_nothing_else(through):
    proxy, spoilt, plain = through(Fault(Fail(507), times=100, matches=is_method("PUT")))
    plain.put("k", b"old")
    with proxy, pytest.raises(CapacityError):
        spoilt.put("k", content(100_000))
    assert plain.get("k") == b"old"
    assert [*plain.pending_uploads()] == []


# ---- a storm


STORM = [
    ResetBefore(), ResetWhileSending(500), SwallowAnswer(), SwallowAnswer(reset=False), CutAnswer(10), CutAnswer(700, reset=True),
    Fail(500), Fail(503, "Slow", "0"), Fail(429), FailAfterwards(500), FailAfterwards(503), SlowClose(0.0), Latency(0.02),
    OneByteAtATime(300),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
def test_a_storm_of_faults_loses_and_tears_nothing(through, server, seed):
    """Four writers, readers and deleters in one folder, a third of all requests spoilt."""
    storm = Storm(STORM, seed=seed, rate=0.3, in_a_row=3)
    proxy, spoilt, plain = through(storm=storm, attempts=8)
    weather(
        proxy,
        spoilt,
        plain,
        lambda number, turn: content(2 * MIB if turn == 5 else 1000 * turn + 1, seed=number),
        turns=10,
        keys=4,
    )
    # Nothing is left that is not found, and what is found can be removed.
    for upload in [*plain.pending_uploads()]:
        plain.abort_upload(upload)
    assert [*plain.pending_uploads()] == []
