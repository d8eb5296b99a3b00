"""How two objects are compared: which digests are believed, and what is read for it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import pytest

from mediagit_storage import Storage
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import NotFoundError
from mediagit_storage.layers.base import Layer
from mediagit_storage.tools.comparing import Verdict, compare
from mediagit_storage.types import Checksum

DATA = b"some bytes" * 60_000


@dataclass(frozen=True, slots=True)
class FarConfig:
    """Nothing to choose."""


class Far(MemoryBackend):
    """A storage far away: it counts what is read, and tells a digest where it keeps one."""

    def __init__(self, kept: Checksum | None = None):
        super().__init__()
        self.kept = kept
        self.opened = 0

    @property
    def capabilities(self):
        return replace(super().capabilities, parallel_reads=True)

    def content_checksum(self, key, options):
        return self.kept

    def stream(self, key, options):
        self.opened += 1
        return super().stream(key, options)


class Forwarding(Layer):
    """A layer that hides what is below it from whoever looks at capabilities only."""

    layer_name = "forwarding"

    def __init__(self, inner):
        super().__init__(inner, FarConfig())

    @property
    def capabilities(self):
        return replace(self.inner.capabilities, parallel_reads=False)


def digest(data: bytes, algorithm: str = "md5") -> Checksum:
    return Checksum(algorithm, hashlib.new(algorithm, data).digest())


def compared(source, target, *, ours=DATA, theirs=DATA, etag=None, contents=False):
    left, right = Storage(source), Storage(target)
    left.put("k", ours)
    right.put("k", theirs)
    listed = next(right.list())
    return compare(left, next(left.list()), right, replace(listed, etag=etag or listed.etag), contents=contents).verdict


@pytest.mark.parametrize("theirs", [DATA, DATA[:-1] + b"!", DATA[:-1], DATA + b"."])
def test_what_is_near_is_read(theirs):
    expected = Verdict.EQUAL if theirs == DATA else Verdict.DIFFERENT
    assert compared(MemoryBackend(), MemoryBackend(), theirs=theirs) is expected


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
@pytest.mark.parametrize("theirs", [DATA, b"other"])
@pytest.mark.parametrize("way", ["up", "down"])
def test_what_is_near_is_hashed_for_the_digest_of_what_is_far(algorithm, theirs, way):
    far, near = Far(digest(theirs, algorithm)), MemoryBackend()
    ends = (near, far) if way == "up" else (far, near)
    given = {"theirs": theirs} if way == "up" else {"ours": theirs}
    assert compared(*ends, **given) is (Verdict.EQUAL if theirs == DATA else Verdict.DIFFERENT)
    assert far.opened == 0


def test_the_md5_in_a_listing_needs_no_request():
    far = Far()
    assert compared(MemoryBackend(), far, etag=digest(DATA).digest.hex()) is Verdict.EQUAL
    assert far.opened == 0


def test_an_etag_that_looks_like_another_md5_proves_nothing():
    assert compared(MemoryBackend(), Far(), etag="ab" * 16) is Verdict.UNKNOWN
    assert compared(MemoryBackend(), Far(), etag="ab" * 16, contents=True) is Verdict.EQUAL


def test_without_a_digest_nothing_is_fetched_and_nothing_claimed():
    far = Far()
    assert compared(MemoryBackend(), far) is Verdict.UNKNOWN
    assert compared(Far(), Far()) is Verdict.UNKNOWN
    assert far.opened == 0


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        (digest(DATA), digest(DATA), Verdict.EQUAL),
        (digest(DATA), digest(b"other"), Verdict.DIFFERENT),
        (digest(DATA), digest(DATA, "sha256"), Verdict.UNKNOWN),
        (digest(DATA), None, Verdict.UNKNOWN),
    ],
)
def test_of_two_far_away_the_digests_are_asked_for(ours, theirs, verdict):
    assert compared(Far(ours), Far(theirs)) is verdict


def test_contents_believe_no_digest():
    far = Far(digest(DATA))
    assert compared(MemoryBackend(), far, theirs=b"other", contents=True) is Verdict.DIFFERENT
    assert far.opened == 1


def test_a_layer_does_not_make_a_storage_near():
    far = Far()
    assert compared(MemoryBackend(), Forwarding(far)) is Verdict.UNKNOWN
    assert far.opened == 0


def test_an_object_that_is_gone_is_an_error():
    left, right = Storage(MemoryBackend()), Storage(MemoryBackend())
    info = left.put("k", DATA)
    with pytest.raises(NotFoundError):
        compare(left, info, right, info)
