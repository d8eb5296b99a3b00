"""What replicas are given is what the primary has stored, and nobody waits for them beyond the time there is."""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass

import pytest

from mediagit_storage.backend import BatchLimits, ReadOperation, StatOperation
from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import CancelledError, ConfigError, ConnectionLostError, UnsupportedError
from mediagit_storage.layers.compress import CompressLayer
from mediagit_storage.layers.mirror import MirrorConfig, MirrorLayer, sharing
from mediagit_storage.layers.overlap import overlap
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.pipe import Pipe
from mediagit_storage.scope import scope
from mediagit_storage.storage import Storage
from mediagit_storage.testing.wrappers import CallLog
from mediagit_storage.types import ReadOptions


class Primary(MemoryBackend):
    """Memory that does something when it has stored an object."""

    def __init__(self, afterwards):
        super().__init__("primary")
        self.afterwards = afterwards

    def put(self, key, source, options):
        info = super().put(key, source, options)
        self.afterwards()
        return info


class Differing:
    """Other bytes each time that it is gone through."""

    def __init__(self):
        self.times = 0

    def __iter__(self):
        self.times += 1
        yield b"%d" % self.times * 10


def of(backend, key="k"):
    return Storage(backend, owned=False).get(key)


# ---- sources that are read again


def test_a_source_that_gives_other_bytes_the_second_time_leaves_the_primarys_everywhere():
    replicas = [MemoryBackend("one"), MemoryBackend("two")]
    mirror = MirrorLayer(MemoryBackend("primary"), replicas)
    Storage(mirror).put("k", Differing())
    assert of(mirror) == b"1" * 10
    assert [of(each) for each in replicas] == [b"1" * 10] * 2
    assert [each.behind for each in mirror.status().replicas] == [0, 0]


def test_a_file_in_memory_that_changes_between_two_readings():
    file = io.BytesIO(b"a" * 1000)
    mirror = MirrorLayer(Primary(lambda: file.getbuffer().__setitem__(0, 90)), [replica := MemoryBackend("replica")])
    Storage(mirror).put("k", file)
    assert of(replica) == b"a" * 1000


def test_a_file_that_changes_between_two_readings_of_a_layer_that_changes_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a" * 100_000)

    def edit():
        with path.open("r+b") as file:
            file.write(b"CHANGED")

    mirror = MirrorLayer(Primary(edit), [replica := MemoryBackend("replica")])
    with path.open("rb") as file:
        Storage(CompressLayer(mirror)).put("k", file)
    assert of(replica) == of(mirror)
    assert of(CompressLayer(replica)) == b"a" * 100_000


def test_what_is_the_same_is_sent_once_and_not_copied():
    primary, replica = CallLog(MemoryBackend("primary")), CallLog(MemoryBackend("replica"))
    Storage(MirrorLayer(primary, [replica])).put("k", [b"one", b"two"])
    assert (primary.calls, replica.calls) == (["put", "stat"], ["put"])
    assert of(replica) == b"onetwo"


# ---- the end of a scope


def test_who_waits_for_room_in_a_pipe_is_stopped_by_the_scope():
    pipe = Pipe()
    with scope() as inside:
        pipe.send(bytes(8 * 1024 * 1024))
        inside.cancel()
        with pytest.raises(CancelledError):
            pipe.send(b"more")
    pipe.finish()
    with pytest.raises(CancelledError, match="abandoned"):
        next(iter(pipe))


@pytest.mark.parametrize("taken", [False, True])
def test_a_replica_that_hangs_is_left_behind_when_the_time_is_over(monkeypatch, taken):
    monkeypatch.setattr(sharing, "_PATIENCE", 0.01)
    let_go, ended = threading.Event(), threading.Event()

    class Hanging(MemoryBackend):
        def put(self, key, source, options):
            let_go.wait(60)
            try:
                return super().put(key, source, options)
            finally:
                ended.set()

    def afterwards():
        inside.cancel()
        if not taken:
            raise ConnectionLostError("down")

    replica = Hanging("replica")
    mirror = MirrorLayer(Primary(afterwards), [replica])
    try:
        with scope() as inside, pytest.raises(CancelledError):
            Storage(mirror).put("k", iter([b"1"]))
        assert not ended.is_set()
        assert mirror.status().replicas[0].behind == 1
    finally:
        let_go.set()
    assert ended.wait(60)
    assert not Storage(replica).exists("k")


