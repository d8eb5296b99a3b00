"""Uploads of files that are continued: what the server holds does not travel again."""

from __future__ import annotations

import re

import pytest

from mediagit_storage.errors import StorageError, UnavailableError
from mediagit_storage.source import FileSource
from mediagit_storage.testing.s3_answers import lines, ok, refused
from mediagit_storage.testing.scripted_server import Receive, Repeat, Send
from mediagit_storage.types import PutOptions

MIB = 1024 * 1024
OPTIONS = {"part_size": 5 * MIB, "concurrency": 1, "multipart_threshold": 6 * MIB}


class Memory:
    """A journal in memory."""

    def __init__(self, state=None, old=None):
        self.state, self.old, self.cleared = state, old, 0

    def load(self):
        return self.state

    def abandoned(self):
        return self.old

    def save(self, state):
        self.state = dict(state)
        return True

    def clear(self):
        self.state = self.old = None
        self.cleared += 1


class Uploads:
    """A server of one upload. ``fail`` is the number of the part that it refuses from then on."""

    def __init__(self, fail: int | None = None, gone: bool = False, there: Send | None = None):
        self.parts: dict[int, bytes] = {}
        self.fail, self.gone = fail, gone
        #: The answer to who looks at the object.
        self.there = refused(404, "") if there is None else there
        self.taken: list[int] = []

    def play(self, conversation):
        request = conversation.server.received[-1]
        line = request.partition(b"\r\n")[0].decode()
        number = re.search(r"partNumber=(\d+)", line)
        if number:
            self._part(int(number[1]), request.partition(b"\r\n\r\n")[2], conversation)
        elif line.startswith("POST") and "uploads=" in line:
            self.gone = False
            ok(200, b"<InitiateMultipartUploadResult><UploadId>U1</UploadId></InitiateMultipartUploadResult>").play(
                conversation
            )
        elif line.startswith("HEAD"):
            self.there.play(conversation)
        elif line.startswith("GET") and self.gone:
            refused(404, "NoSuchUpload").play(conversation)
        elif line.startswith("GET"):
            rows = "".join(
                f"<Part><PartNumber>{each}</PartNumber><Size>{len(body)}</Size><ETag>e{each}</ETag></Part>"
                for each, body in self.parts.items()
            )
            ok(200, f"<ListPartsResult><IsTruncated>false</IsTruncated>{rows}</ListPartsResult>".encode()).play(
                conversation
            )
        elif line.startswith("DELETE"):
            ok(204, etag=None).play(conversation)
        else:
            ok(200, b"<CompleteMultipartUploadResult><ETag>done</ETag></CompleteMultipartUploadResult>").play(
                conversation
            )

    def _part(self, number, body, conversation):
        if self.fail is not None and number >= self.fail:
            refused(503, "SlowDown").play(conversation)
            return
        self.parts[number] = body
        self.taken.append(number)
        ok(etag=f'"e{number}"').play(conversation)


