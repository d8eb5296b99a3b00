"""A download that breaks off anywhere goes on where it stopped, and is never spliced from two objects."""

import errno
import json
import os
import threading
from dataclasses import replace

import pytest

from mediagit_storage import downloading, positions
from mediagit_storage.backend import Content
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import (
    CancelledError,
    IntegrityError,
    NotFoundError,
    PermissionDeniedError,
    StorageTimeoutError,
    TruncatedError,
    UnavailableError,
)
from mediagit_storage.events import on_event
from mediagit_storage.layers.throttle import Limits, ThrottleLayer
from mediagit_storage.progress import on_progress
from mediagit_storage.scope import scope
from mediagit_storage.source import BytesSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.remote import Remote
from mediagit_storage.testing.sources import content
from mediagit_storage.testing.wrappers import CallLog, WithoutCapabilities
from mediagit_storage.types import PutOptions

PART = 1000
SIZE = 10 * PART + 17


class Cut:
    """Lets so many pieces through, then breaks every connection."""

    def __init__(self, pieces, error=UnavailableError):
        self.left = pieces
        self.error = error
        self.lock = threading.Lock()

    def __call__(self, what, count):
        with self.lock:
            self.left -= 1
            if self.left < 0:
                raise self.error("cut")


def whole(what, count):
    """A wire that holds."""


def parts_in(folder):
    return [each for each in folder.iterdir() if each.name.endswith(".part")]


@pytest.mark.parametrize(
    "size",
    [0, 1, PART, 2 * PART, 2 * PART + 1, 3 * PART - 1, 3 * PART, 3 * PART + 1, SIZE, 40 * PART],
)
@pytest.mark.parametrize("resume", [True, False])
def test_sizes_around_every_boundary(store, remote, here, state, size, resume):
    store.put("k", content(size))
    assert store.download("k", here / "f", resume=resume).size == size
    assert (here / "f").read_bytes() == content(size)
    assert [each.name for each in here.iterdir()] == ["f"]
    assert not state.exists() or not [*state.iterdir()]
    assert remote.fetched == size


@pytest.mark.parametrize("pieces", range(34))
def test_a_download_that_breaks_at_any_piece_fetches_only_what_is_missing(store, remote, here, state, pieces):
    body = content(SIZE)
    store.put("k", body)
    remote.wire = Cut(pieces)
    try:
        store.download("k", here / "f")
    except UnavailableError:
        assert not (here / "f").exists()
        before, kept = remote.fetched, parts_in(here)
        remote.wire = whole
        store.download("k", here / "f")
        # What had come of the parts in flight is all that may come twice.
        assert remote.fetched <= SIZE + 3 * PART
        assert bool(kept) == (remote.fetched - before < SIZE)
    else:
        assert pieces >= 11
    assert (here / "f").read_bytes() == body
    assert [each.name for each in here.iterdir()] == ["f"]
    assert not [*state.iterdir()]


def test_again_and_again_one_piece_further(store, remote, here):
    body = content(SIZE)
    store.put("k", body)
    for _ in range(200):
        remote.wire = Cut(5)
        try:
            store.download("k", here / "f")
            break
        except UnavailableError:
            pass
    assert (here / "f").read_bytes() == body
    assert remote.fetched < 4 * SIZE


def break_off(store, remote, target, pieces=9):
    remote.wire = Cut(pieces)
    with pytest.raises(UnavailableError):
        store.download("k", target)
    assert len(parts_in(target.parent)) == 1
    remote.wire = whole
    remote.fetched = 0


def test_a_changed_object_starts_afresh(store, remote, here, state):
    store.put("k", content(SIZE))
    break_off(store, remote, here / "f")
    store.put("k", content(SIZE, seed=1))
    store.download("k", here / "f")
    assert (here / "f").read_bytes() == content(SIZE, seed=1)
    assert remote.fetched == SIZE
    assert not [*state.iterdir()]


@pytest.mark.parametrize("size", [0, 100, PART])
def test_an_object_that_became_small_leaves_nothing_of_the_large_one(store, remote, here, state, size):
    store.put("k", content(SIZE))
    break_off(store, remote, here / "f")
    store.put("k", content(size, seed=1))
    store.download("k", here / "f")
    assert (here / "f").read_bytes() == content(size, seed=1)
    assert [each.name for each in here.iterdir()] == ["f"]
    assert not [*state.iterdir()]


def test_an_object_that_is_gone_leaves_nothing(store, remote, here, state):
    store.put("k", content(SIZE))
    break_off(store, remote, here / "f")
    store.delete("k")
    with pytest.raises(NotFoundError):
        store.download("k", here / "f")
    assert [*here.iterdir()] == []
    assert not [*state.iterdir()]


