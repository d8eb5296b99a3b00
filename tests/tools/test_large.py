"""One large object between two storages: quick both ways, gone on with after a break, and never spliced."""

from __future__ import annotations

import errno
import os

import pytest

from mediagit_storage import downloading, ledger
from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import AlreadyExistsError, PermissionDeniedError, UnavailableError
from mediagit_storage.events import on_event
from mediagit_storage.fetching import FetchLimits
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.progress import on_progress
from mediagit_storage.source import BytesSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.os_faults import Fault, FaultyOS
from mediagit_storage.testing.remote import Remote
from mediagit_storage.testing.sources import content
from mediagit_storage.tools import copying, large
from mediagit_storage.tools.copying import CopyRules, CopyTask, copy_objects, move_objects
from mediagit_storage.types import Attributes, PutOptions

PART = 1000
SIZE = 10 * PART + 17
ABOUT = Attributes(content_type="video/mp4", metadata={"a": "b"})


@pytest.fixture(autouse=True)
def small_parts(tmp_path, monkeypatch):
    limits = FetchLimits(threshold=2 * PART, part=PART, concurrency=3)
    monkeypatch.setenv("MGS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(downloading, "LIMITS", limits)
    monkeypatch.setattr(large, "LIMITS", limits)
    monkeypatch.setattr(copying, "_SMALL", 100)
    monkeypatch.setattr(copying, "_SMALL_FETCHED", 100)
    monkeypatch.setattr(ledger, "_SAVE_EVERY", 0.0)


@pytest.fixture(params=["threads", "native"])
def remote(request, tmp_path):
    return Remote(MemoryBackend(), tmp_path / "server", part=PART, native=request.param == "native")


@pytest.fixture
def local(tmp_path):
    (tmp_path / "disk").mkdir()
    with Storage(LocalBackend(tmp_path / "disk")) as store:
        yield store


def run(source, target, key="k", *, transfer=copy_objects, rules=None):
    (copied,) = transfer(source, target, [CopyTask(key, f"to/{key}", SIZE)], rules)
    return copied


class Cut:
    """Lets so many pieces through, then breaks every connection."""

    def __init__(self, pieces, error=UnavailableError):
        self.left = pieces
        self.error = error

    def __call__(self, what, count):
        self.left -= 1
        if self.left < 0:
            raise self.error("cut")


def whole(what, count):
    """A wire that holds."""


def test_into_a_folder_it_comes_in_ranges_and_goes_on_where_it_broke_off(remote, local, tmp_path):
    far, events = Storage(remote), []
    far.put("k", content(SIZE), attributes=ABOUT)
    # Three pieces a part, three parts at a time: the tenth piece travels only when one part is whole.
    remote.wire = Cut(9)
    with on_event(events.append):
        assert isinstance(run(far, local).error, UnavailableError)
    assert [event.kind for event in events] == ["transfer.kept"]
    assert [info.key for info in local.list()] == []
    (left,) = local.pending_uploads()
    assert left.key == "to/k"
    remote.wire, before = whole, remote.fetched
    assert run(far, local).error is None
    assert before > 0
    assert remote.fetched - before < SIZE
    assert local.get("to/k") == content(SIZE)
    assert local.stat("to/k").attributes == ABOUT
    assert [*local.pending_uploads()] == []
    assert [*(tmp_path / "state" / "transfers").iterdir()] == []


def test_a_changed_object_starts_afresh(remote, local):
    far = Storage(remote)
    far.put("k", content(SIZE))
    remote.wire = Cut(4)
    run(far, local)
    other = os.urandom(SIZE)
    far.put("k", other, attributes=ABOUT)
    remote.wire = whole
    assert run(far, local).error is None
    assert local.get("to/k") == other
    assert local.stat("to/k").attributes == ABOUT


def test_what_cannot_be_gone_on_with_leaves_nothing(remote, local):
    far, events = Storage(remote), []
    far.put("k", content(SIZE))
    remote.wire = Cut(0)
    with on_event(events.append):
        assert isinstance(run(far, local).error, UnavailableError)
    assert [*local.pending_uploads()] == []
    assert [event.kind for event in events] == []


def test_two_at_once_both_end_well(remote, local):
    far = Storage(remote)
    far.put("k", content(SIZE))
    inner = []

    def wire(what, count):
        if not inner:
            inner.append(None)
            remote.wire = whole
            inner.append(run(far, local))

    remote.wire = wire
    assert run(far, local).error is None
    assert inner[1].error is None
    assert local.get("to/k") == content(SIZE)
    assert [*local.pending_uploads()] == []


def test_what_is_there_is_spared_before_anything_travels(remote, local):
    far = Storage(remote)
    far.put("k", content(SIZE))
    local.put("to/k", b"mine")
    assert run(far, local, rules=CopyRules(overwrite=False)).skipped
    assert remote.fetched == 0
    assert local.get("to/k") == b"mine"


def test_a_file_is_sent_in_parts_and_gone_on_with(remote, local, tmp_path):
    far, events = Storage(remote), []
    local.put("k", content(SIZE), attributes=ABOUT)
    remote.wire = Cut(4)
    with on_event(events.append):
        assert isinstance(run(local, far).error, UnavailableError)
    assert [event.kind for event in events] == ["transfer.kept"]
    remote.wire = whole
    assert run(local, far).error is None
    assert remote.sent == -(-SIZE // PART) * PART - PART + SIZE % PART
    assert far.get("to/k") == content(SIZE)
    assert far.stat("to/k").attributes == ABOUT
    assert [*(tmp_path / "server").iterdir()] == []


def test_a_file_that_changes_while_it_is_sent_is_not_stored(remote, local, tmp_path):
    far = Storage(remote)
    local.put("k", content(SIZE))

    def change(what, count):
        with open(tmp_path / "disk" / "k", "ab") as file:
            file.write(b"more")

    remote.wire = change
    assert "changed" in str(run(local, far).error)
    assert not far.exists("to/k")


def test_between_two_services_ranges_are_sent_on_in_order(remote, tmp_path):
    far = Storage(remote)
    other = Storage(Remote(MemoryBackend(), tmp_path / "other", part=PART))
    far.put("k", content(SIZE), attributes=ABOUT)
    assert run(far, other).error is None
    assert other.get("to/k") == content(SIZE)
    assert other.stat("to/k").attributes == ABOUT
    remote.wire = Cut(4)
    assert isinstance(run(far, Storage(MemoryBackend())).error, UnavailableError)


def test_an_object_that_is_overwritten_between_two_services_is_never_spliced(remote):
    far, near = Storage(remote), Storage(MemoryBackend())
    far.put("k", content(SIZE))

    def overwrite(what, count):
        remote.wire = whole
        remote.inner.put("k", BytesSource(os.urandom(SIZE)), PutOptions())

    remote.wire = overwrite
    copied = run(far, near)
    assert copied.error is not None
    assert not near.exists("to/k")


def test_moving_deletes_the_source_only_when_all_of_it_is_there(remote, local):
    far = Storage(remote)
    local.put("k", content(SIZE))
    remote.wire = Cut(4, PermissionDeniedError)
    assert isinstance(run(local, far, transfer=move_objects).error, PermissionDeniedError)
    assert local.get("k") == content(SIZE)
    remote.wire = whole
    assert run(local, far, transfer=move_objects).error is None
    assert not local.exists("k")
    assert far.get("to/k") == content(SIZE)


def test_through_prefixes(remote, local):
    far = Storage(PrefixLayer(remote, "p/"))
    near = Storage(PrefixLayer(local.backend, "q/"), owned=False)
    far.put("k", content(SIZE))
    copied = run(far, near)
    assert copied.error is None
    assert copied.info.key == "to/k"
    assert local.get("q/to/k") == content(SIZE)
    remote.sent = 0
    assert run(near, far, key="to/k").error is None
    assert remote.sent == SIZE


@pytest.mark.parametrize("way", ["down", "up", "across"])
def test_progress_ends_at_the_total(remote, local, way):
    far, near = Storage(remote), Storage(MemoryBackend())
    source, target = {"down": (far, local), "up": (local, far), "across": (far, near)}[way]
    source.put("k", content(SIZE))
    seen = []
    with on_progress(seen.append):
        assert run(source, target).error is None
    assert {each.description for each in seen} == {"copy"}
    assert seen[0].completed == 0
    assert seen[-1][1:] == (SIZE, SIZE)
    assert [each.completed for each in seen] == sorted(each.completed for each in seen)


def test_an_object_onto_itself_is_not_deleted_by_a_move(tmp_path):
    (tmp_path / "disk").mkdir()
    one, other = Storage(LocalBackend(tmp_path / "disk")), Storage(LocalBackend(tmp_path / "disk"))
    one.put("k", b"data")
    (moved,) = move_objects(one, other, [CopyTask("k", "k", 4)])
    assert moved.error is None
    assert one.get("k") == b"data"
    one.close()
    other.close()


def test_the_error_of_a_refused_target_names_it(remote, local):
    far = Storage(remote)
    far.put("k", content(SIZE))
    local.put("to", b"in the way")
    error = run(far, local).error
    assert error is not None
    assert not isinstance(error, AlreadyExistsError)
    assert (error.operation, error.key, error.store) == ("put", "to/k", local.description)
    assert [*local.pending_uploads()] == []


def test_a_target_that_lets_nobody_write_is_not_taken_for_the_source(remote, tmp_path):
    far = Storage(remote)
    far.put("k", content(SIZE))
    (tmp_path / "locked").mkdir()
    system = FaultyOS([Fault("mkdir", 1, errno.EACCES, persistent=True)])
    with Storage(LocalBackend(tmp_path / "locked", os=system)) as locked:
        error = run(far, locked).error
        assert isinstance(error, PermissionDeniedError)
        assert (error.operation, error.key, error.store) == ("put", "to/k", locked.description)
