"""What is proven of the files of the disk tier, how often, and by which checksum."""

from __future__ import annotations

import os
import time
import zlib
from pathlib import Path

import pytest

from mediagit_storage.clock import SYSTEM_CLOCK
from mediagit_storage.layers.cache import DiskTier, disk, frames, proofs
from mediagit_storage.layers.cache.entries import disk_name
from mediagit_storage.layers.cache.frames import FRAME, framed, judged
from mediagit_storage.layers.cache.proofs import Identity, Proofs, identity_of

K = 1024
NAME = disk_name("x", 1)


class Ticks:
    """A clock that a test moves on. Ahead of the kernel's, which marks itself what was never read since it was written."""

    def __init__(self):
        self.seconds = time.time() + 1000

    def monotonic(self):
        return self.seconds

    def now_ns(self):
        return int(self.seconds * 1e9)

    def sleep(self, seconds):
        self.seconds += seconds


@pytest.fixture
def tier(tmp_path):
    made = DiskTier(tmp_path / "c", 100 * K, 100, clock=SYSTEM_CLOCK)
    assert made.write(NAME, b"content" * 100)
    return made


@pytest.fixture
def summed(monkeypatch):
    """The names whose content was summed, in order."""
    names: list[str] = []

    def counted(frame, name, content):
        names.append(name)
        return judged(frame, name, content)

    monkeypatch.setattr(disk, "judged", counted)
    return names


def path_of(tier: DiskTier) -> Path:
    return Path(tier._path(NAME))


def test_a_file_is_summed_once_in_each_process(tier, summed):
    for _ in range(3):
        assert tier.read(NAME) == b"content" * 100
    assert summed == [NAME]
    later = DiskTier(tier.folder, 100 * K, 100, clock=SYSTEM_CLOCK)
    assert later.read(NAME) == b"content" * 100
    assert summed == [NAME] * 2
    later.reset()
    later.read(NAME)
    assert summed == [NAME] * 3, "a forked child finds out itself"


def test_what_is_damaged_after_it_was_proven_is_found_and_heals(tier, summed):
    assert tier.read(NAME) is not None
    path = path_of(tier)
    for damage in (b"X" * 650, b"Y"):
        tier.write(NAME, b"content" * 100)
        assert tier.read(NAME) is not None
        before = path.stat().st_mtime_ns
        whole = path.read_bytes()
        path.write_bytes(whole[: FRAME + 50] + damage)
        # The clock of a file system is coarse: what is written in the same tick would go unseen.
        os.utime(path, ns=(0, before + 1_000_000))
        assert tier.read(NAME) is None
        assert not path.exists()
    assert tier.heals == 2


def test_a_file_that_another_process_replaced_is_proven_anew(tier, summed):
    tier.read(NAME)
    DiskTier(tier.folder, 100 * K, 100, clock=SYSTEM_CLOCK).write(NAME, b"CONTENT" * 100)
    assert tier.read(NAME) == b"CONTENT" * 100
    assert summed == [NAME] * 2


def overwrite(path: Path, before: os.stat_result) -> None:
    """Other bytes of the same length, in place, and the file looks as old as it did."""
    with path.open("r+b") as file:
        file.seek(FRAME)
        file.write(b"XXXX")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_damage_is_found_where_the_time_of_modification_was_put_back(tier, summed):
    path = path_of(tier)
    os.utime(path)
    assert tier.read(NAME) is not None
    proven = path.stat()
    while path.stat().st_ctime_ns == proven.st_ctime_ns:  # the clock of a file system is coarse
        overwrite(path, proven)
    assert path.stat().st_mtime_ns == proven.st_mtime_ns
    assert tier.read(NAME) is None
    assert tier.heals == 1


def test_a_write_just_before_the_use_is_marked_is_found(tmp_path, monkeypatch):
    """Marking sets both times: it would hide that the file was written to."""
    clock = Ticks()
    tier = DiskTier(tmp_path / "c", 100 * K, 100, clock=clock)
    tier.write(NAME, b"content" * 100)
    assert tier.read(NAME) is not None
    clock.seconds += 61
    path, real = path_of(tier), os.utime

    def late(descriptor, *, ns):
        with path.open("r+b") as file:
            file.seek(FRAME)
            file.write(b"XXXX")
        real(descriptor, ns=ns)

    monkeypatch.setattr(os, "utime", late)
    assert tier.read(NAME) is None
    assert tier.heals == 1


