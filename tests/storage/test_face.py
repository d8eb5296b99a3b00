"""The whole face of `Storage` at once: what is closed, owned, layered, pickled, forked, shared by threads."""

import inspect
import os
import pickle
import signal
import threading

import pytest

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import ClosedError, ConfigError, InvalidKeyError, PermissionDeniedError
from mediagit_storage.layers.readonly import ReadOnlyLayer
from mediagit_storage.storage import Storage
from mediagit_storage.testing.conformance.lifecycle import every_call
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.sources import Unread
from mediagit_storage.testing.wrappers import CallLog
from mediagit_storage.types import FindingLevel

#: What a closed storage still answers.
STILL = {"close", "description"}


@covers(22, 120)
def test_every_public_method_is_looked_at(tmp_path):
    """The table of calls that the suite tries on closed storages names everything that `Storage` has."""
    public = {name for name, _ in inspect.getmembers(Storage) if not name.startswith("_")}
    tried = {name.split()[0] for name in every_call(Storage(MemoryBackend()), Unread(), str(tmp_path))}
    assert public - tried == STILL


def test_closing_closes_an_owned_backend_once():
    log = []

    class Counting(MemoryBackend):
        def close(self):
            log.append("closed")

    with Storage(Counting()) as store:
        store.with_prefix("p/").close()
        with store.with_layer(ReadOnlyLayer):
            pass
        store.put("k", b"x")
    store.close()
    assert log == ["closed"]
    with pytest.raises(ClosedError):
        store.__enter__()


def test_layers_and_prefixes_are_storages_of_their_own():
    store = Storage(MemoryBackend("m"))
    inner = store.with_prefix("team/")
    inner.put("k", b"x")
    assert store.get("team/k") == b"x"
    assert [info.key for info in inner.list()] == ["k"]
    with pytest.raises(PermissionDeniedError) as caught:
        store.with_layer(ReadOnlyLayer).put("k", b"y")
    assert (caught.value.operation, caught.value.key) == ("put", "k")
    with pytest.raises(ConfigError):
        store.with_prefix("")


def test_a_memory_storage_is_not_pickled():
    with pytest.raises(TypeError, match="memory"):
        pickle.dumps(Storage(MemoryBackend()))


def test_a_local_storage_is_pickled_by_reference(tmp_path):
    with Storage(LocalBackend(tmp_path)) as store:
        store.put("k", b"x")
        data = pickle.dumps(store)
    with pickle.loads(data) as again:
        assert again.get("k") == b"x"


@pytest.mark.parametrize("kind", ["local", "memory"])
@covers(117)
def test_a_fork_in_the_middle_of_other_threads_work(tmp_path, kind):
    stop = threading.Event()
    with Storage(LocalBackend(tmp_path, durability="none") if kind == "local" else MemoryBackend()) as store:
        store.put("k", b"x")

        def busy():
            while not stop.is_set():
                store.put("busy", b"y" * 1000)
                store.get_many(["k"] * 3).run()

        workers = [threading.Thread(target=busy) for _ in range(3)]
        for worker in workers:
            worker.start()
        try:
            for number in range(10):
                child = os.fork()
                if child == 0:
                    signal.alarm(20)
                    try:
                        store.put(f"child{number}", b"z")
                        os._exit(0 if store.get("k") == b"x" else 1)
                    except BaseException:  # noqa: BLE001  # the child must never go back into the test
                        os._exit(2)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        finally:
            stop.set()
            for worker in workers:
                worker.join()
        stored = [f"child{number}" for number in range(10)] if kind == "local" else []
        assert [info.key for info in store.list("child")] == stored


def test_check_reports_what_is_wrong_and_raises_nothing():
    store = Storage(ReadOnlyLayer(MemoryBackend()))
    by_name = {each.name: each for each in store.check()}
    assert by_name["list"].level is FindingLevel.OK
    assert by_name["write"].level is FindingLevel.FAILED
    assert by_name["write"].advice
    missing = Storage(MemoryBackend(created=False)).check()
    assert [each.level for each in missing] == [FindingLevel.FAILED]
    assert "create" in missing[0].advice


@covers(22)
def test_a_close_in_another_thread_during_calls(tmp_path):
    """Calls that are running end well or with an error; none hangs, none returns wrong bytes."""
    for _ in range(5):
        store = Storage(LocalBackend(tmp_path, durability="none"))
        store.put("k", b"x" * 10_000)
        wrong = []

        def read(store=store, wrong=wrong):
            try:
                while True:
                    if store.get("k") != b"x" * 10_000:
                        wrong.append("bytes")
            except ClosedError:
                return

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        store.close()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        assert wrong == []


def test_keys_are_checked_before_anything_for_each_way_to_write(tmp_path):
    log = CallLog(MemoryBackend())
    store = Storage(log)
    for key in ("", "/a", "a//b", "a\n"):
        for call in (
            lambda key=key: store.put(key, b"x"),
            lambda key=key: store.upload(__file__, key),
            lambda key=key: store.copy("k", key),
            lambda key=key: store.rename("k", key),
            lambda key=key: store.open(key, "wb"),
        ):
            with pytest.raises(InvalidKeyError):
                call()
    assert log.calls == []


def test_repr_says_where(tmp_path):
    store = Storage(LocalBackend(tmp_path))
    assert str(tmp_path) in repr(store)
    store.close()
    assert "closed" in repr(store)
