"""The retry layer: what is repeated, how often, after which pauses, and what is never repeated."""

from __future__ import annotations

from collections import Counter

import pytest

from mediagit_storage.backend import (
    BatchLimits,
    Body,
    Completion,
    DeleteOperation,
    PutOperation,
    ReadOperation,
    StatOperation,
)
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import (
    AlreadyExistsError,
    BucketNotFoundError,
    CancelledError,
    CapacityError,
    ConfigError,
    ConnectionLostError,
    IntegrityError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    StorageError,
    StorageTimeoutError,
    ThrottledError,
    TruncatedError,
    UnavailableError,
)
from mediagit_storage.events import on_event
from mediagit_storage.http.retry import RetryPolicy, Rules
from mediagit_storage.layers.base import Layer, find_layer
from mediagit_storage.layers.retry import RetryLayer
from mediagit_storage.opening import open_storage
from mediagit_storage.scope import scope
from mediagit_storage.source import BytesSource, IterableSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.manual_clock import ManualClock
from mediagit_storage.testing.wrappers import WithoutCapabilities
from mediagit_storage.types import (
    Attributes,
    ByteRange,
    CopyOptions,
    DeleteOptions,
    ListOptions,
    PutOptions,
    ReadOptions,
)


class Breaking(Layer):
    """``inner`` with failures: ``before`` and ``after`` hold errors by the name of the method, used up one a call.

    An error of ``after`` is one whose answer got lost: the work is done. Each item of a batch uses those of its method.
    """

    layer_name = "breaking"

    def __init__(self, inner, **before):
        super().__init__(inner, None)
        self.before = {name: list(errors) for name, errors in before.items()}
        self.after: dict[str, list[Exception]] = {}
        self.calls: Counter[str] = Counter()

    def attempt(self, name, call):
        self.calls[name] += 1
        if self.before.get(name):
            raise self.before[name].pop(0)
        value = call()
        if self.after.get(name):
            raise self.after[name].pop(0)
        return value

    def put(self, key, source, options):
        return self.attempt("put", lambda: self.inner.put(key, source, options))

    def read(self, key, options):
        return self.attempt("read", lambda: self.inner.read(key, options))

    def stream(self, key, options):
        return self.attempt("stream", lambda: self.inner.stream(key, options))

    def stat(self, key, version=None):
        return self.attempt("stat", lambda: self.inner.stat(key, version))

    def delete(self, key, options):
        return self.attempt("delete", lambda: self.inner.delete(key, options))

    def copy(self, source, target, options):
        return self.attempt("copy", lambda: self.inner.copy(source, target, options))

    def rename(self, source, target, *, if_absent=False):
        return self.attempt("rename", lambda: self.inner.rename(source, target, if_absent=if_absent))

    def create(self, *, versioning=None):
        return self.attempt("create", lambda: self.inner.create(versioning=versioning))

    def replace_head(self, key, head, old_length, *, if_match):
        return self.attempt("replace_head", lambda: self.inner.replace_head(key, head, old_length, if_match=if_match))

    def content_checksum(self, key, options):
        return self.attempt("content_checksum", lambda: self.inner.content_checksum(key, options))

    def batch(self, operations, limits):
        calls = {
            PutOperation: lambda each: self.put(each.key, each.source, each.options),
            ReadOperation: lambda each: self.read(each.key, each.options),
            StatOperation: lambda each: self.stat(each.key, each.version),
            DeleteOperation: lambda each: self.delete(each.key, each.options),
        }
        for operation in operations:
            if operation is not None:
                try:
                    value, error = calls[type(operation)](operation), None
                except Exception as failure:  # noqa: BLE001  # it belongs to its operation
                    value, error = None, failure
                yield Completion(operation, value, error)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def inner():
    backend = MemoryBackend("x")
    backend.put("a", BytesSource(b"content of a"), PutOptions())
    return backend


