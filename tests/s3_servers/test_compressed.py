"""Compressed objects on a server of S3: the whole suite, and connections that break below the layer."""

from __future__ import annotations

from functools import partial

import pytest

from mediagit_storage.layers.compress import CompressConfig, CompressLayer
from mediagit_storage.testing.fault_proxy import Fault, is_method
from mediagit_storage.testing.layered_s3 import OverSeaweedFSWithoutLinks
from mediagit_storage.testing.sources import content
from mediagit_storage.testing.toxics import CutAnswer, Fail, FailAfterwards, ResetWhileSending

MIB = 1024 * 1024
CONFIG = CompressConfig(frame_size=256 * 1024, threads=2)


class TestSeaweedFS(OverSeaweedFSWithoutLinks):
    def layered(self, inner):
        return CompressLayer(inner, CONFIG)


@pytest.fixture
def through(through_proxy):
    """Opens a new bucket through a proxy with these faults, compressed; the proxy, and the same without a proxy."""
    return partial(through_proxy, layered=lambda inner: CompressLayer(inner, CONFIG))


@pytest.mark.uses_server("seaweedfs")
@pytest.mark.parametrize("reset", [False, True])
def test_reads_that_break_off_are_resumed_below(through, reset):
    """Bodies are cut off in the middle, one after the other: what is read is the same."""
    data = content(3 * MIB)
    cut = CutAnswer(700_000, reset=reset)
    proxy, spoilt, plain = through(Fault(cut, matches=is_method("GET", having="/k"), nth=2, times=2))
    plain.put("k", data)
    with proxy:
        assert spoilt.stat("k").size == len(data)
        assert spoilt.get("k") == data
    proxy, spoilt, plain = through(Fault(cut, matches=is_method("GET", having="/k"), nth=2, times=2))
    plain.put("k", data)
    with proxy:
        assert b"".join(spoilt.stream("k", offset=1_000_000)) == data[1_000_000:]


@pytest.mark.uses_server("seaweedfs")
@pytest.mark.parametrize("rewindable", [True, False])
@pytest.mark.parametrize("toxic", [Fail(), FailAfterwards(), ResetWhileSending(100_000)], ids=repr)
def test_writes_that_fail_are_tried_again(through, tmp_path, toxic, rewindable):
    """A part of a large object is sent again, also where only its answer was lost."""
    data = content(10 * MIB) + bytes(6 * MIB)
    proxy, spoilt, plain = through(Fault(toxic, matches=is_method("PUT", having="partNumber")))
    with proxy, _file(tmp_path / "file", data).open("rb") as file:
        info = spoilt.put("k", file if rewindable else iter([data]))
        assert info.size == len(data)
        assert info.stored_size < 11 * MIB
    assert plain.get("k") == data
    assert [*plain.pending_uploads()] == []


@pytest.mark.uses_server("seaweedfs")
def test_a_large_object_goes_to_a_file_in_ranges_side_by_side(through, tmp_path):
    proxy, spoilt, plain = through(Fault(CutAnswer(400_000), matches=is_method("GET", having="/k"), nth=3, times=2))
    data = content(20 * MIB)
    plain.upload(_file(tmp_path / "up", data), "k")
    with proxy:
        spoilt.download("k", tmp_path / "down")
        assert (tmp_path / "down").read_bytes() == data


def _file(path, data):
    path.write_bytes(data)
    return path
