"""What came in ranges is compared with the digest that the storage keeps of the whole."""

from __future__ import annotations

import hashlib

import pytest

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import ChecksumError, ConnectionLostError
from mediagit_storage.storage import Storage
from mediagit_storage.types import Checksum

DATA = bytes(range(256)) * 40


class Keeping(MemoryBackend):
    """Keeps a digest of each object, and may have lost a byte of one since."""

    def __init__(self):
        super().__init__()
        self.digest = Checksum("sha256", hashlib.sha256(DATA).digest())
        self.asked = []

    def content_checksum(self, key, options):
        self.asked.append((key, options.if_match))
        return self.digest


@pytest.fixture
def keeping(remote):
    remote.inner = Keeping()
    with Storage(remote) as store:
        info = store.put("k", DATA)
        yield store, remote.inner, info


def test_a_whole_file_is_compared_once(keeping, here):
    store, inner, info = keeping
    store.download("k", here / "file")
    assert (here / "file").read_bytes() == DATA
    assert inner.asked == [("k", info.etag)]


def test_wrong_bytes_leave_no_file(keeping, here):
    store, inner, _ = keeping
    inner.digest = Checksum("sha256", bytes(32))
    (here / "file").write_bytes(b"old")
    with pytest.raises(ChecksumError, match="sha256"):
        store.download("k", here / "file")
    assert (here / "file").read_bytes() == b"old"
    assert [each.name for each in here.iterdir()] == ["file"]


def test_what_an_earlier_run_left_is_compared_too(keeping, here, remote):
    store, _, _ = keeping
    begun = 0

    def wire(_what, _count):
        nonlocal begun
        begun += 1
        if begun == 8:
            raise ConnectionLostError("cut")

    remote.wire = wire
    with pytest.raises(ConnectionLostError):
        store.download("k", here / "file")
    remote.wire = lambda _what, _count: None
    [left] = [each for each in here.iterdir() if each.name != "file"]
    with left.open("r+b") as file:
        file.write(b"\xff" * len(DATA))
    with pytest.raises(ChecksumError):
        store.download("k", here / "file")
    assert [*here.iterdir()] == []
