"""Compressed objects on a server of S3: the whole suite, and connections that break below the layer."""

from __future__ import annotations

import secrets

import pytest

from mediagit_storage.layers.compress import CompressConfig, CompressLayer
from mediagit_storage.storage import Storage
from mediagit_storage.testing.conformance import ConformanceSuite
from mediagit_storage.testing.fault_proxy import Fault, FaultProxy, is_method
from mediagit_storage.testing.sources import content
from mediagit_storage.testing.toxics import CutAnswer, Fail, FailAfterwards, ResetWhileSending

MIB = 1024 * 1024


class TestSeaweedFS(ConformanceSuite):
    server_name = "seaweedfs"
    rounds = 1
    chunk_sizes = (1, 64 * 1024, 1024 * 1024)
    deviations = {
        "test_all_attributes_make_the_round_trip": "drops-empty-metadata",
        "test_attributes_come_with_a_read_that_asks_for_them": "drops-empty-metadata",
        "test_reading_is_liberal": "folds-slashes",
        "test_awkward_keys_can_be_copied_renamed_and_deleted": "backslash-is-a-slash",
        "test_awkward_keys_come_back_exactly": "backslash-is-a-slash",
        "test_characters_that_mean_something_elsewhere": "backslash-is-a-slash",
        "test_a_deleted_object_is_gone_for_every_call": "folders-outlive-objects",
    }

    def open_backend(self):
        self.bucket = self.make_bucket(self.server)
        return self.reopen(None)

    def reopen(self, backend):
        # The suite allows less memory than the default buffers of a transfer take.
        inner = self.open_bucket(self.server, self.bucket, buffer_size=8 * MIB)
        return CompressLayer(inner, CompressConfig(frame_size=256 * 1024))

    def missing_bucket(self):
        return CompressLayer(self.open_bucket(self.server, f"missing-{secrets.token_hex(8)}"))


@pytest.fixture
def through(servers, new_bucket, open_s3):
    """Opens a new bucket through a proxy with these faults, compressed; the proxy, and the same without a proxy."""
    server = servers("seaweedfs")

    def enter(*faults):
        bucket = new_bucket(server)
        proxy = FaultProxy(server.host, faults)
        config = CompressConfig(frame_size=256 * 1024, threads=2)
        spoilt = Storage(CompressLayer(open_s3(server, bucket, endpoint=proxy.url), config))
        return proxy, spoilt, Storage(CompressLayer(open_s3(server, bucket), config))

    return enter


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