def test_a_replica_that_hangs_when_it_has_everything_is_waited_for_while_there_is_time(monkeypatch):
    monkeypatch.setattr(sharing, "_PATIENCE", 0.01)
    let_go = threading.Event()

    class Hanging(MemoryBackend):
        def put(self, key, source, options):
            info = super().put(key, source, options)
            inside.cancel()
            let_go.wait(60)
            return info

    mirror = MirrorLayer(MemoryBackend("primary"), [Hanging("replica")])
    try:
        with scope() as inside, pytest.raises(CancelledError):
            Storage(mirror).put("k", iter([b"1"]))
    finally:
        let_go.set()
    assert mirror.status().replicas[0].behind == 1


# ---- batches


@dataclass
class Outage:
    """Lets calls fail while it lasts."""

    lasts: bool = False

    def __call__(self, name):
        if self.lasts:
            raise ConnectionLostError("down")


@pytest.fixture
def outage():
    return Outage()


@pytest.fixture
def mirror(outage):
    found = MirrorLayer(
        CallLog(MemoryBackend("primary"), outage), [MemoryBackend("replica")], MirrorConfig(failover=True)
    )
    Storage(found).put("k", b"abc")
    Storage(found).put("l", b"def")
    return found


def test_a_batch_asks_the_replica_that_an_etag_names(mirror, outage):
    outage.lasts = True
    etag = mirror.stat("k").etag
    outage.lasts = False
    operations = [ReadOperation("l"), ReadOperation("k", ReadOptions(if_match=etag)), StatOperation("l")]
    done = [*mirror.batch(iter(operations), BatchLimits())]
    assert [each.operation for each in done] == operations
    assert [each.error for each in done] == [None] * 3
    assert done[1].value.info.etag == etag


def test_a_batch_leaves_a_primary_alone_that_is_known_to_be_down(mirror, outage):
    outage.lasts = True
    for _ in range(3):
        assert of(mirror) == b"abc"
    mirror.inner.calls.clear()
    done = [*mirror.batch(iter([ReadOperation("k"), None, StatOperation("l"), ReadOperation("k")]), BatchLimits())]
    assert [each.error for each in done] == [None] * 3
    assert mirror.inner.calls == []


def test_a_batch_stops_asking_a_primary_that_goes_down_meanwhile(outage):
    class OneByOne(MemoryBackend):
        asked = 0

        def batch(self, operations, limits):
            for operation in operations:
                self.asked += 1
                answered = next(super().batch(iter([operation]), limits))
                yield answered._replace(value=None, error=ConnectionLostError("down"))

        def read(self, key, options):
            raise ConnectionLostError("down")

    primary = OneByOne("primary")
    mirror = MirrorLayer(primary, [MemoryBackend("replica")], MirrorConfig(failover=True))
    Storage(mirror).put("k", b"abc")
    done = [*mirror.batch((ReadOperation("k") for _ in range(20)), BatchLimits(1))]
    assert [each.value.data for each in done] == [b"abc"] * 20
    assert primary.asked == 3


# ---- one place under two names


def test_folders_are_compared_by_where_they_lead(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to("photos")
    photos, link = LocalBackend(tmp_path / "photos"), LocalBackend(tmp_path / "link")
    for other in (link, PrefixLayer(link, "copy/"), LocalBackend(tmp_path / "link" / "copy"), LocalBackend(tmp_path)):
        assert overlap(photos, other)
        assert overlap(other, photos)
    for other in (LocalBackend(tmp_path / "photos2"), PrefixLayer(LocalBackend(tmp_path), "a/"), MemoryBackend("x")):
        assert not overlap(photos, other)
    assert not overlap(PrefixLayer(link, "a/"), PrefixLayer(photos, "b/"))
    assert overlap(PrefixLayer(PrefixLayer(link, "a/"), "%2F/"), PrefixLayer(photos, "a/%2F/"))
    with pytest.raises(ConfigError, match="holds nothing of another"):
        MirrorLayer(photos, [link])


def test_a_folder_that_is_mounted_twice_is_one(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = LocalBackend(tmp_path / "one"), LocalBackend(tmp_path / "two" / "below")
    assert not overlap(one, two)
    stat = type(tmp_path).stat
    monkeypatch.setattr(type(tmp_path), "stat", lambda self, **how: stat(tmp_path / "one", **how))
    assert overlap(one, two)


def test_what_nobody_else_can_open_is_only_itself():
    class Closed(MemoryBackend):
        def connection_info(self):
            raise UnsupportedError("only here")

    assert overlap(one := Closed("x"), one)
    assert not overlap(one, Closed("x"))
