"""Large objects, many objects and many users at once, on every server: what goes up comes down, whole and once."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import os
import pickle
import random
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from mediagit_storage.backend import DEFAULT_LIMITS, DeleteOperation, PutOperation, ReadOperation, StatOperation
from mediagit_storage.backends.s3 import copying
from mediagit_storage.errors import (
    AlreadyExistsError,
    ChecksumError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    StorageError,
    UnavailableError,
)
from mediagit_storage.opening import open_storage
from mediagit_storage.source import BytesSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.emulators.known_faults import KNOWN_FAULTS
from mediagit_storage.testing.emulators.raw_s3 import call
from mediagit_storage.testing.fault_proxy import Fault, FaultProxy, is_method
from mediagit_storage.testing.sources import content, failing, long_stream
from mediagit_storage.testing.toxics import Corrupt, CutAnswer, Fail
from mediagit_storage.types import Attributes

MIB = 1024 * 1024
PART = 5 * MIB
SMALL = {"part_size": PART, "multipart_threshold": 6 * MIB}


def has_fault(server, name):
    return server.name in KNOWN_FAULTS[name].servers


@pytest.fixture
def small(server, bucket, open_s3):
    """The bucket opened so that 6 MiB are already many: parts of 5 MiB."""
    return Storage(open_s3(server, bucket, **SMALL))


@pytest.fixture
def through(server, bucket, open_s3):
    """Opens the bucket through a proxy with these faults."""

    def enter(*faults, **options):
        proxy = FaultProxy(server.host, faults)
        return proxy, Storage(open_s3(server, bucket, endpoint=proxy.url, **SMALL, **options))

    return enter


# ---- large objects


def test_a_large_file_goes_up_and_comes_down(small, tmp_path):
    """70 MiB and a byte, in parts both ways, by file and by stream."""
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        file.writelines(long_stream(70 * MIB + 1))
    digest = hashlib.sha256(source.read_bytes()).digest()
    assert small.upload(source, "k").size == 70 * MIB + 1
    small.download("k", target)
    assert hashlib.sha256(target.read_bytes()).digest() == digest
    streamed = hashlib.sha256()
    with small.stream("k") as pieces:
        for piece in pieces:
            streamed.update(piece)
    assert streamed.digest() == digest
    assert [*small.pending_uploads()] == []


@pytest.mark.parametrize("size", [6 * MIB, 2 * PART - 1, 2 * PART, 2 * PART + 1, 3 * PART])
def test_parts_are_as_many_as_are_needed(through, tmp_path, size):
    (tmp_path / "file").write_bytes(content(size))
    proxy, store = through()
    with proxy:
        store.upload(tmp_path / "file", "k")
        assert len(sent_parts(proxy)) == (-(-size // PART) if size > 6 * MIB else 0)
        assert store.get("k") == content(size)
        assert [*store.pending_uploads()] == []


def test_a_part_read_across_the_borders_of_parts(small):
    data = content(2 * PART + 100)
    small.put("k", data)
    for offset, length in ((PART - 3, 6), (0, 1), (PART, PART), (2 * PART - 1, 101), (2 * PART + 99, 1)):
        assert small.get("k", offset=offset, length=length) == data[offset : offset + length]
    places = [(PART - 1, 2), (2 * PART + 50, 10), (0, 5)]
    assert small.get_ranges("k", places) == [data[start : start + length] for start, length in places]
    assert small.get("k", suffix=50) == data[-50:]


def test_an_open_file_serves_many_readers(small):
    data = content(7 * MIB)
    small.put("k", data)
    chance = random.Random(1)
    places = [(chance.randrange(len(data)), chance.randrange(1, 100_000)) for _ in range(24)]
    with small.open("k") as file, ThreadPoolExecutor(6) as pool:
        found = [*pool.map(lambda place: file.read_at(*place), places)]
    assert found == [data[start : start + length] for start, length in places]


def test_a_writer_that_is_left_by_an_error_stores_nothing(small):
    def write():
        with small.open("k", "wb") as file:
            file.write(content(12 * MIB))
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        write()
    assert not small.exists("k")
    assert [*small.pending_uploads()] == []
    with small.open("k", "wb") as file:
        for piece in (content(6 * MIB), b"", content(3 * MIB, 1)):
            file.write(piece)
    assert small.get("k") == content(6 * MIB) + content(3 * MIB, 1)


def test_a_failing_stream_keeps_the_old_object(small):
    small.put("k", b"old")
    for length in (1000, 11 * MIB):
        with pytest.raises(Exception, match="half-way"):
            small.put("k", failing(content(length), piece=MIB))
        assert small.get("k") == b"old"
    assert [*small.pending_uploads()] == []


# ---- copies


@pytest.fixture
def short_copies(server, small, monkeypatch):
    """Copies above 6 MiB go in parts of 5 MiB, as those above 5 GiB do."""
    if has_fault(server, "copies-no-parts"):
        pytest.skip(f"{server.name} copies no parts")
    monkeypatch.setattr(copying, "_COPY_PART", PART)
    client = small.backend._copier._client
    monkeypatch.setattr(client, "service", replace(client.service, max_copy=6 * MIB))
    return small


@pytest.mark.parametrize("size", [0, 1, 6 * MIB, 6 * MIB + 1, 2 * PART, 2 * PART + 1])
def test_copies_of_every_size(server, short_copies, size):
    kept = Attributes(content_type="video/x-own", metadata={"a": "é"})
    short_copies.put("k", content(size), attributes=kept)
    short_copies.copy("k", "l")
    large = size > 6 * MIB
    if size and not large and has_fault(server, "copies-keep-the-checksum-of-parts"):
        short_copies.put("k", content(size), attributes=kept)
    found = short_copies.stat("l")
    assert found.size == size
    assert found.attributes.content_type == "video/x-own"
    assert found.attributes.metadata["a"] == "é"
    assert short_copies.get("l") == content(size)
    assert [*short_copies.pending_uploads()] == []


def test_a_copy_in_parts_may_change_attributes_and_overwrites_whole(short_copies):
    short_copies.put("k", content(8 * MIB), attributes=Attributes(metadata={"a": "1"}))
    short_copies.put("l", b"old")
    short_copies.copy("k", "l", attributes=Attributes(metadata={"b": "2"}))
    assert short_copies.get("l") == content(8 * MIB)
    assert dict(short_copies.stat("l").attributes.metadata) == {"b": "2"}


def test_a_rename_of_a_large_object_leaves_one(short_copies):
    short_copies.put("k", content(8 * MIB))
    short_copies.rename("k", "new name")
    assert [info.key for info in short_copies.list()] == ["new name"]
    assert short_copies.get("new name") == content(8 * MIB)


# ---- many at once


def test_parallel_writers_of_their_own_keys(small):
    """Eight users, each with small, middle and large objects."""
    sizes = [0, 1, 70_000, 6 * MIB + 3, 20]

    def write(number):
        for turn, size in enumerate(sizes):
            small.put(f"{number}/{turn}", content(size, number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    expected = {f"{number}/{turn}": (size, number) for number in range(8) for turn, size in enumerate(sizes)}
    assert {info.key: info.size for info in small.list()} == {key: size for key, (size, _) in expected.items()}
    for outcome in small.get_many(expected):
        assert outcome.value == content(*expected[outcome.key])
    assert [*small.pending_uploads()] == []


@pytest.mark.parametrize("size", [100, 7 * MIB])
def test_of_many_creators_one_wins(small, size):
    """Also with uploads in parts; the others' parts are gone."""
    if not small.capabilities.if_absent:
        pytest.skip("this service has no conditional writes")

    def create(number):
        try:
            small.put("k", content(size, number), if_absent=True)
        except AlreadyExistsError:
            return None
        return number

    with ThreadPoolExecutor(6) as pool:
        winners = [number for number in pool.map(create, range(6)) if number is not None]
    assert len(winners) == 1
    assert small.get("k") == content(size, winners[0])
    assert [*small.pending_uploads()] == []


