"""The throttle: limits that hold for all threads together, fair, changeable, cancellable; nothing waits for a real clock."""

from __future__ import annotations

import threading

import pytest

from mediagit_storage.backend import BatchLimits, PutOperation, ReadOperation, StatOperation
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import CancelledError, ConfigError, NotFoundError, StorageTimeoutError
from mediagit_storage.layers.base import find_layer
from mediagit_storage.layers.throttle import Limits, ThrottleLayer
from mediagit_storage.layers.throttle.gate import Gate
from mediagit_storage.opening import open_storage
from mediagit_storage.scope import Scope, context_inside, scope
from mediagit_storage.source import BytesSource, IterableSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.manual_clock import ManualClock
from mediagit_storage.testing.wrappers import without_batch
from mediagit_storage.types import ByteRange, ListOptions, PresignOptions, PutOptions, ReadOptions


class FakeClock(ManualClock):
    """Time that passes only where somebody waits."""

    def __init__(self):
        super().__init__()
        self.waits = 0

    def wait(self, event, seconds):
        if not event.is_set():
            assert seconds is not None, "alone, nobody waits for others"
            self.waits += 1
            self.now += seconds


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def inner():
    return MemoryBackend("x")


@pytest.fixture
def throttled(inner, clock):
    def make(**limits):
        return ThrottleLayer(inner, Limits(**limits), clock=clock, wait=clock.wait)

    return make


@covers(130)
def test_a_large_put_is_paced_in_pieces(throttled, inner, clock):
    seen: list[float] = []

    class Watching(MemoryBackend):
        def put(self, key, source, options):
            def pieces():
                for piece in source.chunks():
                    seen.append(clock.now)
                    yield bytes(piece)

            return super().put(key, IterableSource(pieces()), options)

    layer = ThrottleLayer(Watching("w"), Limits(bytes_up=1_000_000), clock=clock, wait=clock.wait)
    began = clock.now
    info = layer.put("a", BytesSource(bytes(5_000_000)), PutOptions())
    assert info.size == 5_000_000
    # One second's worth was saved up.
    assert clock.now - began == pytest.approx(4.0)
    assert len(seen) == 50
    paid = [when - began for when in seen[10:]]
    assert paid == pytest.approx([0.1 * number for number in range(1, 41)])


@covers(130)
@pytest.mark.parametrize("how", ["read", "stream"])
def test_a_large_read_is_paced_in_pieces(throttled, inner, clock, how):
    data = bytes(range(256)) * 20_000
    inner.put("a", BytesSource(data), PutOptions())
    layer = throttled(bytes_down=1_000_000, burst=0.5)
    began = clock.now
    if how == "read":
        content = layer.read("a", ReadOptions())
        assert (content.data, content.start, content.info.size) == (data, 0, len(data))
    else:
        with layer.stream("a", ReadOptions()) as body:
            pieces = list(body)
            assert body.region() is None
        assert b"".join(pieces) == data
        assert max(map(len, pieces)) == 100_000
    assert clock.now - began == pytest.approx((len(data) - 500_000) / 1e6)


def test_ranges_pay_for_what_they_fetch(throttled, inner, clock):
    inner.put("a", BytesSource(bytes(1_000_000)), PutOptions())
    layer = throttled(bytes_down=1000)
    began = clock.now
    assert len(layer.read("a", ReadOptions(ByteRange(10, 1000))).data) == 1000
    assert clock.now == began
    assert len(layer.read("a", ReadOptions(ByteRange(suffix=500))).data) == 500
    assert clock.now - began == pytest.approx(0.5)


def test_requests_are_counted(throttled, clock):
    layer = throttled(requests=10, burst=0.1)
    began = clock.now
    layer.put("a", BytesSource(b"1"), PutOptions())
    for _ in range(10):
        layer.stat("a")
    assert clock.now - began == pytest.approx(1.0)
    layer.presign("a", PresignOptions())
    assert clock.now - began == pytest.approx(1.0)