def test_an_object_that_changes_under_the_download_is_never_spliced(store, remote, here):
    store.put("k", content(SIZE))
    seen = []

    def change(what, count):
        seen.append(count)
        if len(seen) == 5:
            remote.inner.put("k", BytesSource(content(SIZE, seed=1)), PutOptions())

    remote.wire = change
    events = []
    with on_event(events.append):
        store.download("k", here / "f")
    assert (here / "f").read_bytes() == content(SIZE, seed=1)
    assert [each.kind for each in events] == ["transfer.changed"]


def test_an_object_that_changes_all_the_time_is_fetched_as_one_stream(store, remote, here):
    seeds = iter(range(10_000))
    bodies = {content(SIZE, seed=seed) for seed in range(40)}
    store.put("k", content(SIZE))

    def change(what, count):
        if count != 400 or remote.capabilities.batch:
            remote.inner.put("k", BytesSource(content(SIZE, seed=next(seeds) % 40)), PutOptions())

    remote.wire = change
    store.download("k", here / "f")
    assert (here / "f").read_bytes() in bodies
    assert [each.name for each in here.iterdir()] == ["f"]


def test_a_storage_that_ignores_the_condition_is_caught(here, tmp_path):
    class Careless(Remote):
        def read(self, key, options):
            return super().read(key, replace(options, if_match=None))

        def stream(self, key, options):
            return super().stream(key, replace(options, if_match=None))

    for native in (True, False):
        remote = Careless(MemoryBackend(), tmp_path / "server", native=native)
        remote.inner.put("k", BytesSource(content(SIZE)), PutOptions())
        seen = []

        def change(what, count, seen=seen, remote=remote):
            seen.append(count)
            if len(seen) == 4:
                remote.inner.put("k", BytesSource(content(SIZE, seed=1)), PutOptions())

        remote.wire = change
        Storage(remote).download("k", here / "f")
        assert (here / "f").read_bytes() == content(SIZE, seed=1)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("wrong", ["short", "long", "elsewhere"])
def test_a_range_that_is_not_the_one_asked_for_is_refused(here, tmp_path, native, wrong):
    class Wrong(Remote):
        def bend(self, content):
            if content.start != 3 * PART:
                return content
            if wrong == "elsewhere":
                return content._replace(start=0)
            return content._replace(data=content.data[:-1] if wrong == "short" else content.data + b"x")

        def read(self, key, options):
            return self.bend(super().read(key, options))

        def stream(self, key, options):
            body = super().stream(key, options)
            bent = self.bend(Content(body.info, body._data, body.start))
            body.start, body._data = bent.start, bent.data
            return body

    remote = Wrong(MemoryBackend(), tmp_path / "server", native=native)
    remote.inner.put("k", BytesSource(content(SIZE)), PutOptions())
    with pytest.raises(IntegrityError):
        Storage(remote).download("k", here / "f")
    assert not (here / "f").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, PermissionDeniedError, StorageTimeoutError, TruncatedError])
def test_what_may_pass_keeps_what_has_come(store, remote, here, error):
    store.put("k", content(SIZE))
    remote.wire = Cut(9, error)
    with pytest.raises(error):
        store.download("k", here / "f")
    assert len(parts_in(here)) == 1
    remote.wire, remote.fetched = whole, 0
    store.download("k", here / "f")
    assert remote.fetched < SIZE
    assert (here / "f").read_bytes() == content(SIZE)


def test_cancelling_keeps_what_has_come(store, remote, here):
    store.put("k", content(SIZE))
    with scope() as inside, on_progress(lambda report: report.completed > 4 * PART and inside.cancel()):  # noqa: SIM117
        with pytest.raises(CancelledError):
            store.download("k", here / "f")
    remote.fetched = 0
    store.download("k", here / "f")
    assert remote.fetched <= SIZE - 2 * PART
    assert (here / "f").read_bytes() == content(SIZE)


def test_without_resuming_nothing_is_left(store, remote, here, state):
    store.put("k", content(SIZE))
    remote.wire = Cut(9)
    with pytest.raises(UnavailableError):
        store.download("k", here / "f", resume=False)
    assert [*here.iterdir()] == []
    assert not state.exists()


def test_switching_resuming_off_forgets_the_unfinished_run(store, remote, here, state):
    store.put("k", content(SIZE))
    break_off(store, remote, here / "f")
    store.download("k", here / "f", resume=False)
    assert remote.fetched == SIZE
    assert [each.name for each in here.iterdir()] == ["f"]
    assert not [*state.iterdir()]