def over(backend, clock, *, random=lambda: 0.5, **policy):
    return RetryLayer(backend, rules=Rules(RetryPolicy(**policy), clock, clock.sleep, random))


def lost():
    return ConnectionLostError("it broke")


# ---- what is repeated

READS = {
    "read": lambda layer: layer.read("a", ReadOptions()).data,
    "stream": lambda layer: b"".join(layer.stream("a", ReadOptions())),
    "stat": lambda layer: layer.stat("a").size,
    "delete": lambda layer: layer.delete("a", DeleteOptions()),
    "copy": lambda layer: layer.copy("a", "b", CopyOptions()).size,
    "create": lambda layer: layer.create(),
    "put": lambda layer: layer.put("a", BytesSource(b"new"), PutOptions()).size,
    "content_checksum": lambda layer: layer.content_checksum("a", ReadOptions()),
}


@covers(122)
@pytest.mark.parametrize("kind", [ConnectionLostError, StorageTimeoutError, ThrottledError, UnavailableError])
@pytest.mark.parametrize("name", READS)
def test_what_does_no_harm_is_repeated(inner, clock, name, kind):
    expected = READS[name](MemoryCopy(inner))
    breaking = Breaking(inner, **{name: [kind("once"), kind("twice")]})
    assert READS[name](over(breaking, clock)) == expected
    assert breaking.calls[name] == 3
    assert clock.slept == [0.1, 0.2]


def MemoryCopy(inner):
    copy = MemoryBackend("copy")
    copy.put("a", BytesSource(inner.read("a", ReadOptions()).data), PutOptions())
    return copy


@covers(127)
@pytest.mark.parametrize(
    "error",
    [
        NotFoundError("x"),
        PermissionDeniedError("x"),
        CapacityError("x"),
        PreconditionError("x"),
        IntegrityError("x"),
        ConfigError("x"),
        CancelledError("x"),
        StorageError("vendor"),
        OSError("of a source"),
    ],
)
@pytest.mark.parametrize("name", ["read", "put", "stat"])
def test_what_is_permanent_fails_at_once(inner, clock, name, error):
    breaking = Breaking(inner, **{name: [error]})
    with pytest.raises(type(error)) as caught:
        READS[name](over(breaking, clock))
    assert caught.value is error
    assert breaking.calls[name] == 1
    assert clock.slept == []


@covers(123, 126)
def test_the_last_error_is_raised_with_attempts_and_time(inner, clock):
    errors = [lost() for _ in range(4)]
    breaking = Breaking(inner, stat=list(errors))
    with pytest.raises(ConnectionLostError, match=r"it broke \(4 attempts in 0.7 s\)") as caught:
        over(breaking, clock, attempts=4).stat("a")
    assert caught.value is errors[3]
    assert clock.slept == [0.1, 0.2, 0.4]


@covers(123)
def test_bounds_of_the_pauses(inner, clock):
    breaking = Breaking(inner, stat=[lost() for _ in range(100)])
    with pytest.raises(ConnectionLostError):
        over(breaking, clock, attempts=100, base=1.0, cap=4.0, total=20.0, random=lambda: 1.0).stat("a")
    assert clock.slept == [1.0, 2.0, 4.0, 4.0, 4.0, 4.0]
    assert breaking.calls["stat"] == 7


def test_one_attempt_is_one(inner, clock):
    breaking = Breaking(inner, stat=[lost()])
    with pytest.raises(ConnectionLostError, match=r"broke$"):
        over(breaking, clock, attempts=1).stat("a")


@pytest.mark.parametrize("seconds", [7, 7.5])
def test_what_the_storage_asks_to_wait_is_waited(inner, clock, seconds):
    error = ThrottledError("slow down")
    error.retry_after = seconds
    assert over(Breaking(inner, stat=[error]), clock).stat("a").size == 12
    assert clock.slept == [seconds]
    again = ThrottledError("slow down")
    again.retry_after = seconds
    layer = over(Breaking(inner, put=[again]), clock)
    assert layer.put("b", BytesSource(b"1"), PutOptions()).size == 1
    [done] = layer.batch(iter([StatOperation("b")]), BatchLimits())
    assert done.error is None


