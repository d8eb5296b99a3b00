"""An upload that breaks off anywhere goes on where it stopped; a file that is not the same starts afresh."""

import hashlib
import os
import threading

import pytest

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import (
    AlreadyExistsError,
    CancelledError,
    ChecksumError,
    IntegrityError,
    PermissionDeniedError,
    UnavailableError,
)
from mediagit_storage.events import on_event
from mediagit_storage.layers.throttle import Limits, ThrottleLayer
from mediagit_storage.progress import on_progress
from mediagit_storage.scope import scope
from mediagit_storage.source import BytesSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.manual_clock import ManualClock
from mediagit_storage.testing.remote import Remote
from mediagit_storage.testing.sources import content
from mediagit_storage.testing.wrappers import WithoutCapabilities
from mediagit_storage.types import Attributes, Checksum, PutOptions

PART = 1000
SIZE = 10 * PART + 17


@pytest.fixture
def file(here):
    path = here / "file"
    path.write_bytes(content(SIZE))
    return path


def cut(parts, error=UnavailableError):
    left = [parts]

    def wire(what, count):
        left[0] -= 1
        if left[0] < 0:
            raise error("cut")

    return wire


def whole(what, count):
    """A wire that holds."""


def break_off(store, remote, file, parts=4):
    remote.wire = cut(parts)
    with pytest.raises(UnavailableError):
        store.upload(file, "k")
    remote.wire = whole
    remote.sent = 0


def nothing_left(remote, state):
    assert not [*remote.folder.glob("*")]
    assert not [*state.glob("*")]


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 2 * PART, SIZE])
@pytest.mark.parametrize("resume", [True, False])
def test_sizes_around_every_boundary(store, remote, here, state, size, resume):
    (here / "f").write_bytes(content(size))
    assert store.upload(here / "f", "k.png", resume=resume).size == size
    assert store.get("k.png") == content(size)
    assert store.stat("k.png").attributes.content_type == "image/png"
    assert remote.sent == (size if size > PART else 0)
    nothing_left(remote, state)


@pytest.mark.parametrize("parts", range(12))
def test_an_upload_that_breaks_at_any_part_sends_only_what_is_missing(store, remote, file, state, parts):
    remote.wire = cut(parts)
    try:
        store.upload(file, "k")
    except UnavailableError:
        assert not store.exists("k")
        remote.wire = whole
        store.upload(file, "k")
    remote.wire = whole
    assert remote.sent == SIZE
    assert store.get("k") == content(SIZE)
    nothing_left(remote, state)


@pytest.mark.parametrize("change", ["content", "same time", "grow", "shrink", "replace", "touch"])
def test_a_changed_file_starts_afresh(store, remote, file, state, change):
    break_off(store, remote, file)
    body = content(SIZE, seed=1)
    before = file.stat()
    if change == "grow":
        body = content(SIZE) + b"x"
    elif change == "shrink":
        body = content(SIZE)[:-1]
    elif change == "touch":
        body = content(SIZE)
    if change == "replace":
        other = file.with_name("other")
        other.write_bytes(body)
        os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        other.replace(file)
    elif change == "touch":
        os.utime(file, ns=(1, 1))
    else:
        file.write_bytes(body)
    if change == "same time":
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    store.upload(file, "k")
    assert store.get("k") == body
    assert remote.sent == len(body)
    nothing_left(remote, state)


@pytest.mark.parametrize("difference", ["attributes", "tags", "key", "path", "checksum"])
def test_other_options_start_afresh(store, remote, file, here, difference):
    break_off(store, remote, file)
    if difference == "path":
        os.link(file, here / "other")
        os.unlink(file)
        store.upload(here / "other", "k")
    elif difference == "key":
        store.upload(file, "k2")
    elif difference == "checksum":
        store.upload(file, "k", checksum=Checksum("sha256", hashlib.sha256(content(SIZE)).digest()))
    else:
        given = Attributes(metadata={"a": "b"}) if difference == "attributes" else Attributes(tags={"a": "b"})
        store.upload(file, "k", attributes=given)
        assert store.stat("k").attributes == given
    assert remote.sent == SIZE
    assert store.get("k2" if difference == "key" else "k") == content(SIZE)


