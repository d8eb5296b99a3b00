"""Several processes and threads on one folder: one winner, no lost update, nothing torn, leftovers of the dead swept."""

import dataclasses
import fcntl
import multiprocessing
import os
import signal
import threading
import time

import pytest

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.errors import AlreadyExistsError, PreconditionError, UnavailableError
from mediagit_storage.storage import Storage
from mediagit_storage.testing.os_faults import FaultyOS
from mediagit_storage.types import ReadOptions

SPAWN = multiprocessing.get_context("fork")


def run_all(target, arguments):
    """Start one process for each, and return what each put into the queue; all have ended well."""
    results = SPAWN.Queue()
    barrier = SPAWN.Barrier(len(arguments))
    processes = [SPAWN.Process(target=target, args=(results, barrier, *each)) for each in arguments]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    return found


def create(results, barrier, store, number):
    barrier.wait()
    wins = []
    for key in range(20):
        try:
            store.put(f"key{key}", str(number).encode() * 100, if_absent=True)
            wins.append((key, number))
        except AlreadyExistsError:
            pass
    results.put(wins)


def increment(results, barrier, store, times):
    barrier.wait()
    done = 0
    while done < times:
        content = store.backend.read("counter", ReadOptions())
        try:
            store.put("counter", str(int(content.data) + 1).encode(), if_match=content.info.etag)
            done += 1
        except PreconditionError:
            pass
    results.put(done)


def put_many(results, barrier, store, number):
    barrier.wait()
    results.put(Storage(store.backend).put_many((f"{number}/{key}", b"%d" % number) for key in range(200)).run())


def test_forked_processes_keep_their_many_temporary_files_apart(open_store):
    """Each has hundreds at once in a batch, under names that none of the others tries."""
    store = open_store(durability="batch")
    store.put("warm", b"the parent has a name for them already")
    assert run_all(put_many, [(store, number) for number in range(4)]) == [200] * 4
    assert len(store.keys()) == 801
    assert store.temps() == []


@pytest.mark.parametrize("layout", ["plain", "sharded"])
def test_of_eight_creating_processes_exactly_one_wins(open_store, layout):
    store = open_store(durability="none", layout=layout)
    wins = [win for each in run_all(create, [(store, number) for number in range(8)]) for win in each]
    assert sorted(key for key, _ in wins) == list(range(20))
    for key, number in wins:
        assert store.get(f"key{key}") == str(number).encode() * 100
    assert store.temps() == []


def test_no_update_is_lost_between_processes(open_store):
    store = open_store(durability="none")
    store.put("counter", b"0")
    run_all(increment, [(store, 50) for _ in range(4)])
    assert store.get("counter") == b"200"


def test_no_update_is_lost_between_threads(store):
    store.put("counter", b"0")
    results = SPAWN.Queue()
    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=increment, args=(results, barrier, store, 25)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("counter") == b"100"
    results.close()
    results.join_thread()


@pytest.mark.parametrize("durability", ["none", "full"])
def test_removing_empty_folders_never_takes_a_put_along(open_store, durability):
    store = open_store(durability=durability)
    failures = []

    def hammer(name):
        try:
            for number in range(60):
                key = f"a/b/c/{name}"
                store.put(key, str(number).encode())
                assert store.get(key) == str(number).encode()
                store.delete(key, missing_ok=False)
        except Exception as error:  # noqa: BLE001  # handed to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=hammer, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.keys() == []
    assert store.files() == []