@covers(123)
def test_a_pause_that_the_scope_does_not_allow_is_not_begun(inner, clock):
    breaking = Breaking(inner, stat=[lost()])
    with scope(timeout=0.05, clock=clock), pytest.raises(ConnectionLostError):
        over(breaking, clock).stat("a")
    assert clock.slept == []


def test_a_pause_ends_when_the_scope_is_cancelled(inner):
    breaking = Breaking(inner, stat=[lost(), lost()])
    layer = RetryLayer(breaking, RetryPolicy(base=600.0, cap=600.0, total=None))
    with scope() as inside, on_event(lambda _event: inside.cancel()), pytest.raises(CancelledError):
        layer.stat("a")
    assert breaking.calls["stat"] == 1


def test_each_new_attempt_is_told(inner, clock):
    events = []
    with on_event(events.append):
        over(Breaking(inner, read=[lost()]), clock).read("a", ReadOptions())
    assert [(event.kind, event.fields["attempt"]) for event in events] == [("retry", 2)]
    assert "'a' again in 0.10 s: ConnectionLostError" in events[0].message


# ---- sources


@covers(124)
def test_a_source_is_read_again_from_its_start(inner, clock):
    class HalfWay(MemoryBackend):
        failures = 2

        def put(self, key, source, options):
            pieces = source.chunks()
            if self.failures:
                self.failures -= 1
                next(pieces)
                raise lost()
            return super().put(key, IterableSource(list(pieces)), options)

    layer = over(HalfWay("h"), clock)
    layer.put("b", IterableSource([b"1", b"2", b"3"]), PutOptions())
    assert layer.read("b", ReadOptions()).data == b"123"


@covers(124)
def test_a_source_that_is_read_once_is_not_repeated(inner, clock):
    breaking = Breaking(inner)
    breaking.after["put"] = [lost()]
    with pytest.raises(ConnectionLostError):
        over(breaking, clock).put("b", IterableSource(iter([b"1"])), PutOptions())
    assert breaking.calls["put"] == 1


@covers(124)
def test_a_source_that_nobody_began_to_read_is_good_for_another_attempt(inner, clock):
    breaking = Breaking(inner, put=[lost(), ThrottledError("x")])
    layer = over(breaking, clock)
    assert layer.put("b", IterableSource(iter([b"1"])), PutOptions()).size == 1
    breaking.before["put"] = [ThrottledError("y"), lost()]
    [done] = layer.batch(iter([PutOperation("c", IterableSource(iter([b"12"])))]), BatchLimits())
    assert done.value.size == 2


# ---- writes on a condition


def create_only():
    return PutOptions(if_absent=True)


def test_a_create_whose_answer_got_lost_is_known_again(inner, clock):
    breaking = Breaking(inner)
    breaking.after["put"] = [lost()]
    layer = over(breaking, clock)
    given = PutOptions(Attributes(content_type="image/png", metadata={"own": "entry"}), if_absent=True)
    info = layer.put("b", BytesSource(b"mine"), given)
    assert (info.key, info.size, info.etag) == ("b", 4, inner.stat("b").etag)
    assert breaking.calls["put"] == 2
    assert Storage(layer).stat("b").attributes.metadata == {"own": "entry"}
    assert layer.stat("b").attributes.content_type == "image/png"
    with pytest.raises(AlreadyExistsError):
        layer.put("b", BytesSource(b"other"), create_only())


