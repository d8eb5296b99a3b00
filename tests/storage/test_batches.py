"""Batches over the two engines: order, bounds, errors, and an end at any time."""

import gc
import itertools
import random
import threading
import warnings

import pytest

from mediagit_storage.backend import BatchLimits, Body, Completion, Content, ReadOperation
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import CancelledError, IntegrityError, NotFoundError, StorageError
from mediagit_storage.progress import on_progress
from mediagit_storage.scope import scope
from mediagit_storage.source import BytesSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.sources import DeliberateError
from mediagit_storage.testing.wrappers import without_batch
from mediagit_storage.types import ObjectInfo


class Shuffled(MemoryBackend):
    """A native batch that holds up to ``concurrency`` operations and completes them in any order."""

    def __init__(self):
        super().__init__()
        self.in_flight = 0
        self.most = 0
        self.closed = False

    def batch(self, operations, limits):
        chance, running, over = random.Random(1), [], False
        try:
            while running or not over:
                while not over and len(running) < limits.concurrency:
                    operation = next(operations, self)
                    if operation is self:
                        over = True
                    elif operation is None:
                        break
                    else:
                        running.append(operation)
                        self.most = max(self.most, len(running))
                if not running:
                    continue
                operation = running.pop(chance.randrange(len(running)))
                self.in_flight = len(running)
                try:
                    yield Completion(operation, self._carry_out(operation), None)
                except StorageError as error:
                    yield Completion(operation, None, error)
        finally:
            self.closed = True
            self.in_flight = 0


ENGINES = {"native": MemoryBackend, "shuffled": Shuffled, "threads": lambda: without_batch(MemoryBackend())}


@pytest.fixture(params=ENGINES)
def store(request):
    return Storage(ENGINES[request.param]())


@covers(12)
def test_a_thousand_items_in_the_order_given(store):
    keys = [f"k{number}" for number in range(1000)]
    store.put_many((key, key.encode()) for key in keys).run()
    chance = random.Random(3)
    asked = [chance.choice([*keys, "gone"]) for _ in range(1000)]
    for limits in (BatchLimits(), BatchLimits(1, 1), BatchLimits(7, 50)):
        outcomes = [*store.get_many(asked, limits=limits)]
        assert [each.key for each in outcomes] == asked
        assert [each.value for each in outcomes] == [None if key == "gone" else key.encode() for key in asked]


class Measured(MemoryBackend):
    """Objects that are made as they are read; counts the bytes that are held at a time."""

    SIZE = 100_000

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()
        self.made = 0
        self.most = 0
        self.taken = 0

    def stream(self, key, options):
        outer = self

        class Made(Body):
            info = ObjectInfo(key, size=outer.SIZE)
            start, length = 0, outer.SIZE

            def __iter__(self):
                with outer.lock:
                    outer.made += outer.SIZE
                    outer.most = max(outer.most, outer.made - outer.taken)
                yield bytes(outer.SIZE)

            def close(self):
                return None

        return Made()

    def read(self, key, options):
        with self.lock:
            self.made += self.SIZE
            self.most = max(self.most, self.made - self.taken)
        return Content(ObjectInfo(key, size=self.SIZE), bytes(self.SIZE), 0)


@pytest.mark.parametrize("wrap", [lambda each: each, without_batch], ids=["native", "threads"])
@covers(12, 108)
def test_what_waits_for_a_slow_caller_is_bounded_in_bytes(wrap):
    backend = Measured()
    limits = BatchLimits(concurrency=16, buffer_bytes=450_000)
    for place, outcome in enumerate(Storage(wrap(backend)).get_many((f"k{n}" for n in range(200)), limits=limits)):
        assert len(outcome.value) == backend.SIZE
        if place % 40 == 0:
            threading.Event().wait(0.02)
        with backend.lock:
            backend.taken += backend.SIZE
    assert backend.made == 200 * backend.SIZE
    assert backend.most <= 450_000 + 3 * backend.SIZE


def test_an_object_larger_than_the_budget_comes_through(store):
    store.put("large", bytes(1_000_000))
    outcomes = [*store.get_many(["large"] * 5, limits=BatchLimits(4, 10))]
    assert [len(each.value) for each in outcomes] == [1_000_000] * 5


def test_impossible_items_at_any_place(store):
    store.put("k", b"x")
    for pattern in itertools.product(["k", "", "gone"], repeat=4):
        outcomes = [*store.get_many(pattern, limits=BatchLimits(2, 10))]
        assert [each.key for each in outcomes] == list(pattern)
        assert [each.value for each in outcomes] == [b"x" if key == "k" else None for key in pattern]