@pytest.fixture
def data():
    return bytes(range(256)) * (23 * MIB // 256) + b"end"


def put(store, path, memory):
    with path.open("rb") as file:
        return store.backend.put("k", FileSource(file), PutOptions(resume=memory))


def test_only_what_is_missing_travels(play, data, tmp_path):
    path, memory, server = tmp_path / "file", Memory(), Uploads(fail=3)
    path.write_bytes(data)
    store, scripted = play((Repeat([Receive(), server]),), **OPTIONS)
    with pytest.raises(StorageError):
        put(store, path, memory)
    assert memory.state is not None
    assert not any(line.startswith("DELETE") for line in lines(scripted)), "what can be continued is not aborted"
    server.fail, server.taken = None, []
    assert put(store, path, memory).size == len(data)
    assert sorted(server.taken) == [3, 4, 5]
    assert b"".join(server.parts[number] for number in sorted(server.parts)) == data
    assert memory.state is None


def test_an_upload_that_is_gone_is_begun_anew(play, data, tmp_path):
    path, server = tmp_path / "file", Uploads(gone=True)
    memory = Memory({"upload": "U0", "token": "t", "part_size": 5 * MIB, "algorithm": "md5"})
    path.write_bytes(data)
    store, _ = play((Repeat([Receive(), server]),), checksum="md5", **OPTIONS)
    assert put(store, path, memory).size == len(data)
    assert sorted(server.taken) == [1, 2, 3, 4, 5]


def found(token, size):
    """An object, to a HEAD."""
    return ok(200, b"", ("x-amz-meta-mgs-token", token), ("Content-Length", str(size)), etag='"done"')


LEFT = {"upload": "U0", "token": "t", "part_size": 5 * MIB, "algorithm": "md5"}


@pytest.mark.parametrize("condition", [{"if_absent": True}, {"if_match": "old"}, {}])
def test_an_upload_that_was_completed_before_the_kill_is_done(play, data, tmp_path, condition):
    path, server, memory = tmp_path / "file", Uploads(gone=True, there=found("t", len(data))), Memory(dict(LEFT))
    path.write_bytes(data)
    store, scripted = play((Repeat([Receive(), server]),), checksum="md5", **OPTIONS)
    with path.open("rb") as file:
        source = Watched(file)
        info = store.backend.put("k", source, PutOptions(resume=memory, **condition))
    assert (info.etag, info.size) == ("done", len(data))
    assert server.taken == []
    assert [each.partition(" ")[0] for each in lines(scripted)] == ["GET", "HEAD"]
    assert memory.state is None
    assert source.told == [None, len(data)]


class Watched(FileSource):
    """Notes what it is asked and told at the end: None for "finished?", a number for bytes that are done."""

    def __init__(self, file):
        super().__init__(file)
        self.told = []

    def finished(self):
        self.told.append(None)
        super().finished()

    def advance(self, count):
        self.told.append(count)


@pytest.mark.parametrize("there", [found("another", 23 * MIB + 3), found("t", 5), refused(403, "")])
def test_another_object_under_the_key_is_not_taken_for_the_upload(play, data, tmp_path, there):
    path, server, memory = tmp_path / "file", Uploads(gone=True, there=there), Memory(dict(LEFT))
    path.write_bytes(data)
    store, _ = play((Repeat([Receive(), server]),), checksum="md5", **OPTIONS)
    assert put(store, path, memory).size == len(data)
    assert sorted(server.taken) == [1, 2, 3, 4, 5]


def test_who_cannot_look_now_comes_back_later(play, data, tmp_path):
    path, server, memory = tmp_path / "file", Uploads(gone=True, there=refused(503, "")), Memory(dict(LEFT))
    path.write_bytes(data)
    store, _ = play((Repeat([Receive(), server]),), checksum="md5", **OPTIONS)
    with pytest.raises(UnavailableError):
        put(store, path, memory)
    assert memory.state == LEFT


def test_the_upload_of_an_earlier_file_is_aborted(play, data, tmp_path):
    path, server, memory = tmp_path / "file", Uploads(), Memory(old={"upload": "OLD"})
    path.write_bytes(data)
    store, scripted = play((Repeat([Receive(), server]),), **OPTIONS)
    put(store, path, memory)
    assert lines(scripted)[0] == "DELETE /bucket/k?uploadId=OLD"
    assert len(server.taken) == 5


def test_what_cannot_succeed_is_aborted_and_forgotten(play, data, tmp_path):
    path, memory = tmp_path / "file", Memory()
    path.write_bytes(data)

    class Refusing(Uploads):
        def _part(self, number, body, conversation):
            refused(403, "AccessDenied").play(conversation)

    store, scripted = play((Repeat([Receive(), Refusing()]),), **OPTIONS)
    with pytest.raises(PermissionError):
        put(store, path, memory)
    assert "DELETE /bucket/k?uploadId=U1" in lines(scripted)
    assert memory.state is None


class Turns(FileSource):
    """Lets so many bytes go at a time, and notes them."""

    turn = 2 * MIB

    def __init__(self, file):
        super().__init__(file)
        self.admitted = 0

    def admit(self, count):
        assert count > 0
        self.admitted += min(count, self.turn)
        return min(count, self.turn)


def test_what_is_sent_waits_for_its_turn_and_what_had_arrived_does_not(play, data, tmp_path):
    path, server = tmp_path / "file", Uploads()
    server.parts = {1: data[: 5 * MIB], 2: data[5 * MIB : 10 * MIB]}
    path.write_bytes(data)
    store, _ = play((Repeat([Receive(), server]),), checksum="md5", **OPTIONS)
    with path.open("rb") as file:
        source = Turns(file)
        store.backend.put("k", source, PutOptions(resume=Memory(dict(LEFT))))
    assert sorted(server.taken) == [3, 4, 5]
    assert b"".join(server.parts[number] for number in sorted(server.parts)) == data
    assert source.admitted == len(data) - 10 * MIB


def test_a_file_in_one_request_waits_for_its_turns(play, data, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(data[: 5 * MIB + 1])
    store, server = play((Receive(), ok()), **OPTIONS)
    with path.open("rb") as file:
        source = Turns(file)
        source.turn = 3000
        store.backend.put("k", source, PutOptions(resume=Memory()))
    assert source.admitted == 5 * MIB + 1
    assert server.received[0].partition(b"\r\n\r\n")[2] == data[: 5 * MIB + 1]