def test_a_create_that_another_writer_won_is_refused(inner, clock):
    class Raced(Breaking):
        def put(self, key, source, options):
            if self.calls["put"] == 0:
                self.inner.put(key, BytesSource(b"the other's"), PutOptions())
            return super().put(key, source, options)

    breaking = Raced(inner, put=[lost()])
    with pytest.raises(AlreadyExistsError):
        over(breaking, clock).put("b", BytesSource(b"mine"), create_only())
    assert inner.read("b", ReadOptions()).data == b"the other's"


def test_an_update_whose_answer_got_lost_is_known_again(inner, clock):
    breaking = Breaking(inner)
    breaking.after["put"] = [lost()]
    options = PutOptions(if_match=inner.stat("a").etag)
    info = over(breaking, clock).put("a", BytesSource(b"mine"), options)
    assert info.etag == inner.stat("a").etag
    with pytest.raises(PreconditionError):
        over(breaking, clock).put("a", BytesSource(b"again"), options)


class Lost(Breaking):
    """The answer to the first put gets lost; ``then`` is done at once, and ``late`` before the next look."""

    def __init__(self, inner, then=lambda: None, late=lambda: None):
        super().__init__(inner)
        self.after["put"] = [lost()]
        self.then, self.late = then, late

    def put(self, key, source, options):
        try:
            return super().put(key, source, options)
        except ConnectionLostError:
            self.then()
            raise

    def stat(self, key, version=None):
        self.late()
        return super().stat(key, version)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("meanwhile", ["built on", "deleted"])
def test_an_update_that_somebody_built_on_is_not_told_to_be_refused(inner, clock, meanwhile, native):
    def act():
        if meanwhile == "deleted":
            inner.delete("a", DeleteOptions())
        else:
            inner.put("a", BytesSource(inner.read("a", ReadOptions()).data + b", and more"), PutOptions())

    layer = over(Lost(inner, act), clock)
    options = PutOptions(if_match=inner.stat("a").etag)
    if native:
        [done] = layer.batch(iter([PutOperation("a", BytesSource(b"mine"), options)]), BatchLimits())
        error = done.error
    else:
        with pytest.raises(StorageError) as caught:
            layer.put("a", BytesSource(b"mine"), options)
        error = caught.value
    assert type(error) is UnavailableError
    assert "the outcome is unknown: an answer got lost (it broke" in error.message
    if meanwhile == "built on":
        assert inner.read("a", ReadOptions()).data == b"mine, and more"


def test_a_create_that_is_gone_when_it_is_looked_for_is_not_told_to_be_refused(inner, clock):
    breaking = Lost(inner, late=lambda: inner.delete("b", DeleteOptions()))
    with pytest.raises(UnavailableError, match=r"the outcome is unknown.*the object is gone now"):
        over(breaking, clock).put("b", BytesSource(b"mine"), create_only())


def test_a_create_that_somebody_built_on_met_an_object(inner, clock):
    breaking = Lost(inner, lambda: inner.put("b", BytesSource(b"theirs"), PutOptions()))
    with pytest.raises(AlreadyExistsError):
        over(breaking, clock).put("b", BytesSource(b"mine"), create_only())


def test_a_bucket_that_is_gone_is_told_as_such(inner, clock):
    breaking = Breaking(inner, put=[lost(), BucketNotFoundError("no bucket")])
    with pytest.raises(BucketNotFoundError):
        over(breaking, clock).put("b", BytesSource(b"mine"), create_only())


def test_what_was_lost_is_told_and_not_what_came_later(inner, clock):
    class Gone(Lost):
        def put(self, key, source, options):
            if self.calls["put"] == 1:
                self.before["put"] = [ThrottledError("slow down")]
            return super().put(key, source, options)

    layer = over(Gone(inner, lambda: inner.delete("a", DeleteOptions())), clock, attempts=5)
    with pytest.raises(UnavailableError, match=r"an answer got lost \(it broke\)"):
        layer.put("a", BytesSource(b"mine"), PutOptions(if_match=inner.stat("a").etag))