def test_progress_begins_with_what_was_there(store, remote, here):
    store.put("k", content(SIZE))
    break_off(store, remote, here / "f")
    reports = []
    with on_progress(reports.append):
        store.download("k", here / "f")
    steps = [each.completed for each in reports]
    assert {each.total for each in reports} == {SIZE}
    assert steps[0] == 0
    assert steps[1] == SIZE - remote.fetched
    assert steps == sorted(steps)
    assert steps[-1] == SIZE


# ---- the unfinished file


def test_every_torn_journal_starts_afresh_and_ends_well(store, remote, here, state):
    store.put("k", content(SIZE))
    break_off(store, remote, here / "f")
    (document,) = [each for each in state.iterdir() if each.suffix == ".json"]
    torn, (part,) = document.read_bytes(), parts_in(here)
    left = part.read_bytes()
    for length in range(0, len(torn), 7):
        document.write_bytes(torn[:length])
        part.write_bytes(left[: length * 9])
        store.download("k", here / "f")
        assert (here / "f").read_bytes() == content(SIZE)
        assert not [*state.iterdir()]
        assert parts_in(here) == []


@pytest.mark.parametrize("harm", ["removed", "cut", "grown", "another", "link"])
def test_an_unfinished_file_that_is_not_what_it_was_counts_for_nothing(store, remote, here, harm):
    store.put("k", content(SIZE))
    break_off(store, remote, here / "f")
    (part,) = parts_in(here)
    if harm in {"removed", "another", "link"}:
        part.rename(here / "moved")
    if harm == "cut":
        os.truncate(part, 10)
    elif harm == "grown":
        os.truncate(part, 2 * SIZE)
    elif harm == "another":
        part.write_bytes(b"z" * SIZE)
    elif harm == "link":
        part.symlink_to(here / "moved")
    store.download("k", here / "f")
    assert (here / "f").read_bytes() == content(SIZE)
    assert not (here / "f").is_symlink()
    assert remote.fetched == SIZE


def test_two_names_of_the_unfinished_file_are_not_trusted(store, remote, here):
    store.put("k", content(SIZE))
    break_off(store, remote, here / "f")
    (part,) = parts_in(here)
    os.link(part, here / "spy")
    store.download("k", here / "f")
    with (here / "spy").open("r+b") as spy:
        spy.write(b"!" * 100)
    assert (here / "f").read_bytes() == content(SIZE)


def test_after_a_power_cut_only_what_was_synced_counts(store, remote, here, state, monkeypatch):
    from mediagit_storage import ledger

    def the_only_sync(descriptor):
        os.fdatasync(descriptor)
        monkeypatch.setattr(ledger, "_SYNC_EVERY", 2 * SIZE)

    monkeypatch.setattr(ledger, "_SYNC_EVERY", 4 * PART)
    monkeypatch.setattr(ledger, "_data_sync", the_only_sync)
    store.put("k", content(SIZE))
    break_off(store, remote, here / "f", pieces=9 if remote.capabilities.batch else 20)
    (document,) = [each for each in state.iterdir() if each.suffix == ".json"]
    saved = json.loads(document.read_bytes())["state"]
    synced, written = (sum(end - start for start, end in saved[name]) for name in ("synced", "written"))
    assert 0 < synced < written
    monkeypatch.setattr(ledger, "_boot_id", lambda: "another start of the machine")
    store.download("k", here / "f")
    assert remote.fetched == SIZE - synced
    assert (here / "f").read_bytes() == content(SIZE)


def test_without_durability_nothing_survives_a_power_cut(store, remote, here, monkeypatch):
    from mediagit_storage import ledger

    monkeypatch.setattr(ledger, "_SYNC_EVERY", 1)
    monkeypatch.setattr(ledger, "_data_sync", None)
    store.put("k", content(SIZE))
    remote.wire = Cut(9)
    with pytest.raises(UnavailableError):
        store.download("k", here / "f", durability="none")
    remote.wire, remote.fetched = whole, 0
    monkeypatch.setattr(ledger, "_boot_id", lambda: "")
    store.download("k", here / "f", durability="none")
    assert remote.fetched == SIZE
    assert (here / "f").read_bytes() == content(SIZE)


def test_a_sync_that_fails_is_not_overheard(store, here, monkeypatch):
    from mediagit_storage import ledger

    def broken(descriptor):
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(ledger, "_SYNC_EVERY", 3 * PART)
    monkeypatch.setattr(ledger, "_data_sync", broken)
    store.put("k", content(SIZE))
    with pytest.raises(OSError, match="the disk is broken"):
        store.download("k", here / "f")
    assert not (here / "f").exists()


