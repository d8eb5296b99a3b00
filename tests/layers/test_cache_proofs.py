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
from mediagit_storage.layers.cache.proofs import Identity, Proofs

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


def test_use_is_marked_once_a_second_and_leaves_the_time_of_modification(tmp_path):
    clock = Ticks()
    tier = DiskTier(tmp_path / "c", 100 * K, 100, clock=clock)
    tier.write(NAME, b"content")
    path = path_of(tier)
    modified = path.stat().st_mtime_ns
    used, begun = [], clock.seconds
    for step in (0.0, 0.5, 0.4, 0.2, 0.9, 0.2):
        clock.seconds += step
        tier.read(NAME)
        used.append(path.stat().st_atime_ns / 1e9 - begun)
    assert used == pytest.approx([0.0, 0.0, 0.0, 1.1, 1.1, 2.2], abs=0.001)
    clock.seconds += 0.1
    assert tier.touch(NAME)
    assert path.stat().st_atime_ns / 1e9 == pytest.approx(clock.seconds, abs=0.001)
    assert path.stat().st_mtime_ns == modified


def test_proofs_are_bounded(monkeypatch):
    monkeypatch.setattr(proofs, "_REMEMBERED", 3)
    kept = Proofs()
    names = [f"{number:064}" for number in range(5)]
    for number, name in enumerate(names):
        kept.add(name, Identity(number, 1, 1))
    assert [kept.holds(name, Identity(number, 1, 1)) for number, name in enumerate(names)] == [False] * 2 + [True] * 3
    assert not kept.holds(names[4], Identity(4, 1, 2))


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
