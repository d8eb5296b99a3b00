"""Local files to and from a storage: a file that changes is not stored, a download appears whole or not at all."""

import os
import threading

import pytest

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import CancelledError, IntegrityError, NotFoundError, UnavailableError
from mediagit_storage.progress import on_progress
from mediagit_storage.scope import scope
from mediagit_storage.storage import Storage
from mediagit_storage.testing.broken.base import BentReads
from mediagit_storage.testing.sources import content
from mediagit_storage.types import Attributes


@pytest.fixture
def store():
    return Storage(MemoryBackend())


@pytest.mark.parametrize("change", ["grow", "shrink", "touch"])
def test_a_file_that_changes_while_it_is_sent_is_not_stored(store, tmp_path, change):
    path = tmp_path / "file"
    path.write_bytes(content(3_000_000))
    store.put("k", b"old")
    changed = threading.Event()

    def interfere(report):
        if report.completed and not changed.is_set():
            changed.set()
            if change == "touch":
                os.utime(path, (1, 1))
            else:
                os.truncate(path, 4_000_000 if change == "grow" else 2_500_000)

    with pytest.raises(IntegrityError), on_progress(interfere):
        store.upload(path, "k")
    assert changed.is_set()
    assert store.get("k") == b"old"


def test_trouble_with_the_file_is_the_systems_own_error(store, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        store.upload(tmp_path / "gone", "k")
    assert not isinstance(caught.value, NotFoundError)
    with pytest.raises(IsADirectoryError):
        store.upload(tmp_path, "k")
    store.put("k", b"x")
    with pytest.raises(FileNotFoundError):
        store.download("k", tmp_path / "no" / "folder")
    with pytest.raises(IsADirectoryError):
        store.download("k", tmp_path)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", ["a.png", "a.tar.gz", "a", "weird.unknown-type"])
def test_content_types_are_guessed_from_the_key(store, tmp_path, name):
    path = tmp_path / "file.txt"
    path.write_bytes(b"x")
    store.upload(path, name, attributes=Attributes(metadata={"m": "1"}))
    found = store.stat(name).attributes
    assert found.content_type == {"a.png": "image/png", "a.tar.gz": "application/gzip"}.get(name)
    assert dict(found.metadata) == {"m": "1"}


class BreaksOff(BentReads):
    """Every stream breaks after its first piece."""

    def stream(self, key, options):
        body = super().stream(key, options)
        pieces = iter(body)

        def broken(self):
            yield next(pieces)
            raise UnavailableError("the connection is gone")

        return type("Broken", (type(body),), {"__iter__": broken})(self.read(key, options), 1000)


def test_a_download_that_breaks_off_leaves_the_old_file(tmp_path):
    store, target = Storage(BreaksOff()), tmp_path / "target"
    store.put("k", content(100_000))
    for old in (None, b"old"):
        if old is not None:
            target.write_bytes(old)
        with pytest.raises(UnavailableError) as caught:
            store.download("k", target)
        assert (caught.value.operation, caught.value.key) == ("get", "k")
        assert [each.name for each in tmp_path.iterdir()] == ([] if old is None else ["target"])
    assert target.read_bytes() == b"old"


def test_a_cancelled_download_leaves_nothing(store, tmp_path):
    store.put("k", content(5_000_000))
    target = tmp_path / "target"
    with scope() as inside, on_progress(lambda report: report.completed and inside.cancel()):  # noqa: SIM117
        with pytest.raises(CancelledError):
            store.download("k", target)
    assert [*tmp_path.iterdir()] == []


def test_overwrite_false_keeps_what_is_there(store, tmp_path):
    store.put("k", b"new")
    target = tmp_path / "target"
    target.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        store.download("k", target, overwrite=False)
    assert target.read_bytes() == b"old"
    target.unlink()
    target.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        store.download("k", target, overwrite=False)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("durability", ["full", "batch", "none"])
def test_a_download_of_each_durability(store, tmp_path, durability):
    store.put("k", content(2_000_000))
    assert store.download("k", tmp_path / "t", durability=durability).size == 2_000_000
    assert (tmp_path / "t").read_bytes() == content(2_000_000)
