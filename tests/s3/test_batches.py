"""Batches: grouped deletes, each item its own outcome, large writes beside the small ones."""

from __future__ import annotations

import re
import threading

from mediagit_storage.backend import BatchLimits
from mediagit_storage.errors import IntegrityError, NotFoundError, PermissionDeniedError
from mediagit_storage.testing.s3_answers import lines, ok, refused
from mediagit_storage.testing.scripted_server import Receive, Repeat


class Bulk:
    """Answers a bulk delete: all keys are deleted, but those that ``failing`` names, and ``silent`` ones are left out."""

    def __init__(self, failing: dict[str, str] | None = None, silent: tuple[str, ...] = ()) -> None:
        self.failing, self.silent = failing or {}, silent
        self.sizes: list[int] = []
        self.lock = threading.Lock()

    def play(self, conversation):
        request = conversation.server.received[-1]
        keys = re.findall(r"<Key>([^<]*)</Key>", request.decode())
        with self.lock:
            self.sizes.append(len(keys))
        rows = "".join(
            f"<Error><Key>{key}</Key><Code>{self.failing[key]}</Code><Message>no</Message></Error>"
            if key in self.failing
            else f"<Deleted><Key>{key}</Key></Deleted>"
            for key in keys
            if key not in self.silent
        )
        ok(200, f"<DeleteResult>{rows}</DeleteResult>".encode(), etag=None).play(conversation)


def test_deletes_go_a_thousand_at_a_time(play):
    bulk = Bulk()
    store, server = play((Receive(), bulk))
    assert store.delete_many(f"k{number}" for number in range(2500)).run() == 2500
    assert sorted(bulk.sizes) == [500, 1000, 1000]
    assert {line.partition("&")[0] for line in lines(server)} == {"POST /bucket?delete="}


def test_each_delete_has_its_own_outcome(play):
    store, _ = play((Receive(), Bulk({"b": "AccessDenied", "d": "NoSuchKey"}, silent=("c",))))
    outcomes = {each.key: each.error for each in store.delete_many(["a", "b", "c", "d"])}
    assert outcomes["a"] is None
    assert isinstance(outcomes["b"], PermissionDeniedError)
    assert outcomes["b"].key == "b"
    assert isinstance(outcomes["c"], IntegrityError)
    assert outcomes["d"] is None, "a missing object is deleted"


def test_a_refused_bulk_delete_fails_every_item_with_its_own_key(play):
    store, _ = play(refused(403, "AccessDenied"))
    errors = [each.error for each in store.delete_many(["a", "b"])]
    assert [error.key for error in errors] == ["a", "b"]


def test_keys_that_xml_cannot_hold_are_deleted_by_themselves(play):
    class Any:
        def play(self, conversation):
            if conversation.server.received[-1].startswith(b"POST"):
                Bulk().play(conversation)
            else:
                ok(204, etag=None).play(conversation)

    store, server = play((Receive(), Any()))
    store.delete_many(["a", "b\x01", "c"]).run()
    assert "DELETE /bucket/b%01" in lines(server)


def test_reads_writes_and_failures_side_by_side(play):
    class Answering:
        def play(self, conversation):
            line = conversation.server.received[-1].partition(b"\r\n")[0]
            if b"gone" in line:
                refused(404, "NoSuchKey").play(conversation)
            else:
                ok(200, line.split(b"/")[2].split(b" ")[0]).play(conversation)

    store, _ = play((Repeat([Receive(), Answering()]),))
    keys = [f"k{number}" if number % 7 else f"gone{number}" for number in range(100)]
    outcomes = [*store.get_many(keys, limits=BatchLimits(concurrency=4, buffer_bytes=20))]
    assert [each.key for each in outcomes] == keys
    for key, value, error in outcomes:
        if key.startswith("gone"):
            assert isinstance(error, NotFoundError)
        else:
            assert value == key.encode()


def test_streams_in_a_batch_do_not_hold_up_the_others(play):
    going = threading.Event()

    def slow():
        assert going.wait(90), "the small writes waited for the stream"
        yield b"slow"

    store, server = play((Repeat([Receive(), ok()]),))
    outcomes = {}
    batch = iter(store.put_many([("slow", slow()), *((f"k{n}", b"x") for n in range(50))]))
    done = threading.Thread(target=lambda: outcomes.update((each.key, each.error) for each in batch))
    done.start()
    for _ in range(6000):
        if sum(line.startswith("PUT /bucket/k") for line in lines(server)) >= 50:
            break
        going.wait(0.01)
    going.set()
    done.join(90)
    assert len(outcomes) == 51
    assert set(outcomes.values()) == {None}