def test_every_part_of_the_identity_counts(tier):
    proven = identity_of(path_of(tier).stat())
    kept = Proofs()
    kept.add(NAME, proven)
    assert kept.holds(NAME, proven)
    for field in Identity._fields:
        assert not kept.holds(NAME, proven._replace(**{field: getattr(proven, field) + 1})), field
    kept.drop(NAME)
    assert not kept.holds(NAME, proven)


def test_where_use_cannot_be_marked_the_proof_stays(tmp_path, summed, monkeypatch):
    tier = DiskTier(tmp_path / "c", 100 * K, 100, clock=Ticks())
    tier.write(NAME, b"content")

    def refused(*_, **__):
        raise PermissionError(1, "not yours")

    monkeypatch.setattr(os, "utime", refused)
    for _ in range(3):
        assert tier.read(NAME) == b"content"
    assert summed == [NAME]


def test_use_is_marked_once_a_minute_and_leaves_the_time_of_modification(tmp_path, summed):
    clock = Ticks()
    tier = DiskTier(tmp_path / "c", 100 * K, 100, clock=clock)
    tier.write(NAME, b"content")
    path = path_of(tier)
    modified = path.stat().st_mtime_ns
    used, begun = [], clock.seconds
    for step in (0, 30, 24, 12, 54, 12):
        clock.seconds += step
        tier.read(NAME)
        used.append(path.stat().st_atime_ns / 1e9 - begun)
    assert used == pytest.approx([0, 0, 0, 66, 66, 132], abs=0.001)
    assert summed == [NAME] * 3, "once, and where it was marked"
    for step, marked in ((10, False), (60, True)):
        clock.seconds += step
        assert tier.touch(NAME)
        assert (path.stat().st_atime_ns / 1e9 == pytest.approx(clock.seconds, abs=0.001)) == marked
    assert path.stat().st_mtime_ns == modified
    assert not tier.touch(disk_name("y"))


def test_proofs_are_bounded(monkeypatch):
    monkeypatch.setattr(proofs, "_REMEMBERED", 3)
    kept = Proofs()
    names = [f"{number:064}" for number in range(5)]
    for number, name in enumerate(names):
        kept.add(name, Identity(1, number, 1, 1, 1))
    assert [kept.holds(name, Identity(1, number, 1, 1, 1)) for number, name in enumerate(names)] == [
        False,
        False,
        True,
        True,
        True,
    ]


@pytest.mark.parametrize("library", [True, False])
def test_each_checksum_finds_each_flipped_bit(monkeypatch, library):
    if not library:
        monkeypatch.setattr(frames, "quick_crc32c", lambda: None)
    content = b"content of a file"
    whole = framed(NAME, content) + content
    assert whole.startswith(b"MGC2" if library else b"MGC1")
    assert judged(whole[:FRAME], NAME, content) == "right"
    for place in range(len(whole) * 8):
        other = bytearray(whole)
        other[place // 8] ^= 1 << place % 8
        assert judged(bytes(other[:FRAME]), NAME, bytes(other[FRAME:])) != "right", place
    assert judged(whole[:FRAME], disk_name("y"), content) == "wrong"
    assert judged(whole[: FRAME - 1], NAME, content) == "wrong"


def test_the_checksums_are_those_that_the_form_names(monkeypatch):
    """CRC-32C by its published check value; both over the name's first half and the content."""
    own = bytes.fromhex(NAME[:32])
    crc32c = frames.quick_crc32c()
    assert crc32c(0, b"123456789") == 0xE3069283
    assert framed(NAME, b"abc") == b"MGC2" + crc32c(0, own + b"abc").to_bytes(4, "little") + own
    monkeypatch.setattr(frames, "quick_crc32c", lambda: None)
    assert framed(NAME, b"abc") == b"MGC1" + zlib.crc32(own + b"abc").to_bytes(4, "little") + own


def test_processes_with_and_without_the_library_share_a_folder(tier, monkeypatch):
    other = DiskTier(tier.folder, 100 * K, 100, clock=SYSTEM_CLOCK)
    with monkeypatch.context() as without:
        without.setattr(frames, "quick_crc32c", lambda: None)
        assert other.read(NAME) is None
        assert other.heals == 0
        assert path_of(tier).exists(), "what cannot be judged here is another's"
        assert other.write(NAME, b"content" * 100)
        assert other.read(NAME) == b"content" * 100
    assert tier.read(NAME) == b"content" * 100