def test_a_counter_that_is_only_written_as_it_was_counts_right(store):
    if not store.capabilities.if_match:
        pytest.skip("this service has no conditional writes")
    store.put("n", b"0")

    def count(_):
        done = 0
        while done < 5:
            etag = store.stat("n").etag
            try:
                value = int(store.get("n", if_match=etag))
                store.put("n", str(value + 1).encode(), if_match=etag)
                done += 1
            except PreconditionError:
                continue

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    assert store.get("n") == b"20"


def test_one_storage_serves_many_threads(store):
    def work(number):
        chance = random.Random(number)
        for turn in range(15):
            key, data = f"{number}/{chance.randrange(4)}", content(chance.randrange(5000), turn)
            store.put(key, data)
            assert store.get(key) == data
            assert store.stat(key).size == len(data)
            if chance.random() < 0.3:
                store.delete(key)
                assert not store.exists(key)
            assert {info.key.split("/")[0] for info in store.list(f"{number}/")} <= {str(number)}
        return number

    with ThreadPoolExecutor(12) as pool:
        assert [*pool.map(work, range(12))] == [*range(12)]


# ---- batches


def test_a_batch_of_everything(store):
    for name in ("read", "cut", "seen", "gone"):
        store.put(name, content(3000))
    operations = [
        ReadOperation("read"),
        PutOperation("new", BytesSource(content(5000))),
        PutOperation("empty", BytesSource(b"")),
        StatOperation("seen"),
        DeleteOperation("gone"),
        DeleteOperation("never there"),
        ReadOperation("missing"),
        StatOperation("missing too"),
    ]
    done = {each.operation.key: each for each in store.backend.batch(iter(operations), DEFAULT_LIMITS)}
    assert len(done) == len(operations)
    failed = {key for key, each in done.items() if each.error is not None}
    assert failed == {"missing", "missing too"}
    assert all(isinstance(done[key].error, NotFoundError) for key in failed)
    assert done["read"].value.data == content(3000)
    assert done["seen"].value.size == 3000
    assert sorted(info.key for info in store.list()) == ["cut", "empty", "new", "read", "seen"]
    assert (store.get("new"), store.get("empty")) == (content(5000), b"")


