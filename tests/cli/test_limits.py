"""`--limit`: how it is written, what it holds up, and what it leaves as it is."""

from __future__ import annotations

import os

import pytest

from mediagit_storage.backend import BatchLimits
from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.cli.framework import Run
from mediagit_storage.cli.limits import Rate, Rates
from mediagit_storage.cli.session import session
from mediagit_storage.facets import BatchCopying, BatchMoving
from mediagit_storage.layers.base import find_layer, layers_of
from mediagit_storage.layers.mirror import MirrorLayer
from mediagit_storage.layers.throttle import Limits, ThrottleLayer
from mediagit_storage.storage import Storage
from mediagit_storage.testing.manual_clock import ManualClock
from mediagit_storage.tools.places import lasting_view
from mediagit_storage.tools.shortcuts import batch_copying, batch_moving


@pytest.mark.parametrize(
    ("text", "up", "down"),
    [
        ("10MiB/s", 10 * 2**20, 10 * 2**20),
        ("500kB", 500_000, 500_000),
        ("1.5 GB/s", 1_500_000_000, 1_500_000_000),
        ("64B/s", 64, 64),
        ("1MB/s:2MiB/s", 10**6, 2 * 2**20),
        ("off:1kiBps", None, 1024),
        ("1kB:off", 1000, None),
        ("off", None, None),
    ],
)
def test_rates_are_written_with_units(text, up, down):
    assert Rate().convert(text, None, None) == Rates(up, down)


@pytest.mark.parametrize("text", ["10", "10M", "0kB", "-1kB", "1kB:2kB:3kB", "", ":", "1e9B", "fast"])
def test_what_could_mean_something_else_is_refused(mgs, tree, memory, text):
    result = mgs("cp", f"--limit={text}", "-r", "src/", f"{memory}/x/")
    assert result.code == 2
    assert "--limit" in result.err


def limited(text: str) -> Run:
    run = Run()
    run.limit = Rate().convert(text, None, None)
    return run


def test_all_storages_of_a_command_share_one_limit(memory):
    with session(limited("10kB/s")) as this:
        one, other = (find_layer(this.place(f"{memory}{name}/x").store.backend, ThrottleLayer) for name in "ab")
        assert one is not None
        assert other is not None
        assert one is not other
        one.limits = Limits(bytes_up=7)
        assert other.limits.bytes_up == 7


def test_what_passes_one_storage_is_missing_in_the_other():
    """One bucket: what one layer let through, the one beside it has to wait for."""
    clock = ManualClock()
    waits: list[float | None] = []

    def wait(_event, seconds):
        waits.append(seconds)
        clock.sleep(seconds or 0)

    first = ThrottleLayer(MemoryBackend(), Limits(bytes_up=100), clock=clock, wait=wait)
    second = first.beside(MemoryBackend())
    Storage(first).put("a", bytes(100))
    assert not waits
    Storage(second).put("b", bytes(50))
    assert sum(each or 0 for each in waits) == pytest.approx(0.5)


def test_a_limit_holds_transfers_up(mgs, work, memory):
    """A burst of a second passes at once, what is more than that has to wait."""
    (work / "file").write_bytes(os.urandom(250_000))
    quick = mgs("put", "file", f"{memory}/x", "--limit", "250kB/s")
    held = mgs("put", "file", f"{memory}/x", "--limit", "200kB/s")
    assert quick.code == held.code == 0
    assert held.seconds >= 0.2
    assert mgs("get", f"{memory}/x", "back", "--limit", "1kB/s:off").code == 0
    assert (work / "back").read_bytes() == (work / "file").read_bytes()


def test_what_is_on_this_machine_is_not_limited_and_that_is_told(mgs, tree):
    result = mgs("cp", "-r", "src/", "dst/", "--create", "--limit", "1B/s")
    assert result.code == 0
    assert "nothing was held up" in result.err


class Copying(MemoryBackend, BatchCopying, BatchMoving):
    """A service that copies within itself."""

    def copies_from(self, source):
        return source is self

    def copy_batch(self, source, operations, limits):
        return iter(())

    def move_batch(self, operations):
        return iter(())


def test_copies_that_a_storage_makes_itself_stay_there():
    """Their bytes pass no network, so they need not become transfers for the sake of a limit."""
    with Storage(Copying()) as store:
        slow = store.with_layer(lambda inner: ThrottleLayer(inner, Limits(bytes_up=1))).with_prefix("a/")
        counted = store.with_layer(lambda inner: ThrottleLayer(inner, Limits(requests=1)))
        limits = BatchLimits()
        assert batch_moving(slow) is not None
        assert batch_copying(slow, store, limits) is not None
        assert batch_moving(counted) is None
        assert batch_copying(counted, store, limits) is None


def test_what_was_remembered_is_remembered_under_a_limit(tmp_path):
    with Storage(LocalBackend(tmp_path)) as store:
        slow = store.with_layer(lambda inner: ThrottleLayer(inner, Limits(bytes_up=1)))
        assert lasting_view(slow, "x") == lasting_view(store, "x")


def test_sync_migrate_and_verify_take_it(mgs, tree, memory):
    assert mgs("sync", "src", f"{memory}/s", "--limit", "10MB/s").code == 0
    assert mgs("verify", "src", f"{memory}/s", "--limit", "10MB/s").code == 0
    assert mgs("migrate", "src", f"{memory}/s", "--limit", "10MB/s").code == 0
    assert mgs("mv", "-r", f"{memory}/s/", f"{memory}/t/", "--limit", "1B/s").code == 0


def test_a_limit_counts_what_goes_through_the_network(mgs, work, memory):
    """Inside of all layers: of what is packed, and where a digest is made before anything is sent."""
    mgs("profile", "add", "packed", memory, "--layer", "checksum", "--layer", "compress")
    (work / "zeros").write_bytes(bytes(50_000_000))
    with session(limited("10kB/s")) as this:
        layers = [layer.layer_name for layer in layers_of(this.place("packed:x").store.backend)]
    assert layers[-1] == "throttle"
    result = mgs("cp", "zeros", "packed:zeros", "--limit", "100kB/s")
    assert result.code == 0, result.err
    assert result.seconds < 60


def test_members_of_a_mirror_share_the_limit(mgs, memory, work):
    mgs("profile", "add", "both", f"{memory}a", "--layer", f"mirror,replicas={memory}b")
    with session(limited("10kB/s")) as this:
        mirror = find_layer(this.place("both:x").store.backend, MirrorLayer)
        assert mirror is not None
        members = [mirror.inner, *mirror._backends]
        assert [find_layer(each, ThrottleLayer) is not None for each in members] == [True, True]


@pytest.mark.parametrize("command", ["sync", "migrate", "verify"])
def test_workers_that_would_have_a_limit_each_are_refused(mgs, tree, memory, command):
    result = mgs(command, "src", f"{memory}/x", "--engine", "dask", "--limit", "1MB/s")
    assert result.code == 2
    assert "one process" in result.err