def test_ten_thousand_impossible_items(store):
    outcomes = store.stat_many("" for _ in range(10_000))
    assert sum(each.error is not None for each in outcomes) == 10_000


def test_an_empty_batch(store):
    assert [*store.get_many([])] == []
    assert store.put_many([]).run() == 0


def test_leaving_early_stops_what_is_in_flight():
    backend = Shuffled()
    store = Storage(backend)
    store.put("k", b"x")
    batch = store.get_many(itertools.repeat("k"))
    for _ in zip(batch, range(5), strict=False):
        pass
    batch.close()
    assert backend.closed
    assert backend.in_flight == 0


def test_leaving_early_ends_the_threads():
    store = Storage(without_batch(MemoryBackend()))
    store.put("k", b"x")
    with store.get_many(itertools.repeat("k")) as batch:
        next(iter(batch))
    assert not [each for each in threading.enumerate() if each.name.startswith("mgs-batch")]


def test_an_error_of_the_iterator_surfaces_unchanged(store):
    store.put("k", b"x")

    def keys():
        yield "k"
        raise DeliberateError("the caller's own")

    with pytest.raises(DeliberateError, match="own"):
        store.get_many(keys()).run()


def test_a_cancelled_scope_ends_a_batch_with_its_error(store):
    store.put("k", b"x")
    with scope() as inside, pytest.raises(CancelledError):
        store.stat_many("k" if place != 10 else inside.cancel() or "k" for place in itertools.count()).run()


def drop(batch):
    del batch
    gc.collect()


def test_an_unused_batch_warns_and_does_nothing(store):
    with pytest.warns(ResourceWarning, match=r"put_many\(\) was never"):
        drop(store.put_many([("k", b"x")]))
    assert not store.exists("k")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.put_many([("k", b"x")]).close()
        gc.collect()


def test_run_counts_and_collects(store):
    store.put("k", b"x")
    with pytest.raises(ExceptionGroup, match="2 of 3 items") as caught:
        store.stat_many(["gone", "k", "gone"]).run()
    assert [type(each) for each in caught.value.exceptions] == [NotFoundError] * 2
    assert store.stat_many(["k"] * 7).run() == 7


def test_files_of_a_batch_that_do_not_keep_their_size_store_nothing(store, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    with path.open("rb") as file:
        items = [("k", file)]

        def shrinking():
            yield items[0]
            yield "l", b"fine"

        batch = store.put_many(shrinking())
        path.write_bytes(b"x" * 500)
        outcomes = {each.key: each for each in batch}
    assert outcomes["l"].error is None
    assert outcomes["k"].error is not None or len(store.get("k")) == 500


def test_progress_reaches_every_item(store):
    reports = []
    with on_progress(reports.append):
        store.put_many([("a", b"12345"), ("b", iter([b"123"]))]).run()
        store.get_many(["a", "b"]).run()
    for what in ("put a", "put b", "get a", "get b"):
        own = [each for each in reports if each.description == what]
        assert own[0].completed == 0, what
        assert own[-1].completed == own[-1].total == (5 if what.endswith("a") else 3), what


class Forgetful(MemoryBackend):
    """A native batch that answers nothing."""

    def batch(self, operations, limits):
        for operation in operations:
            assert operation is None or isinstance(operation, ReadOperation)
        yield from ()


def test_a_batch_that_loses_items_is_an_error_not_a_short_result():
    with pytest.raises(StorageError, match="without an answer"):
        Storage(Forgetful()).get_many(["a", "b"]).run()


class NeverAsks(MemoryBackend):
    """Reads files where they lie, and commits without asking whether they kept still."""

    def put(self, key, source, options):
        region = source.region()
        return super().put(key, BytesSource(region.read(region.size, 0)), options)


@pytest.mark.parametrize("native", [True, False], ids=["native", "threads"])
def test_a_put_of_many_that_never_proved_its_file_is_no_success(native, tmp_path):
    backend = NeverAsks() if native else without_batch(NeverAsks())
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with path.open("rb") as file, pytest.raises(IntegrityError, match="changed"):
        Storage(backend).put("k", file)
    with path.open("rb") as file:
        outcomes = [*Storage(backend).put_many([("k", file)])]
    assert [type(each.error) for each in outcomes] == [IntegrityError]
    assert outcomes[0].error.key == "k"