def test_batches_of_mixed_sizes_come_in_order(small):
    sizes = [0, 1, 6 * MIB + 1, 100, 9 * MIB, 5000, 0, 70_000] * 2
    data = {f"k{number:02}": content(size, number) for number, size in enumerate(sizes)}
    assert small.put_many(data.items()).run() == len(data)
    order = [*reversed(data)]
    found = [(outcome.key, outcome.value) for outcome in small.get_many(order)]
    assert found == [(key, data[key]) for key in order]
    stats = [(outcome.key, outcome.value.size) for outcome in small.stat_many(order)]
    assert stats == [(key, len(data[key])) for key in order]


def test_a_failing_item_of_a_batch_fails_alone(store):
    store.put_many((f"k{number}", b"x") for number in range(30)).run()
    wanted = [f"k{number}" if number % 3 else f"missing{number}" for number in range(30)]
    outcomes = [*store.get_many(wanted)]
    assert [outcome.key for outcome in outcomes] == wanted
    assert [isinstance(outcome.error, NotFoundError) for outcome in outcomes] == [not n % 3 for n in range(30)]


# ---- many keys


def test_5000_keys_in_order_from_anywhere_and_on_one_level(server, store):
    """Pages are crossed by the listing, by `start_after` and by folders; then 2,500 go in one call."""
    # Both take longer for each key the more there are.
    count = 1200 if server.name in {"moto", "localstack"} else 5000
    keys = sorted(f"d{number % 7}/{number:05}" if number % 2 else f"top-{number:05}" for number in range(count))
    store.put_many((key, b"") for key in keys).run()
    assert [info.key for info in store.list()] == keys
    assert [info.key for info in store.list("d3/")] == [key for key in keys if key.startswith("d3/")]
    for place in (0, count // 3, count - 2):
        assert (
            list(itertools.islice((info.key for info in store.list(start_after=keys[place])), 30))
            == keys[place + 1 : place + 31]
        )
    level = [*store.list_dir()]
    folders = [entry.prefix for entry in level if hasattr(entry, "prefix")]
    assert folders == sorted({key[:3] for key in keys if key.startswith("d")})
    assert len(level) - len(folders) == sum(key.startswith("top") for key in keys)
    outcomes = [*store.delete_many(keys[: count // 2])]
    assert [outcome.error for outcome in outcomes] == [None] * (count // 2)
    assert [info.key for info in store.list()] == keys[count // 2 :]


# ---- going on where it stopped


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("MGS_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def sent_parts(proxy):
    return [request for request in proxy.requests if request.method == "PUT" and "partNumber" in request.target]


def test_an_upload_goes_on_with_the_parts_that_are_missing(through, state, tmp_path):
    (tmp_path / "file").write_bytes(content(4 * PART + 7))
    fourth = Fault(Fail(500), times=100, matches=is_method("PUT", having="partNumber=4"))
    proxy, store = through(fourth, concurrency=1, attempts=1)
    with proxy:
        with pytest.raises(UnavailableError):
            store.upload(tmp_path / "file", "k")
        assert not store.exists("k")
        assert len([*store.pending_uploads()]) == 1
        before, fourth.times = len(sent_parts(proxy)), 0
        store.upload(tmp_path / "file", "k")
        assert len(sent_parts(proxy)) - before == 2
        assert store.get("k") == content(4 * PART + 7)
        assert [*store.pending_uploads()] == []


def test_a_file_that_changed_is_sent_afresh(through, state, tmp_path):
    (tmp_path / "file").write_bytes(content(3 * PART))
    third = Fault(Fail(500), times=100, matches=is_method("PUT", having="partNumber=3"))
    proxy, store = through(third, concurrency=1, attempts=1)
    with proxy:
        with pytest.raises(UnavailableError):
            store.upload(tmp_path / "file", "k")
        (tmp_path / "file").write_bytes(content(3 * PART, 1))
        before, third.times = len(sent_parts(proxy)), 0
        store.upload(tmp_path / "file", "k")
        assert len(sent_parts(proxy)) - before == 3
        assert store.get("k") == content(3 * PART, 1)
        assert [*store.pending_uploads()] == []


def broken_download(through, tmp_path):
    """A download of which the ranges were cut; the proxy then is a sound one."""
    cut = Fault(CutAnswer(1 * MIB), nth=2, times=1000, matches=is_method("GET", having="/k"))
    proxy, store = through(cut, concurrency=1, attempts=1)
    with proxy:
        with pytest.raises(StorageError):
            store.download("k", tmp_path / "target")
        assert not (tmp_path / "target").exists()
        cut.times = 0
        yield store


def test_an_object_that_changed_is_fetched_afresh(small, through, state, tmp_path):
    small.put("k", content(6 * PART))
    steps = broken_download(through, tmp_path)
    store = next(steps)
    small.put("k", content(5 * PART, 2))
    store.download("k", tmp_path / "target")
    steps.close()
    assert (tmp_path / "target").read_bytes() == content(5 * PART, 2)
    assert {each.name for each in tmp_path.iterdir()} == {"target", "state"}


# ---- checksums


@pytest.mark.parametrize(
    ("name", "length"), [("x-amz-checksum-sha256", 32), ("x-amz-checksum-crc32c", 4), ("Content-MD5", 16)]
)
def test_a_body_that_is_not_what_its_digest_says_is_refused(server, bucket, name, length):
    """What the library relies on when it sends one."""
    if has_fault(server, "ignores-md5" if name == "Content-MD5" else "ignores-checksums"):
        pytest.skip(f"{server.name} stores it all the same")
    wrong = base64.b64encode(bytes(length)).decode()
    answer = call(server, "PUT", f"{bucket}/k", headers=[(name, wrong)], body=b"other")
    assert answer.status == 400
    assert call(server, "GET", f"{bucket}/k").status == 404


@pytest.mark.parametrize("size", [1000, 7 * MIB])
def test_a_bit_that_turns_over_on_the_way_up_is_noticed(server, small, through, size):
    """Nothing is stored, and the old object stays."""
    if has_fault(server, "ignores-checksums"):
        pytest.skip(f"{server.name} does not look at checksums")
    old = size > 6 * MIB or not has_fault(server, "refused-puts-destroy")
    if old:
        small.put("k", b"old")
    proxy, spoilt = through(Fault(Corrupt(500), times=100, matches=is_method("PUT")))
    with proxy, pytest.raises(IntegrityError):
        spoilt.put("k", content(size))
    assert small.get("k") == b"old" if old else not small.exists("k")
    assert [*small.pending_uploads()] == []


def test_a_bit_that_turns_over_on_the_way_down_is_noticed(server, bucket, store, through):
    store.put("k", content(50_000))
    answer = call(server, "GET", f"{bucket}/k", headers=[("x-amz-checksum-mode", "ENABLED")])
    if "x-amz-checksum-crc32c" not in answer.headers:
        pytest.skip(f"{server.name} sends no checksum to compare with")
    proxy, spoilt = through(Fault(Corrupt(40_000, answer=True), times=100, matches=is_method("GET", having="/k")))
    with proxy:
        with pytest.raises(ChecksumError):
            spoilt.get("k")
        with pytest.raises(ChecksumError), spoilt.stream("k") as pieces:
            b"".join(pieces)


# ---- processes

#: Opens what it is handed on standard input and reads an object.
UNPICKLER = """
    import pickle, sys
    store = pickle.load(sys.stdin.buffer)
    with store:
        sys.stdout.buffer.write(store.get("k"))
"""


def test_a_pickled_storage_works_in_another_process(server, bucket):
    options = {
        "endpoint": server.url,
        "access_key_id": server.access_key,
        "secret_access_key": server.secret_key,
        "region": server.region,
        "path_style": True,
    }
    with open_storage(f"s3://{bucket}", options=options, environ={}, pickle_secrets=True) as store:
        store.put("k", b"data")
        again = pickle.loads(pickle.dumps(store))
        with again:
            assert again.get("k") == b"data"
        command = [sys.executable, "-c", textwrap.dedent(UNPICKLER)]
        done = subprocess.run(command, input=pickle.dumps(store), capture_output=True)
        assert (done.stdout, done.stderr) == (b"data", b"")


def test_after_a_fork_both_go_on(small):
    """Also a stream that was open, which is the parent's."""
    small.put("k", content(7 * MIB))
    with small.stream("k") as stream:
        pieces = iter(stream)
        first = next(pieces)
        child = os.fork()
        if child == 0:
            right = False
            try:
                right = small.get("k") == content(7 * MIB)
                small.put("child", b"x")
            finally:
                os._exit(0 if right else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert first + b"".join(pieces) == content(7 * MIB)
    assert small.get("child") == b"x"


def test_batches_and_a_fork(store):
    store.put_many((f"k{number}", str(number).encode()) for number in range(40)).run()
    child = os.fork()
    if child == 0:
        right = False
        try:
            right = all(
                outcome.value == outcome.key[1:].encode() for outcome in store.get_many(f"k{n}" for n in range(40))
            )
        finally:
            os._exit(0 if right else 1)
    assert all(outcome.error is None for outcome in store.get_many(f"k{number}" for number in range(40)))
    assert os.waitpid(child, 0)[1] == 0


# ---- uploads that nobody will complete


def test_the_parts_of_an_aborted_upload_are_gone(server, bucket, store):
    begun = call(server, "POST", f"{bucket}/k", [("uploads", "")]).body
    upload = begun.partition(b"<UploadId>")[2].partition(b"</UploadId>")[0].decode()
    part = [("partNumber", "1"), ("uploadId", upload)]
    assert call(server, "PUT", f"{bucket}/k", part, body=b"x" * 100).status == 200
    [pending] = store.pending_uploads()
    assert (pending.key, store.exists("k")) == ("k", False)
    store.abort_upload(pending)
    assert [*store.pending_uploads()] == []
    body = b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>"
    assert call(server, "POST", f"{bucket}/k", [("uploadId", upload)], body=body).status >= 400
    assert not store.exists("k")


def test_reading_and_writing_by_file_objects(small, tmp_path):
    """`put` takes an open file from where it stands."""
    (tmp_path / "file").write_bytes(b"skip" + content(6 * MIB + 5))
    with (tmp_path / "file").open("rb") as file:
        file.seek(4)
        small.put("k", file)
    assert small.get("k") == content(6 * MIB + 5)
    small.put("l", io.BytesIO(b"in memory"))
    assert small.get("l") == b"in memory"


def test_users_in_threads_and_a_lister_agree_in_the_end(store):
    """A listing during writes is sorted and never shows a key twice."""
    stop = threading.Event()
    wrong = []

    def look():
        while not stop.is_set():
            keys = [info.key for info in store.list("m/")]
            if keys != sorted(set(keys)):
                wrong.append(keys)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: store.put(f"m/{number:03}", b"x"), range(80)))
    finally:
        stop.set()
        looker.join()
    assert wrong == []
    assert [info.key for info in store.list("m/")] == [f"m/{number:03}" for number in range(80)]
