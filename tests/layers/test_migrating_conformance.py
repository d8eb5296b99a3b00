"""Two storages as one keep every promise of one, wherever the objects lie (119)."""

from __future__ import annotations

import pytest

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.layers.migrating import MigratingLayer
from mediagit_storage.testing.conformance import ConformanceSuite
from mediagit_storage.testing.conformance.core import CORE
from mediagit_storage.testing.conformance.runner import run_check
from mediagit_storage.testing.migrating import Sinking, SinkingSuite
from mediagit_storage.testing.stacking import LAYER_ROWS, legal, make_layer
from mediagit_storage.testing.wrappers import without_batch


class TestNothingInTheOld(ConformanceSuite):
    variant = True

    def open_backend(self):
        return MigratingLayer(MemoryBackend("new"), MemoryBackend("old"))

    def missing_bucket(self):
        return MigratingLayer(MemoryBackend("missing", created=False), MemoryBackend("old"))


class TestAllInTheOld(SinkingSuite):
    def open_backend(self):
        return Sinking(MemoryBackend("new"), MemoryBackend("old"))


class TestAllInLocalFiles(SinkingSuite):
    variant = True

    def open_backend(self):
        old = LocalBackend(self.folder / "old", layout="sharded", durability="none")
        old.create()
        return Sinking(without_batch(MemoryBackend("new")), old)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [name for name in LAYER_ROWS if name != "readonly" and legal((name, "migrating"))])
def test_any_layer_outside_finds_what_lies_in_the_old(name, tmp_path):
    failed = {}
    for check in sorted(CORE):
        (tmp_path / check).mkdir()
        try:
            error = run_check(
                check,
                lambda: make_layer(name, Sinking(MemoryBackend("new"), MemoryBackend("old"))),
                tmp_path / check,
            )
        except pytest.skip.Exception:
            continue
        if error is not None:
            failed[check] = error
    assert failed == {}
