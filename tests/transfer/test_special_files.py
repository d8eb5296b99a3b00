"""Devices and pipes: read from like any file, never replaced by one."""

import os
import threading

import pytest

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.storage import Storage


@pytest.fixture
def store():
    with Storage(MemoryBackend("special")) as store:
        store.put("k", b"content")
        yield store


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_download_does_not_put_a_file_in_the_place_of_a_pipe(store, tmp_path, overwrite):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(FileExistsError, match="not replaced"):
        store.download("k", pipe, overwrite=overwrite)
    assert pipe.is_fifo()
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_pipe_is_uploaded_until_its_writer_closes_it(store, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write():
        with open(pipe, "wb") as file:
            for _ in range(50):
                file.write(b"x" * 50_000)
                file.flush()

    writer = threading.Thread(target=write)
    writer.start()
    store.upload(pipe, "from-pipe")
    writer.join()
    assert store.get("from-pipe") == b"x" * 2_500_000