def test_what_storages_put_tells_has_no_mark(inner, clock):
    store = Storage(over(Lost(inner), clock))
    assert store.put("b", b"mine", attributes=Attributes(metadata={"x": "y"}), if_absent=True).attributes.metadata == {
        "x": "y"
    }


def test_a_create_from_a_source_that_is_read_once_is_looked_up(inner, clock):
    breaking = Breaking(inner)
    breaking.after["put"] = [lost()]
    info = over(breaking, clock).put("b", IterableSource(iter([b"mine"])), create_only())
    assert info.size == 4
    assert breaking.calls["put"] == 1


def test_late_attributes_carry_the_mark_as_well(inner, clock):
    breaking = Breaking(inner)
    breaking.after["put"] = [lost()]
    options = PutOptions(if_absent=True, late_attributes=lambda: Attributes(metadata={"late": "1"}))
    layer = over(breaking, clock)
    assert layer.put("b", BytesSource(b"mine"), options).size == 4
    assert Storage(layer).stat("b").attributes.metadata == {"late": "1"}


def test_without_metadata_an_unknown_outcome_is_raised_as_it_is(inner, clock):
    breaking = Breaking(WithoutCapabilities(inner, "attributes"))
    breaking.after["put"] = [lost()]
    with pytest.raises(ConnectionLostError, match=r"broke$"):
        over(breaking, clock).put("b", BytesSource(b"mine"), create_only())
    assert breaking.calls["put"] == 1
    breaking.before["put"] = [ThrottledError("nothing was done")]
    assert over(breaking, clock).put("c", BytesSource(b"mine"), create_only()).size == 4


def test_who_cannot_look_does_not_blame_another_writer(inner, clock):
    breaking = Breaking(inner, stat=[lost(), lost(), lost()])
    breaking.after["put"] = [lost()]
    with pytest.raises(ConnectionLostError, match="3 attempts") as caught:
        over(breaking, clock).put("b", BytesSource(b"mine"), create_only())
    assert isinstance(caught.value.__cause__, AlreadyExistsError)


def test_a_look_that_fails_leaves_the_error_of_the_write(inner, clock):
    error = StorageTimeoutError("the write's")
    breaking = Breaking(inner, stat=[lost()])
    breaking.after["put"] = [error]
    with pytest.raises(StorageTimeoutError) as caught:
        over(breaking, clock, attempts=1).put("b", BytesSource(b"mine"), create_only())
    assert caught.value is error


def test_plain_puts_are_not_marked(inner, clock):
    over(inner, clock).put("b", BytesSource(b"1"), PutOptions())
    assert inner.stat("b").attributes.metadata == {}


@pytest.mark.parametrize("how", ["stat", "read", "stream", "copy", "rename", "put", "batch"])
def test_the_mark_is_shown_to_nobody(inner, clock, how):
    store = Storage(over(inner, clock))
    put = store.put("b", b"1", attributes=Attributes(metadata={"x": "y"}), if_absent=True)
    assert "mgs-retry" in inner.stat("b").attributes.metadata
    info = {
        "stat": lambda: store.stat("b"),
        "read": lambda: store.open("b").info,
        "stream": lambda: store.stream("b").info,
        "copy": lambda: store.copy("b", "c") and store.stat("c"),
        "rename": lambda: store.rename("b", "c") and store.stat("c"),
        "put": lambda: put,
        "batch": lambda: next(iter(store.stat_many(["b"]))).value,
    }[how]()
    assert info.attributes is None or info.attributes.metadata == {"x": "y"}


# ---- what might have been done

ONCE = {
    "rename": lambda layer: layer.rename("a", "b"),
    "delete": lambda layer: layer.delete("a", DeleteOptions(missing_ok=False)),
    "copy": lambda layer: layer.copy("a", "b", CopyOptions(if_absent=True)),
    "replace_head": lambda layer: layer.replace_head("a", b"", 0, if_match="x"),
}