# ---- two at once, and folders that do not play along


def test_two_at_once_both_end_well(store, remote, here):
    store.put("k", content(SIZE))
    meet = threading.Barrier(2, timeout=10)
    errors = []

    def fetch():
        meet.wait()
        try:
            for _ in range(5):
                store.download("k", here / "f")
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert errors == []
    assert (here / "f").read_bytes() == content(SIZE)
    assert [each.name for each in here.iterdir()] == ["f"]


def test_the_second_goes_its_own_way_while_the_first_is_at_it(store, remote, here):
    store.put("k", content(SIZE))
    inside, events = [], []

    def second(what, count):
        if not inside:
            inside.append(1)
            with on_event(events.append):
                store.download("k", here / "f")
            assert (here / "f").read_bytes() == content(SIZE)

    remote.wire = second
    store.download("k", here / "f")
    assert "transfer.busy" in {each.kind for each in events}
    assert [each.name for each in here.iterdir()] == ["f"]


def test_downloads_of_different_objects_to_one_name_do_not_mix(store, remote, here):
    store.put("k", content(SIZE))
    store.put("other", content(SIZE, seed=1))
    break_off(store, remote, here / "f")
    store.download("other", here / "f")
    assert (here / "f").read_bytes() == content(SIZE, seed=1)
    remote.fetched = 0
    store.download("k", here / "f")
    assert remote.fetched < SIZE
    assert (here / "f").read_bytes() == content(SIZE)


def test_the_same_key_of_two_storages_is_two_downloads(remote, here):
    plain, inner = Storage(remote), Storage(remote).with_prefix("p/")
    plain.put("k", content(SIZE))
    inner.put("k", content(SIZE, seed=1))
    break_off(plain, remote, here / "f")
    inner.download("k", here / "f")
    assert (here / "f").read_bytes() == content(SIZE, seed=1)
    assert remote.fetched == SIZE


def test_a_state_folder_that_cannot_be_used_costs_only_the_resuming(store, remote, here, state):
    state.parent.mkdir()
    state.write_text("in the way")
    store.put("k", content(SIZE))
    events = []
    remote.wire = Cut(9)
    with on_event(events.append), pytest.raises(UnavailableError):
        store.download("k", here / "f")
    assert [*here.iterdir()] == []
    remote.wire = whole
    store.download("k", here / "f")
    assert (here / "f").read_bytes() == content(SIZE)
    assert {each.kind for each in events} == {"transfer.no-journal"}


def test_trouble_with_the_target_is_the_systems_own_error(store, here):
    store.put("k", content(SIZE))
    with pytest.raises(FileNotFoundError) as caught:
        store.download("k", here / "no" / "f")
    assert not isinstance(caught.value, NotFoundError)
    (here / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        store.download("k", here / "folder")
    (here / "file").write_text("x")
    with pytest.raises(NotADirectoryError):
        store.download("k", here / "file" / "f")
    assert {each.name for each in here.iterdir()} == {"folder", "file"}


@pytest.mark.parametrize("size", [PART, SIZE])
def test_existing_files_are_spared_when_asked(store, remote, here, size):
    store.put("k", content(size))
    (here / "f").write_text("old")
    with pytest.raises(FileExistsError):
        store.download("k", here / "f", overwrite=False)
    (here / "f").unlink()

    def appear(what, count):
        (here / "f").write_text("quicker")

    remote.wire = appear
    with pytest.raises(FileExistsError):
        store.download("k", here / "f", overwrite=False)
    assert (here / "f").read_text() == "quicker"
    assert [each.name for each in here.iterdir()] == ["f"]
    remote.wire = whole
    (here / "f").unlink()
    store.download("k", here / "f", overwrite=False)
    assert (here / "f").read_bytes() == content(size)


@pytest.mark.parametrize("name", ["x" * 255, "ä" * 127, "漢" * 85, ".hidden", "-f"])
def test_long_and_odd_names(store, here, name):
    for size in (PART, SIZE):
        store.put("k", content(size))
        store.download("k", here / name)
        assert (here / name).read_bytes() == content(size)
    assert [each.name for each in here.iterdir()] == [name]


def test_new_files_get_the_permissions_that_new_files_get(store, here):
    old = os.umask(0o027)
    try:
        for size in (PART, SIZE):
            store.put("k", content(size))
            store.download("k", here / str(size))
    finally:
        os.umask(old)
    assert {each.stat().st_mode & 0o777 for each in here.iterdir()} == {0o640}


def test_a_disk_without_room_is_known_before_anything_travels(store, remote, here, monkeypatch):
    store.put("k", content(SIZE))
    break_off(store, remote, here / "f")
    real = os.fstatvfs

    def tight(descriptor):
        found = list(real(descriptor))
        found[1], found[4] = 1, 5
        return os.statvfs_result(found)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fstatvfs", tight)
        with pytest.raises(OSError, match="no room") as caught:
            store.download("k", here / "f")
        assert caught.value.errno == errno.ENOSPC
        with pytest.raises(OSError, match="no room"):
            store.download("k", here / "g")
    assert remote.fetched == 0
    assert len(parts_in(here)) == 1
    store.download("k", here / "f")
    assert 0 < remote.fetched < SIZE


def test_a_disk_that_fills_up_gets_its_space_back(store, here, state, monkeypatch):
    store.put("k", content(SIZE))
    real, written = os.pwrite, []

    def pwrite(descriptor, data, offset):
        written.append(len(data))
        if sum(written) > 6 * PART:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data, offset)

    monkeypatch.setattr(positions.os, "pwrite", pwrite)
    with pytest.raises(OSError, match="No space"):
        store.download("k", here / "f")
    assert [*here.iterdir()] == []
    assert not [*state.iterdir()]


