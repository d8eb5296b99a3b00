"""Objects that are written by position: invisible until they are whole, found again, and never somebody else's file."""

import os
import time

import pytest

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.errors import AlreadyExistsError, InvalidKeyError
from mediagit_storage.types import Attributes, ListOptions, ReadOptions

NAME = "0123456789abcdef"


def keys(backend):
    return [info.key for info in backend.list("", ListOptions())]


@pytest.fixture(params=["plain", "sharded"])
def backend(request, root):
    opened = LocalBackend(root, layout=request.param)
    yield opened
    opened.close()


def test_it_is_an_object_only_when_it_is_committed(backend):
    about = Attributes(metadata={"a": "b"})
    with backend.keep_part("d/k", NAME) as part:
        os.pwrite(part.descriptor, b"world", 6)
        os.pwrite(part.descriptor, b"hello ", 0)
        assert keys(backend) == []
        assert [each.key for each in backend.pending_uploads("")] == ["d/k"]
        info = part.commit(about, if_absent=False)
    content = backend.read("d/k", ReadOptions())
    assert content.data == b"hello world"
    assert (content.info.etag, content.info.size) == (info.etag, 11)
    assert backend.stat("d/k").attributes == about
    assert [*backend.pending_uploads("")] == []


def test_the_next_run_finds_it_and_nobody_has_it_twice(backend):
    with backend.keep_part("k", NAME) as part:
        os.pwrite(part.descriptor, b"kept", 0)
        assert backend.keep_part("k", NAME) is None
    with backend.keep_part("k", NAME) as part:
        assert os.pread(part.descriptor, 10, 0) == b"kept"
        part.remove()
    assert [*backend.pending_uploads("")] == []
    with backend.keep_part("k", NAME) as part:
        assert os.fstat(part.descriptor).st_size == 0


def test_a_refused_commit_can_be_tried_again_or_given_up(backend):
    with backend.keep_part("k", NAME) as part:
        part.commit(None, if_absent=True)
    with backend.keep_part("k", NAME) as part:
        with pytest.raises(AlreadyExistsError):
            part.commit(None, if_absent=True)
        part.remove()
    assert [*backend.pending_uploads("")] == []


@pytest.mark.parametrize("harm", ["link", "twin", "fifo"])
def test_a_file_that_is_not_ours_alone_is_not_written_to(root, tmp_path, harm):
    backend = LocalBackend(root)
    backend.keep_part("k", NAME).close()
    (path,) = (root / ".mediagit-storage" / "tmp").iterdir()
    victim = tmp_path / "victim"
    victim.write_bytes(b"victim")
    path.unlink()
    if harm == "link":
        path.symlink_to(victim)
    elif harm == "twin":
        path.hardlink_to(victim)
    else:
        os.mkfifo(path)
    assert backend.keep_part("k", NAME) is None
    assert victim.read_bytes() == b"victim"
    backend.close()


def test_it_outlives_other_leftovers_by_a_week(root):
    LocalBackend(root).keep_part("k", NAME).close()
    (path,) = (root / ".mediagit-storage" / "tmp").iterdir()
    for days, left in ((6, True), (8, False)):
        os.utime(path, times=(time.time() - days * 86400,) * 2)
        with LocalBackend(root).keep_part("other", "f" * 16) as part:
            part.remove()
        assert path.exists() is left


def test_a_key_that_cannot_be_held_is_refused_at_once(root):
    with pytest.raises(InvalidKeyError):
        LocalBackend(root).keep_part("a/../b", NAME)