@pytest.mark.parametrize("name", ONCE)
def test_what_might_have_been_done_is_not_done_again(inner, clock, name):
    breaking = Breaking(inner, **{name: [lost()]})
    with pytest.raises(ConnectionLostError):
        ONCE[name](over(breaking, clock))
    assert breaking.calls[name] == 1


@pytest.mark.parametrize("name", [name for name in ONCE if name != "replace_head"])
def test_what_was_refused_for_now_is_done_again(inner, clock, name):
    breaking = Breaking(inner, **{name: [ThrottledError("later")]})
    ONCE[name](over(breaking, clock))
    assert breaking.calls[name] == 2


# ---- bodies


class Cut(Body):
    """A body that breaks off after some bytes."""

    def __init__(self, inner, after, error):
        self.info, self.start, self.length = inner.info, inner.start, inner.length
        self.inner, self.after, self.error = inner, after, error
        self.closed = False

    def __iter__(self):
        left = self.after
        for piece in self.inner:
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                raise self.error

    def close(self):
        self.closed = True
        self.inner.close()


class Cutting(MemoryBackend):
    """Streams break off after each of ``cuts`` bytes; ``between`` is called before each that follows."""

    cuts: tuple[int, ...] = ()
    error: Exception | None = None

    def __init__(self, name, **options):
        super().__init__(name, **options)
        self.left = list(self.cuts)
        self.asked: list[ReadOptions] = []
        self.between = lambda: None

    def stream(self, key, options):
        if self.asked:
            self.between()
        self.asked.append(options)
        body = super().stream(key, options)
        return Cut(body, self.left.pop(0), self.error or lost()) if self.left else body


DATA = bytes(range(256)) * 4


def cutting(*cuts, error=None, **options):
    backend = Cutting("c", **options)
    backend.left = list(cuts)
    backend.error = error
    backend.put("a", BytesSource(DATA), PutOptions())
    return backend


@covers(138)
@pytest.mark.parametrize("error", [ConnectionLostError("x"), StorageTimeoutError("x"), TruncatedError("x")])
def test_a_body_goes_on_where_it_broke_off(clock, error):
    backend = cutting(100, 200, 50, 1, 300, error=error)
    with over(backend, clock).stream("a", ReadOptions(ByteRange(10, 1000))) as body:
        assert (body.start, body.length, body.info.size) == (10, 1000, 1024)
        assert b"".join(body) == DATA[10:1010]
    asked = [each.range[:2] for each in backend.asked]
    assert asked == [(10, 1000), (110, 900), (310, 700), (360, 650), (361, 649), (661, 349)]
    etag = backend.stat("a").etag
    assert {each.if_match for each in backend.asked[1:]} == {etag}


@covers(139)
@pytest.mark.parametrize("change", ["overwrite", "delete"])
def test_a_body_is_never_made_of_two_versions(clock, change):
    backend = cutting(100)
    if change == "delete":
        backend.between = lambda: backend.delete("a", DeleteOptions())
    else:
        backend.between = lambda: backend.put("a", BytesSource(DATA[::-1]), PutOptions())
    body = over(backend, clock).stream("a", ReadOptions())
    got = []
    with body, pytest.raises(ConnectionLostError, match="overwritten or deleted meanwhile"):
        got.extend(body)
    assert b"".join(got) == DATA[:100]


def test_an_old_version_goes_on_by_its_name(clock):
    backend = cutting(100, versioning=True)
    version = backend.stat("a").version
    backend.between = lambda: backend.put("a", BytesSource(b"newer"), PutOptions())
    assert b"".join(over(backend, clock).stream("a", ReadOptions(version=version))) == DATA
    assert backend.asked[1].version == version


def test_where_nothing_tells_versions_apart_a_body_is_not_gone_on_with(clock):
    backend = WithoutCapabilities(cutting(100), "read_conditions", "versions")
    with (
        over(backend, clock).stream("a", ReadOptions()) as body,
        pytest.raises(ConnectionLostError, match=r"^it broke$"),
    ):
        list(body)


