"""Uploads in parts when their answers come out of order, and completions that the server refuses."""

from __future__ import annotations

import re
import threading

import pytest

from mediagit_storage.errors import StorageError
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.s3_answers import lines, ok, refused
from mediagit_storage.testing.scripted_server import Repeat

MIB = 1024 * 1024
OPTIONS = {"part_size": 5 * MIB, "multipart_threshold": 6 * MIB, "concurrency": 4}
BEGUN = ok(200, b"<InitiateMultipartUploadResult><UploadId>U1</UploadId></InitiateMultipartUploadResult>", etag=None)
COMPLETED = ok(200, b"<CompleteMultipartUploadResult><ETag>&quot;whole-3&quot;</ETag></CompleteMultipartUploadResult>")


class Backwards:
    """A server that answers a part only when all that follow it are there."""

    def __init__(self, count: int, completed=COMPLETED) -> None:
        self.parts: dict[int, bytes] = {}
        self.answered: list[int] = []
        self._completed = completed
        self._stored = {number: threading.Event() for number in range(1, count + 2)}
        self._stored[count + 1].set()

    def play(self, conversation):
        head = conversation.take_until(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head.lower())
        body = conversation.take_exactly(int(length[1])) if length else b""
        conversation.server.note(head + body)
        line = head.partition(b"\r\n")[0]
        number = re.search(rb"partNumber=(\d+)", line)
        if number:
            self._part(int(number[1]), body, conversation)
        elif line.startswith(b"DELETE"):
            ok(204, etag=None).play(conversation)
        else:
            (BEGUN if b"uploads=" in line else self._completed).play(conversation)

    def _part(self, number, body, conversation):
        assert self._stored[number + 1].wait(20)
        self.parts[number] = body
        self.answered.append(number)
        self._stored[number].set()
        ok(etag=f'"e{number}"').play(conversation)


@covers(99)
@pytest.mark.parametrize("kind", ["bytes", "file", "stream"])
def test_parts_that_finish_backwards_make_the_same_object(play, kind, tmp_path):
    data = bytes(range(256)) * (11 * MIB // 256) + b"end"
    server = Backwards(3)
    store, scripted = play((Repeat([server]),), **OPTIONS)
    if kind == "bytes":
        store.put("k", data)
    elif kind == "stream":
        store.put("k", iter([data[: 7 * MIB], data[7 * MIB :]]))
    else:
        path = tmp_path / "file"
        path.write_bytes(data)
        store.upload(path, "k")
    assert server.answered == [3, 2, 1]
    assert b"".join(server.parts[number] for number in (1, 2, 3)) == data
    [completion] = [each for each in scripted.received if b"<CompleteMultipartUpload" in each]
    assert re.findall(rb"<PartNumber>(\d+)<", completion) == [b"1", b"2", b"3"]
    assert [each.strip(b'"') for each in re.findall(rb"<ETag>(?:&quot;)?([^<&]+)", completion)] == [b"e1", b"e2", b"e3"]


@covers(102)
@pytest.mark.parametrize("code", ["InvalidPart", "InvalidPartOrder", "EntityTooSmall"])
@pytest.mark.parametrize("status", [200, 400])
def test_a_completion_that_the_server_refuses_leaves_nothing(play, code, status):
    server = Backwards(3, completed=refused(status, code))
    store, scripted = play((Repeat([server]),), **OPTIONS)
    with pytest.raises(StorageError, match=code):
        store.put("k", bytes(11 * MIB))
    assert "DELETE /bucket/k?uploadId=U1" in lines(scripted)
    assert not any(line.startswith(("GET", "HEAD")) for line in lines(scripted))