def test_without_resuming_nothing_is_left(store, remote, file, state):
    remote.wire = cut(4)
    with pytest.raises(UnavailableError):
        store.upload(file, "k", resume=False)
    nothing_left(remote, state)


@pytest.mark.parametrize("change", ["grow", "shrink", "touch", "rewrite"])
def test_a_file_that_changes_while_its_parts_travel_is_not_stored(store, remote, file, state, change):
    store.put("k", b"old")
    seen = []

    def interfere(what, count):
        seen.append(count)
        if len(seen) != 5:
            return
        if change == "touch":
            os.utime(file, (1, 1))
        elif change == "rewrite":
            file.write_bytes(content(SIZE, seed=1))
        else:
            os.truncate(file, SIZE + 5 if change == "grow" else SIZE - 4 * PART)

    remote.wire = interfere
    with pytest.raises(IntegrityError):
        store.upload(file, "k")
    assert store.get("k") == b"old"
    nothing_left(remote, state)


def test_a_declared_checksum_is_verified_before_anything_travels(store, remote, file, state):
    digest = hashlib.sha256(content(SIZE)).digest()
    with pytest.raises(ChecksumError):
        store.upload(file, "k", checksum=Checksum("sha256", digest[::-1]))
    assert remote.sent == 0
    assert not store.exists("k")
    nothing_left(remote, state)
    store.upload(file, "k", checksum=Checksum("sha256", digest))
    assert store.get("k") == content(SIZE)


def test_a_backend_that_forgets_to_ask_is_found_out(file):
    class Forgetful(MemoryBackend):
        def put(self, key, source, options):
            region = source.region()
            return super().put(key, BytesSource(region.read(region.size, 0)), options)

    with pytest.raises(IntegrityError, match="without asking"):
        Storage(Forgetful()).upload(file, "k")


def test_an_open_file_is_read_by_parts_from_its_position(store, remote, file):
    with file.open("rb") as opened:
        opened.seek(100)
        store.put("k", opened)
    assert store.get("k") == content(SIZE)[100:]
    assert remote.sent == SIZE - 100


@pytest.mark.parametrize("declared", [SIZE - 1, SIZE + 1])
def test_a_declared_size_holds_for_parts_too(store, remote, file, declared):
    with file.open("rb") as opened, pytest.raises(IntegrityError):
        store.put("k", opened, size=declared)
    assert remote.sent == 0


def test_a_condition_that_fails_keeps_nothing(store, remote, file, state):
    store.put("k", b"old")
    with pytest.raises(AlreadyExistsError):
        store.upload(file, "k", if_absent=True)
    nothing_left(remote, state)
    assert store.get("k") == b"old"


def test_cancelling_keeps_what_was_sent(store, remote, file):
    with scope() as inside, on_progress(lambda report: report.completed >= 4 * PART and inside.cancel()):  # noqa: SIM117
        with pytest.raises(CancelledError):
            store.upload(file, "k")
    sent = remote.sent
    store.upload(file, "k")
    assert 0 < sent < SIZE
    assert remote.sent == SIZE


def test_progress_begins_with_what_was_there(store, remote, file):
    break_off(store, remote, file)
    reports = []
    with on_progress(reports.append):
        store.upload(file, "k")
    steps = [each.completed for each in reports]
    assert steps == [*range(0, SIZE, PART), SIZE]
    assert {each.total for each in reports} == {SIZE}


def test_every_torn_journal_starts_afresh_and_ends_well(store, remote, file, state):
    break_off(store, remote, file)
    (document,) = [each for each in state.iterdir() if each.suffix == ".json"]
    torn = document.read_bytes()
    for length in range(0, len(torn), 5):
        document.write_bytes(torn[:length])
        store.upload(file, "k")
        assert store.get("k") == content(SIZE)
        assert not [*state.iterdir()]