def test_short_writes_are_continued(store, here, monkeypatch):
    store.put("k", content(SIZE))
    real = os.pwrite
    monkeypatch.setattr(positions.os, "pwrite", lambda d, data, offset: real(d, bytes(data[:7]), offset))
    store.download("k", here / "f")
    assert (here / "f").read_bytes() == content(SIZE)


# ---- what is pinned, and how


def test_a_named_version_is_fetched_in_parts(here, tmp_path):
    remote = Remote(MemoryBackend(versioning=True), tmp_path / "server")
    store = Storage(remote)
    old = store.put("k", content(SIZE)).version
    store.put("k", content(SIZE, seed=1))
    break_off(store, remote, here / "f")
    store.download("k", here / "f", version=old)
    assert (here / "f").read_bytes() == content(SIZE)
    store.download("k", here / "f")
    assert (here / "f").read_bytes() == content(SIZE, seed=1)


def test_without_etags_versions_pin(here, tmp_path):
    remote = Remote(WithoutCapabilities(MemoryBackend(versioning=True), "read_conditions"), tmp_path / "server")
    store = Storage(remote)
    store.put("k", content(SIZE))

    def change(what, count):
        if count == 400 and len(remote.ranges) == 4:
            store.put("k", content(SIZE, seed=1))

    remote.wire = change
    store.download("k", here / "f")
    assert (here / "f").read_bytes() == content(SIZE)
    assert len(remote.ranges) > 5


def test_without_anything_to_pin_it_is_one_stream(here, tmp_path):
    remote = Remote(WithoutCapabilities(MemoryBackend(), "read_conditions", "versions"), tmp_path / "server")
    store = Storage(remote)
    store.put("k", content(SIZE))
    store.download("k", here / "f")
    assert remote.ranges == [(0, SIZE)]


def test_near_storages_and_small_objects_cost_one_request(store, remote, here, state):
    store.put("k", content(2 * PART))
    calls = CallLog(remote)
    Storage(calls).download("k", here / "f")
    assert calls.calls == ["stream"]
    near = CallLog(MemoryBackend())
    Storage(near).put("k", content(SIZE))
    Storage(near).download("k", here / "f")
    assert near.calls == ["put", "stream"]
    assert not state.exists()


def test_ranges_are_disjoint_and_bounded(here, tmp_path):
    remote = Remote(MemoryBackend(), tmp_path / "server")
    store = Storage(remote)
    store.put("k", content(SIZE))
    store.download("k", here / "f")
    first, *ranges = remote.ranges
    assert first == (0, SIZE)  # the first look, which is not read
    assert sorted(ranges) == [(at, min(PART, SIZE - at)) for at in range(0, SIZE, PART)]


def test_the_limits_bound_the_memory():
    assert downloading.LIMITS.part * downloading.LIMITS.concurrency <= 40 * 1024 * 1024


def test_what_broke_off_under_a_limit_goes_on_without_one(store, remote, here, state):
    body = content(SIZE)
    store.put("k", body)
    remote.wire = Cut(8)
    with Storage(ThrottleLayer(remote, Limits(bytes_down=10**9))) as slow, pytest.raises(UnavailableError):
        slow.download("k", here / "f")
    assert parts_in(here)
    remote.wire, before = whole, remote.fetched
    store.download("k", here / "f")
    assert remote.fetched - before < SIZE
    assert (here / "f").read_bytes() == body
    assert [each.name for each in here.iterdir()] == ["f"]