def test_a_long_listing_counts_its_pages(throttled, inner, clock):
    for number in range(2500):
        inner.put(f"{number:04}", BytesSource(b""), PutOptions())
    layer = throttled(requests=1)
    began = clock.now
    assert len(list(layer.list("", ListOptions()))) == 2500
    assert clock.now - began == pytest.approx(2.0)
    layer.list("", ListOptions())
    assert clock.now - began == pytest.approx(2.0), "a listing that is not begun asks for nothing"


def test_a_failed_call_counts_as_a_request(throttled, clock):
    layer = throttled(requests=1)
    began = clock.now
    for _ in range(3):
        with pytest.raises(NotFoundError):
            layer.stat("missing")
    assert clock.now - began == pytest.approx(2.0)


def test_without_limits_nothing_waits_and_sources_pass_as_they_are(inner, clock):
    seen = []

    class Watching(MemoryBackend):
        def put(self, key, source, options):
            seen.append(source)
            return super().put(key, source, options)

    layer = ThrottleLayer(Watching("w"), clock=clock, wait=clock.wait)
    source = BytesSource(bytes(10_000_000))
    layer.put("a", source, PutOptions())
    assert len(layer.read("a", ReadOptions()).data) == 10_000_000
    assert seen == [source]
    assert clock.waits == 0


def test_limits_change_while_running(throttled, inner, clock):
    layer = throttled(bytes_down=1000)
    inner.put("a", BytesSource(bytes(20_000)), PutOptions())
    began = clock.now
    with layer.stream("a", ReadOptions()) as body:
        pieces = iter(body)
        next(pieces)
        slow = clock.now - began
        layer.limits = Limits(bytes_down=1_000_000)
        rest = sum(map(len, pieces))
    assert rest == 20_000 - 4096
    assert clock.now - began < slow + 5
    layer.limits = Limits()
    before = clock.now
    assert len(layer.read("a", ReadOptions()).data) == 20_000
    assert clock.now == before
    assert layer.limits == Limits()
    assert layer.connection_info().config["layers"] == [{"layer": "throttle"}]


def test_the_layer_is_reached_from_a_storage():
    with open_storage("memory://x", layers=["readonly", {"layer": "throttle", "bytes_up": 5, "burst": 2}]) as store:
        layer = find_layer(store.backend, ThrottleLayer)
        assert layer.limits == Limits(bytes_up=5, burst=2.0)
        layer.limits = Limits(requests=100)
        again = open_storage(store.connection_info())
        assert find_layer(again.backend, ThrottleLayer).limits == Limits(requests=100)


