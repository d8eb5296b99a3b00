"""A storage behind the retry layer keeps every promise, also when what is below fails now and then."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from mediagit_storage.backend import Body, Completion
from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import ConnectionLostError, ThrottledError, UnavailableError
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.retry import RetryLayer, RetryPolicy
from mediagit_storage.layers.throttle import Limits, ThrottleLayer
from mediagit_storage.testing.conformance import ConformanceSuite
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.machine import StorageMachine

POLICY = RetryPolicy(attempts=6, base=0.0, cap=0.0)


class BrokenOff(Body):
    """A body that ends in the middle."""

    def __init__(self, inner):
        self.info, self.start, self.length = inner.info, inner.start, inner.length
        self.inner = inner

    def __iter__(self):
        for piece in self.inner:
            yield piece[: len(piece) // 2]
            raise ConnectionLostError("broke off")

    def region(self):
        return None

    def close(self):
        self.inner.close()


@dataclass(frozen=True)
class NoOptions:
    """A layer of this module alone."""


class Flaky(Layer):
    """Every third call fails for a while: before it did anything, refused, or in the middle of what it gives."""

    layer_name = "flaky"

    def __init__(self, inner):
        super().__init__(inner, NoOptions())
        self.numbers = itertools.count()
        self.whole_bodies = False
        self.lock = threading.Lock()

    def fails(self):
        with self.lock:
            return next(self.numbers) % 3 == 1

    def attempt(self, call, error=UnavailableError):
        if self.fails():
            raise error("not now")
        return call()

    def put(self, key, source, options):
        return self.attempt(lambda: self.inner.put(key, source, options), ThrottledError)

    def read(self, key, options):
        return self.attempt(lambda: self.inner.read(key, options))

    def stream(self, key, options):
        body = self.inner.stream(key, options)
        return BrokenOff(body) if not self.whole_bodies and self.fails() else body

    def stat(self, key, version=None):
        return self.attempt(lambda: self.inner.stat(key, version))

    def delete(self, key, options):
        return self.attempt(lambda: self.inner.delete(key, options), ThrottledError)

    def copy(self, source, target, options):
        return self.attempt(lambda: self.inner.copy(source, target, options), ThrottledError)

    def rename(self, source, target, *, if_absent=False):
        return self.attempt(lambda: self.inner.rename(source, target, if_absent=if_absent), ThrottledError)

    def list(self, prefix, options):
        return self.cut(self.inner.list(prefix, options))

    def list_dir(self, prefix, options):
        return self.cut(self.inner.list_dir(prefix, options))

    def cut(self, entries):
        fails = self.fails()
        for number, entry in enumerate(entries):
            if fails and number == 5:
                raise ConnectionLostError("broke off")
            yield entry

    def batch(self, operations, limits):
        for operation in operations:
            if operation is not None and self.fails():
                yield Completion(operation, None, ThrottledError("not now"))
            elif operation is not None:
                yield from self.inner.batch(iter([operation]), limits)


class TestOverMemory(ConformanceSuite):
    variant = True

    def open_backend(self):
        return RetryLayer(MemoryBackend("conformance"), POLICY)

    def missing_bucket(self):
        return RetryLayer(MemoryBackend("missing", created=False), POLICY)


class TestOverFailures(ConformanceSuite):
    def open_backend(self):
        return RetryLayer(Flaky(MemoryBackend("conformance")), POLICY)

    def test_readers_see_whole_objects_during_overwrites(self):
        # A body that breaks off while its object is overwritten has no rest to go on with, and says so.
        self.backend.inner.whole_bodies = True
        super().test_readers_see_whole_objects_during_overwrites()


class TestOverLocal(ConformanceSuite):
    variant = True

    def open_backend(self):
        return RetryLayer(LocalBackend(self.folder), POLICY)

    def reopen(self, backend):
        return RetryLayer(LocalBackend(self.folder), POLICY)


class Machine(StorageMachine):
    """Random calls: what is below fails at every third of them, and the limits send most bytes in pieces."""

    def open_backend(self):
        limits = Limits(bytes_up=10**9, bytes_down=10**9, requests=10**7, burst=1e-7)
        return ThrottleLayer(RetryLayer(Flaky(MemoryBackend("machine")), POLICY), limits)


@covers(246)
@pytest.mark.parametrize(
    "effort",
    [
        settings(max_examples=12, stateful_step_count=25, phases=(Phase.explicit, Phase.generate)),
        pytest.param(
            settings(max_examples=300, stateful_step_count=60), marks=[pytest.mark.long, pytest.mark.timeout(900)]
        ),
    ],
    ids=["quick", "long"],
)
def test_random_calls_over_failures_do_what_the_model_does(effort):
    run_state_machine_as_test(Machine, settings=effort)