def test_moves_in_both_directions_never_wait_for_each_other(store):
    failures = []

    def back_and_forth(name, here, there):
        try:
            store.put(f"{here}/{name}", name.encode())
            for _ in range(60):
                store.backend.rename(f"{here}/{name}", f"{there}/{name}")
                here, there = there, here
        except Exception as error:  # noqa: BLE001  # handed to the test's own thread
            failures.append(error)

    threads = [
        threading.Thread(target=back_and_forth, args=(name, *folders))
        for name, folders in (("x", "ab"), ("y", "ba"), ("z", "ab"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert store.keys() == ["a/x", "a/z", "b/y"]


def test_one_winner_of_a_create_only_rename(store):
    for number in range(8):
        store.put(f"source{number}", str(number).encode())
    won = []

    def move(number):
        try:
            store.backend.rename(f"source{number}", "target", if_absent=True)
            won.append(number)
        except AlreadyExistsError:
            pass

    threads = [threading.Thread(target=move, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.get("target") == str(won[0]).encode()
    assert len(store.keys()) == 8


def test_a_lock_that_somebody_holds_is_waited_for(store, root):
    store.put("key", b"old")
    held = os.open(root, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    writer = threading.Thread(target=store.put, args=("key", b"new"))
    writer.start()
    time.sleep(0.05)
    assert store.get("key") == b"old"
    os.close(held)
    writer.join(60)
    assert store.get("key") == b"new"


def test_closing_processes_may_take_the_private_folder_away(open_store):
    store = open_store(durability="none")
    for number in range(20):
        store.put(f"key{number}")
        other = open_store(durability="none")
        other.put("other")
        other.backend.close()
        assert not (store.path / ".mediagit-storage").exists()
    assert len(store.keys()) == 21


def write_for_ever(started, store):
    def pieces():
        while True:
            yield b"x" * 100_000
            started.set()
            time.sleep(0.01)

    store.put("big/upload", pieces())


def age(store, seconds):
    folder = store.path / ".mediagit-storage/tmp"
    for name in os.listdir(folder):
        then = time.time() - seconds
        os.utime(folder / name, (then, then))


def test_temporary_files_of_the_dead_are_swept_and_of_the_living_kept(open_store):
    writer = open_store(durability="none")
    started = SPAWN.Event()
    process = SPAWN.Process(target=write_for_ever, args=(started, writer))
    process.start()
    try:
        assert started.wait(30)
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(0.05)
        age(writer, 7200)
        sweeper = open_store(durability="none")
        sweeper.put("sweeps")
        (living,) = sweeper.temps()
        (upload,) = sweeper.backend.pending_uploads("")
        assert upload.id == living
        with pytest.raises(UnavailableError):
            sweeper.backend.abort_upload(upload)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    age(writer, 1800)
    young = open_store(durability="none")
    young.put("sweeps")
    assert len(young.temps()) == 1
    age(writer, 7200)
    later = open_store(durability="none")
    later.put("sweeps")
    assert later.temps() == []
    assert later.keys() == ["sweeps"]


def test_a_killed_upload_is_found_by_its_key_and_aborted(open_store):
    store = open_store(durability="none")
    started = SPAWN.Event()
    process = SPAWN.Process(target=write_for_ever, args=(started, store))
    process.start()
    folder = store.path / ".mediagit-storage/tmp"
    try:
        assert started.wait(30)
        while not any((folder / name).stat().st_size > 2_000_000 for name in store.temps()):
            time.sleep(0.01)
    finally:
        process.kill()
        process.join()
    assert store.keys() == []
    assert list(store.backend.pending_uploads("other")) == []
    (upload,) = store.backend.pending_uploads("big/")
    assert upload.key == "big/upload"
    assert upload.size > 2_000_000
    store.backend.abort_upload(upload)
    store.backend.abort_upload(upload)
    store.backend.abort_upload(dataclasses.replace(upload, id="../../x"))
    assert list(store.backend.pending_uploads("")) == []


def test_a_forked_child_works_on(store):
    store.put("parent")

    def child(results, barrier):
        barrier.wait()
        store.put("child", b"1")
        results.put(store.keys())

    assert run_all(child, [()]) == [["child", "parent"]]
    store.put("after")
    assert store.get("child") == b"1"


def test_the_seam_is_used_by_threads_at_once(open_store):
    store = open_store(os=FaultyOS(), durability="none")
    threads = [threading.Thread(target=store.put, args=(f"key{number}",)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.keys()) == 16


def test_a_child_forked_inside_a_batch_leaves_its_parents_temporary_files_alone(root):
    """A child that ends normally closes the batch it inherited; what its parent has staged must survive that."""
    store = Storage(LocalBackend(root, durability="batch"))

    def items():
        for number in range(20):
            if number == 10:
                child = os.fork()
                if child == 0:
                    raise SystemExit(0)
                os.waitpid(child, 0)
            yield f"key-{number:02}", b"x"

    parent = os.getpid()
    try:
        outcomes = list(store.put_many(items()))
    except SystemExit:
        if os.getpid() != parent:
            os._exit(0)
        raise
    assert [outcome.error for outcome in outcomes] == [None] * 20
    assert len(list(store.list())) == 20
    store.close()
