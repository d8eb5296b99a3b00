"""Many copies within the service: what a listing told of, and what has become another object since."""

from __future__ import annotations

import re
import threading

import pytest

from mediagit_storage.backend import DEFAULT_LIMITS
from mediagit_storage.errors import ConnectionLostError, NotFoundError
from mediagit_storage.facets import Relocation
from mediagit_storage.testing.s3_answers import ok, refused
from mediagit_storage.testing.scripted_server import Receive, Repeat

KEYS = [f"d/{number:02}" for number in range(40)]


class Service:
    """Answers listings with ``listed`` ETags, looks with those of ``held``, and copies only what is ``held``."""

    def __init__(self, storage_class: str = "STANDARD") -> None:
        self.listed = dict.fromkeys(KEYS, "e1")
        self.held = dict(self.listed)
        self.storage_class = storage_class
        self.looks: list[str] = []
        self.copies: list[tuple[str, str]] = []
        self.after_a_look = lambda key: None
        self.lock = threading.Lock()

    def play(self, conversation):
        head = conversation.server.received[-1].partition(b"\r\n\r\n")[0].decode("latin-1")
        method, path = head.split(" ", 2)[:2]
        with self.lock:
            if method == "GET":
                answer = ok(200, self._page(), etag=None)
            elif method == "HEAD":
                answer = self._look(path.removeprefix("/bucket/"))
            else:
                answer = self._copy(head)
        answer.play(conversation)

    def _page(self):
        rows = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2044-11-06T08:49:37.000Z</LastModified><ETag>&quot;{etag}&quot;"
            f"</ETag><Size>1</Size><StorageClass>{self.storage_class}</StorageClass></Contents>"
            for key, etag in self.listed.items()
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()

    def _look(self, key):
        self.looks.append(key)
        if key not in self.held:
            return ok(404, etag=None)
        found = ok(200, etag=f'"{self.held[key]}"')
        self.after_a_look(key)
        return found

    def _copy(self, head):
        key = re.search(r"x-amz-copy-source: ?/?bucket/(\S+)", head, re.IGNORECASE)[1].replace("%2F", "/")
        wanted = re.search(r'x-amz-copy-source-if-match: ?"?([^"\r]+)', head, re.IGNORECASE)[1]
        self.copies.append((key, wanted))
        if key not in self.held:
            return refused(404, "NoSuchKey")
        if self.held[key] != wanted:
            return refused(412, "PreconditionFailed")
        return ok(200, f"<CopyObjectResult><ETag>&quot;{self.held[key]}&quot;</ETag></CopyObjectResult>".encode())


@pytest.fixture
def copied(play):
    """Copies all of a service's objects, and gives what became of each."""

    def run(service):
        store, _ = play((Repeat([Receive(), service]),))
        operations = (Relocation(key, f"to/{key}") for key in KEYS)
        return {
            each.operation.source: each for each in store.backend.copy_batch(store.backend, operations, DEFAULT_LIMITS)
        }

    return run


def test_a_page_spares_all_looks(copied):
    service = Service()
    assert [each.error for each in copied(service).values()] == [None] * len(KEYS)
    assert service.looks == []
    assert sorted(service.copies) == [(key, "e1") for key in KEYS]


def test_objects_of_another_class_are_looked_at(copied):
    service = Service("GLACIER_IR")
    assert [each.error for each in copied(service).values()] == [None] * len(KEYS)
    assert sorted(service.looks) == KEYS


def test_what_is_another_object_by_now_is_looked_at_and_copied_as_it_is(copied):
    service = Service()
    service.held[KEYS[3]] = "e2"
    del service.held[KEYS[5]]
    done = copied(service)
    assert isinstance(done.pop(KEYS[5]).error, NotFoundError)
    assert [each.error for each in done.values()] == [None] * (len(KEYS) - 1)
    assert (done[KEYS[3]].etag, done[KEYS[4]].etag) == ("e2", "e1")
    assert service.looks == [KEYS[3]]
    assert [wanted for key, wanted in service.copies if key == KEYS[3]] == ["e1", "e2"]


def test_a_server_whose_listings_tell_other_etags_copies_everything(copied):
    service = Service()
    service.listed = dict.fromkeys(KEYS, "another")
    assert [(each.error, each.etag) for each in copied(service).values()] == [(None, "e1")] * len(KEYS)


def test_what_is_overwritten_again_and_again_fails_by_itself(copied):
    service = Service()
    service.held[KEYS[3]] = "e2"
    service.after_a_look = lambda key: service.held.update({key: "e3"})
    done = copied(service)
    assert isinstance(done.pop(KEYS[3]).error, ConnectionLostError)
    assert [each.error for each in done.values()] == [None] * (len(KEYS) - 1)
