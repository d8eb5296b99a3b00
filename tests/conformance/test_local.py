"""The same suite on a folder of files: both layouts, and every durability where it makes a difference."""

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.testing.conformance import (
    BackendCase,
    BatchContract,
    ConcurrencyContract,
    ConditionContract,
    ConformanceSuite,
    CopyContract,
    ObjectContract,
    SourceContract,
    StreamingContract,
)


class LocalCase(BackendCase):
    many = 300
    rounds = 2
    layout = "plain"
    durability = "full"

    def open_backend(self):
        (self.folder / "objects").mkdir()
        return self.reopen(None)

    def reopen(self, backend):
        return LocalBackend(self.folder / "objects", layout=self.layout, durability=self.durability)

    def missing_bucket(self):
        return LocalBackend(self.folder / "missing", layout=self.layout)


class TestLocalPlain(LocalCase, ConformanceSuite):
    pass


class TestLocalSharded(LocalCase, ConformanceSuite):
    layout = "sharded"


class WhatDurabilityTouches(
    LocalCase,
    ObjectContract,
    SourceContract,
    ConditionContract,
    CopyContract,
    BatchContract,
    StreamingContract,
    ConcurrencyContract,
):
    pass


class TestLocalPlainInBatches(WhatDurabilityTouches):
    variant = True
    durability = "batch"


class TestLocalShardedInBatches(WhatDurabilityTouches):
    variant = True
    layout = "sharded"
    durability = "batch"


class TestLocalPlainWithoutSync(WhatDurabilityTouches):
    variant = True
    durability = "none"