def test_a_storage_that_does_not_go_on_where_it_stopped(clock):
    class Whole(Cutting):
        def stream(self, key, options):
            return super().stream(key, ReadOptions() if self.asked else options)

    backend = Whole("w")
    backend.left = [100]
    backend.put("a", BytesSource(DATA), PutOptions())
    with (
        over(backend, clock).stream("a", ReadOptions()) as body,
        pytest.raises(ConnectionLostError, match="does not go on"),
    ):
        list(body)


def test_attempts_are_counted_for_each_piece(clock):
    backend = cutting(*([10] * 20), 0)
    assert b"".join(over(backend, clock, attempts=3).stream("a", ReadOptions())) == DATA
    stuck = cutting(10, 0, 0, 0)
    with (
        over(stuck, clock, attempts=3).stream("a", ReadOptions()) as body,
        pytest.raises(ConnectionLostError, match="3 attempts"),
    ):
        list(body)


def test_opening_the_rest_is_repeated_too(clock):
    backend = cutting(100)
    errors = [ThrottledError("later"), lost()]

    def fail():
        if errors:
            raise errors.pop()

    backend.between = fail
    assert b"".join(over(backend, clock, attempts=4).stream("a", ReadOptions())) == DATA


def test_other_errors_of_a_body_pass(clock):
    backend = cutting(100, error=IntegrityError("wrong bytes"))
    with over(backend, clock).stream("a", ReadOptions()) as body, pytest.raises(IntegrityError, match=r"^wrong bytes$"):
        list(body)
    assert len(backend.asked) == 1


def test_a_closed_body_ends(clock):
    backend = cutting(100)
    body = over(backend, clock).stream("a", ReadOptions())
    body.close()
    body.close()
    assert list(body) == []
    assert body.region() is None


# ---- listings


class BrokenListing(Layer):
    """Listings break off after every ``each`` entries, and now and then before the first."""

    layer_name = "broken-listing"

    def __init__(self, name, each=3, **options):
        super().__init__(MemoryBackend(name, **options), None)
        self.each = each
        self.begun = 0

    def broken(self, entries):
        self.begun += 1
        if self.begun % 2 == 0:
            raise UnavailableError("not now")
        for number, entry in enumerate(entries):
            if number == self.each:
                raise lost()
            yield entry

    def list(self, prefix, options):
        return self.broken(super().list(prefix, options))

    def list_dir(self, prefix, options):
        return self.broken(super().list_dir(prefix, options))


@covers(60)
@pytest.mark.parametrize("after", [None, "d/0005"])
@pytest.mark.parametrize("method", ["list", "list_dir"])
def test_a_listing_goes_on_after_its_last_entry(clock, after, method):
    backend = BrokenListing("l")
    for number in range(20):
        backend.put(f"d/{number:04}/x", BytesSource(b""), PutOptions())
        backend.put(f"d/{number:04}", BytesSource(b""), PutOptions())
    options = ListOptions(start_after=after)
    found = list(getattr(over(backend, clock), method)("d/", options))
    assert found == list(getattr(backend.inner, method)("d/", options))
    assert len(found) > 20
    assert backend.begun > 10


def test_a_listing_of_versions_goes_on(clock):
    # Each time it begins with a key's versions anew: so many have to come in one run.
    backend = BrokenListing("l", each=4, versioning=True)
    for number in range(4):
        for _ in range(3):
            backend.put(f"k{number}", BytesSource(b""), PutOptions())
    options = ListOptions(versions=True)
    found = list(over(backend, clock).list("", options))
    assert found == list(backend.inner.list("", options))
    assert len(found) == 12


def test_a_listing_that_never_goes_on_fails(clock):
    backend = BrokenListing("l", each=0)
    backend.put("a", BytesSource(b""), PutOptions())
    with pytest.raises(StorageError, match="3 attempts"):
        list(over(backend, clock).list("", ListOptions()))