@pytest.mark.parametrize(
    "wrong", [{"bytes_up": 0}, {"bytes_down": -1}, {"requests": 0}, {"burst": 0}, {"requests": float("nan")}]
)
def test_limits_that_cannot_be(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Limits(**wrong)


# ---- batches


def test_a_batch_begins_operations_as_the_limits_allow(throttled, clock):
    layer = throttled(requests=10, burst=0.1)
    began = clock.now
    operations = [PutOperation(f"k{number}", BytesSource(b"x")) for number in range(11)]
    assert [done.error for done in layer.batch(iter(operations), BatchLimits())] == [None] * 11
    assert clock.now - began == pytest.approx(1.0)


def test_a_batch_pays_for_its_bytes(throttled, inner, clock):
    layer = throttled(bytes_up=1000, bytes_down=100)
    began = clock.now
    assert not [
        done
        for done in layer.batch((PutOperation(f"k{n}", BytesSource(bytes(500))) for n in range(6)), BatchLimits())
        if done.error
    ]
    assert clock.now - began == pytest.approx(2.0)
    began = clock.now
    assert not [done for done in layer.batch((ReadOperation(f"k{n}") for n in range(3)), BatchLimits()) if done.error]
    # The first one is there before anybody knows its size; it is paid before the second, and so on.
    assert clock.now - began == pytest.approx(9.0)


def test_a_large_put_of_a_batch_goes_by_itself_in_pieces(throttled, inner, clock):
    layer = throttled(bytes_up=10_000)
    began = clock.now
    operations = [
        PutOperation("a", BytesSource(b"x")),
        PutOperation("b", BytesSource(bytes(30_000))),
        None,
        PutOperation("c", IterableSource(iter([b"1", b"2"]))),
        StatOperation("a"),
        PutOperation("d", IterableSource(iter(["no bytes"]))),
        StatOperation("d"),
    ]
    completions = list(layer.batch(iter(operations), BatchLimits()))
    given = [each for each in operations if each is not None]
    assert all(done.operation is operation for done, operation in zip(completions, given, strict=True))
    assert [type(done.error) for done in completions[:4]] == [type(None)] * 4
    assert isinstance(completions[4].error, TypeError)
    assert isinstance(completions[5].error, NotFoundError)
    assert clock.now - began == pytest.approx(2.0, abs=0.01)
    assert inner.stat("b").size == 30_000


def test_a_batch_yields_nothing_now_while_others_travel(clock):
    """A native batch with two in flight is asked again, and not held up, while the limit is used up."""
    asked: list[str] = []

    class Slow(MemoryBackend):
        def batch(self, operations, limits):
            flying = []
            for operation in operations:
                asked.append("None" if operation is None else operation.key)
                if operation is not None:
                    flying.append(operation)
                if operation is None or len(flying) == 3:
                    clock.now += 0.3
                    yield from super().batch(iter([flying.pop(0)]), limits)
            while flying:
                yield from super().batch(iter([flying.pop(0)]), limits)

    layer = ThrottleLayer(Slow("s"), Limits(requests=2), clock=clock, wait=clock.wait)
    operations = (PutOperation(f"k{number}", BytesSource(b"")) for number in range(5))
    assert [done.error for done in layer.batch(operations, BatchLimits())] == [None] * 5
    assert "None" in asked
    assert [name for name in asked if name != "None"] == [f"k{number}" for number in range(5)]


@pytest.mark.parametrize("native", [True, False])
def test_many_through_a_storage(inner, clock, native):
    below = inner if native else without_batch(inner)
    store = Storage(ThrottleLayer(below, Limits(bytes_up=10**9, bytes_down=10**9, requests=10**6)))
    assert not [each for each in store.put_many((f"k{n}", b"x" * n) for n in range(300)) if each.error]
    assert [each.value for each in store.get_many(f"k{n}" for n in range(300))] == [b"x" * n for n in range(300)]


# ---- threads, scopes


@pytest.mark.parametrize("lifted", [False, True])
def test_without_a_limit_pieces_are_large(clock, lifted):
    gate = Gate(1000.0 if lifted else None, 1.0, clock, clock.wait)
    assert gate.piece == (4096 if lifted else 1024 * 1024)
    gate.change(None, 1.0)
    assert gate.piece == 1024 * 1024


def test_an_interrupt_between_two_steps_leaves_no_place_behind(clock, monkeypatch):
    gate = Gate(1.0, 1.0, clock, clock.wait)
    gate.pass_through(1)

    class Interrupting(Scope):
        def on_cancel(self, call):
            raise KeyboardInterrupt

        def check(self):
            raise KeyboardInterrupt

    def interrupt():
        raise KeyboardInterrupt

    for now in (Interrupting, interrupt):
        monkeypatch.setattr("mediagit_storage.layers.throttle.gate.current_scope", now)
        with pytest.raises(KeyboardInterrupt):
            gate.pass_through(1)
    monkeypatch.undo()
    clock.now += 1
    assert gate.try_pass(1)


def test_threads_of_a_forked_child_share_one_new_line(clock, monkeypatch):
    gate = Gate(1.0, 1.0, clock, clock.wait)
    gate.pass_through(1)
    held = gate._lines.mine()
    held.queue.append(threading.Event())
    held.lock.acquire()
    monkeypatch.setattr("os.getpid", lambda: -1)
    clock.now += 1
    assert gate.try_pass(1), "who held the lock or waited stayed in the parent"
    assert gate._lines.mine() is not held
    assert gate._lines.mine() is gate._lines.mine()


class Turnstile:
    """Waiting that ends when the test says so; the clock stands still meanwhile."""

    def __init__(self):
        self.clock = FakeClock()
        self.waiting: list[threading.Event] = []
        self.changed = threading.Condition()

    def wait(self, event, seconds):
        with self.changed:
            self.waiting.append(event)
            self.changed.notify_all()
        assert event.wait(60)

    def until(self, count):
        """Wait until so many waits have begun."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.waiting) >= count, 60)


def test_threads_are_served_in_the_order_they_came():
    turn = Turnstile()
    gate = Gate(1.0, 1.0, turn.clock, turn.wait)
    gate.pass_through(1)
    order: list[int] = []
    threads = []
    for number in range(5):

        def work(number=number):
            gate.pass_through(1)
            order.append(number)

        thread = threading.Thread(target=work)
        thread.start()
        threads.append(thread)
        turn.until(number + 1)
    assert not gate.try_pass(0.0), "who comes last does not pass those that wait"
    for served in range(5):
        turn.clock.now += 1.0
        gate.change(1.0, 1.0)
        threads[served].join(60)
        assert order == list(range(served + 1))
    assert order == list(range(5))


@covers(129)
def test_a_cancelled_wait_ends_at_once_and_pays_nothing():
    turn = Turnstile()
    gate = Gate(1.0, 1.0, turn.clock, turn.wait)
    gate.pass_through(1)
    inside = Scope()
    errors: list[Exception] = []
    served: list[str] = []

    def cancelled():
        try:
            gate.pass_through(1)
        except CancelledError as error:
            errors.append(error)

    def after_it():
        gate.pass_through(1)
        served.append("second")

    first = threading.Thread(target=context_inside(inside).run, args=(cancelled,))
    first.start()
    turn.until(1)
    second = threading.Thread(target=after_it)
    second.start()
    turn.until(2)
    inside.cancel()
    first.join(60)
    assert len(errors) == 1
    turn.clock.now += 1.0
    gate.change(1.0, 1.0)
    second.join(60)
    assert served == ["second"]
    assert not gate.try_pass(1), "the second's token is gone, the first's was never taken"
    turn.clock.now += 1.0
    assert gate.try_pass(1)


def test_a_deadline_ends_a_wait(clock):
    gate = Gate(1.0, 1.0, clock, clock.wait)
    gate.pass_through(1)
    with scope(timeout=0.25, clock=clock), pytest.raises(StorageTimeoutError):
        gate.pass_through(1)
    assert clock.now == pytest.approx(1000.25)
    clock.now += 0.75
    assert gate.try_pass(1)


def test_a_scope_that_is_over_begins_nothing(throttled, inner):
    layer = throttled(bytes_down=10, requests=1)
    inner.put("a", BytesSource(bytes(100_000)), PutOptions())
    layer.stat("a")
    with scope() as inside:
        inside.cancel()
        with pytest.raises(CancelledError):
            layer.read("a", ReadOptions())


def test_many_threads_together_keep_the_limit():
    passed = []

    class Ticking(FakeClock):
        def monotonic(self):
            with lock:
                self.now += 1e-6
                return self.now

    lock = threading.Lock()
    ticking = Ticking()
    gate = Gate(1000.0, 0.001, ticking, lambda event, seconds: None)
    began = ticking.now

    def work():
        for _ in range(20):
            gate.pass_through(1)
            passed.append(ticking.now)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == 80
    assert len(passed) <= 1 + 1000.0 * (ticking.now - began) + 1e-3