def test_an_upload_that_the_server_has_forgotten_starts_afresh(store, remote, file, state):
    break_off(store, remote, file)
    (upload,) = remote.folder.iterdir()
    upload.rename(remote.folder.with_name("gone"))
    store.upload(file, "k")
    assert remote.sent == SIZE
    assert store.get("k") == content(SIZE)
    nothing_left(remote, state)


def test_a_state_folder_that_cannot_be_used_costs_only_the_resuming(store, remote, file, state):
    state.parent.mkdir()
    state.write_text("in the way")
    events = []
    remote.wire = cut(4)
    with on_event(events.append), pytest.raises(UnavailableError):
        store.upload(file, "k")
    assert {each.kind for each in events} == {"transfer.no-journal"}
    assert not [*remote.folder.iterdir()]
    remote.wire = whole
    store.upload(file, "k")
    assert store.get("k") == content(SIZE)


def test_two_at_once_both_end_well(store, remote, file, state):
    meet, errors, events = threading.Barrier(2, timeout=10), [], []
    remote.wire = lambda what, count: None

    def send():
        meet.wait()
        try:
            with on_event(events.append):
                for _ in range(5):
                    store.upload(file, "k")
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=send) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert errors == []
    assert store.get("k") == content(SIZE)
    nothing_left(remote, state)


def test_the_second_sends_everything_itself_while_the_first_is_at_it(store, remote, file, state):
    inside = []

    def second(what, count):
        if not inside:
            inside.append(1)
            store.upload(file, "k")
            assert remote.sent == SIZE

    remote.wire = second
    store.upload(file, "k")
    assert remote.sent == 2 * SIZE
    nothing_left(remote, state)


def test_a_storage_that_cannot_resume_is_handed_no_memory(file, tmp_path, state):
    seen = []

    class Plain(MemoryBackend):
        def put(self, key, source, options):
            seen.append(options.resume)
            return super().put(key, source, options)

    Storage(Plain()).upload(file, "k")
    Storage(WithoutCapabilities(Remote(Plain(), tmp_path / "server"), "resumable_uploads")).upload(file, "k")
    assert seen == [None, None]
    assert not state.exists()


@pytest.mark.parametrize("error", [PermissionDeniedError, ValueError])
def test_what_is_final_leaves_nothing_with_the_server(store, remote, file, state, error):
    remote.wire = cut(4, error)
    with pytest.raises(error):
        store.upload(file, "k")
    nothing_left(remote, state)


def test_options_without_a_memory_stay_equal():
    assert PutOptions() == PutOptions(resume=None)


# ---- under a limit


class Waits(ManualClock):
    """Time that passes only where somebody waits for a turn."""

    def wait(self, event, seconds):
        self.now += seconds


@pytest.mark.parametrize("limits", [(1000, 500), (1000, None), (None, 1000)], ids=str)
def test_what_broke_off_under_a_limit_goes_on_under_another(remote, file, state, limits):
    for number, limit in enumerate(limits):
        clock = Waits()
        began = clock.now
        held = ThrottleLayer(remote, Limits(bytes_up=limit), clock=clock, wait=clock.wait)
        assert held.capabilities.resumable_uploads
        with Storage(held) as store:
            if not number:
                break_off(store, remote, file)
                # The part that was cut off was paid for as well.
                paid = 5 * PART
            else:
                store.upload(file, "k")
                paid = SIZE - 4 * PART
                assert remote.sent == paid
                assert store.get("k") == content(SIZE)
        if limit is not None:
            # One second's worth is free.
            assert clock.now - began == pytest.approx(paid / limit - 1)
    nothing_left(remote, state)


def test_a_file_that_is_not_to_resume_stays_hidden_behind_a_limit(remote, file):
    """Only who resumes has promised to ask for the turn of what it reads by position."""
    clock = Waits()
    began = clock.now
    held = ThrottleLayer(remote, Limits(bytes_up=1000), clock=clock, wait=clock.wait)
    with Storage(held) as store:
        store.upload(file, "k", resume=False)
    assert remote.sent == 0, "it came as a stream"
    # 4 KiB go at a time at least: the last of them are owed.
    assert clock.now - began == pytest.approx(8 * 1.024)