def test_a_listing_that_is_left_closes_the_inner_one(clock):
    closed = []

    class Closing(MemoryBackend):
        def list(self, prefix, options):
            try:
                yield from super().list(prefix, options)
            finally:
                closed.append(prefix)

    backend = Closing("l")
    for key in "abc":
        backend.put(key, BytesSource(b""), PutOptions())
    listing = over(backend, clock).list("", ListOptions())
    next(listing)
    listing.close()
    assert closed == [""]


@pytest.mark.parametrize("begun", [False, True])
def test_a_listing_of_uploads_begins_anew_while_nothing_came(clock, begun):
    class Uploads(MemoryBackend):
        times = 0

        def pending_uploads(self, prefix):
            self.times += 1
            if begun:
                yield "upload"
            if self.times == 1:
                raise lost()
            yield "another"

    layer = over(Uploads("u"), clock)
    if begun:
        with pytest.raises(ConnectionLostError):
            list(layer.pending_uploads(""))
    else:
        assert list(layer.pending_uploads("")) == ["another"]


# ---- batches


def test_operations_of_a_batch_are_repeated_one_by_one(inner, clock):
    breaking = Breaking(inner, read=[lost(), ThrottledError("x")], stat=[lost(), lost()], delete=[NotFoundError("x")])
    breaking.after["put"] = [lost()]
    operations = [
        ReadOperation("a"),
        None,
        PutOperation("b", BytesSource(b"1"), PutOptions(if_absent=True)),
        StatOperation("a"),
        PutOperation("c", IterableSource(iter([b"1"]))),
        DeleteOperation("d"),
    ]
    completions = {id(done.operation): done for done in over(breaking, clock).batch(iter(operations), BatchLimits())}
    read, put, stat, once, delete = (completions[id(each)] for each in operations if each is not None)
    assert read.value.data == b"content of a"
    assert put.error is None
    assert put.value.size == 1
    assert stat.value.size == 12
    assert once.error is None
    assert isinstance(delete.error, NotFoundError)
    assert breaking.calls == Counter(read=3, put=3, stat=4, delete=1)


def test_a_batch_goes_on_while_one_waits(inner, clock):
    breaking = Breaking(inner, read=[lost()])
    operations = [ReadOperation("a"), StatOperation("a"), StatOperation("a")]
    order = [done.operation for done in over(breaking, clock).batch(iter(operations), BatchLimits())]
    assert order == [operations[1], operations[2], operations[0]]


def test_a_batch_is_lazy_and_closes(inner, clock):
    pulled = []

    def operations():
        for number in range(100):
            pulled.append(number)
            yield StatOperation("a")

    batch = over(inner, clock).batch(operations(), BatchLimits())
    next(batch)
    batch.close()
    assert len(pulled) == 1


def test_through_a_storage(inner, clock):
    breaking = Breaking(inner, read=[lost(), lost()], put=[lost()])
    store = Storage(over(breaking, clock))
    assert not [each for each in store.put_many((f"k{n}", b"x") for n in range(50)) if each.error]
    assert [each.value for each in store.get_many(f"k{n}" for n in range(50))] == [b"x"] * 50
    assert store.copy("k1", "k2").size == 1


def test_options_of_a_profile():
    with open_storage("memory://x", layers=[{"layer": "retry", "attempts": 5, "base": 1, "total": 10.0}]) as store:
        layer = find_layer(store.backend, RetryLayer)
        assert layer.config == RetryPolicy(attempts=5, base=1.0, total=10.0)
        again = open_storage(store.connection_info())
        assert find_layer(again.backend, RetryLayer).config == layer.config
    with pytest.raises(ConfigError, match="attempts"):
        open_storage("memory://x", layers=[{"layer": "retry", "attempts": 0}])
