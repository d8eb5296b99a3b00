"""Resumable uploads against the protocol as the service documents it: asked how much they hold, restarted, cancelled."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest

from mediagit_storage.errors import (
    AlreadyExistsError,
    BucketNotFoundError,
    CancelledError,
    ChecksumError,
    ConnectionLostError,
    IntegrityError,
    PermissionDeniedError,
    PreconditionError,
    UnavailableError,
)
from mediagit_storage.scope import scope
from mediagit_storage.source import FileSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.scripted_server import (
    Call,
    Receive,
    ReceiveHead,
    ReceivePart,
    Reset,
    ScriptedServer,
    answer,
)
from mediagit_storage.testing.sources import content
from mediagit_storage.types import Attributes, PutOptions

from .answers import begun, body_of, crc, document, header, held, lines, ranges, refused, resource, stored

KIB = 1024
UNIT = 256 * KIB
SIZES = {"part_size": UNIT, "multipart_threshold": 1000, "anonymous": True, "in_chunks": True}
DATA = content(600 * KIB)
ONE, TWO, REST = UNIT, 2 * UNIT, 600 * KIB
CANCELLED = answer(499, b"", [("connection", "close")])


def own(server, data=DATA, token=None):
    """The answer to a look that shows the token with which the session was begun."""

    class Own:
        def play(self, conversation):
            begin = next(each for each in server().received if b"uploadType=resumable" in each.split(b"\r\n")[0])
            told = token or json.loads(body_of(begin))["metadata"]["mgs-token"]
            stored(data, metadata={"mgs-token": told}).play(conversation)

    return Own()


def file_of(tmp_path, data=DATA):
    (tmp_path / "file").write_bytes(data)
    return tmp_path / "file"


def test_chunk_after_chunk(play):
    store, server = play(begun(), held(ONE), held(TWO), stored(DATA), **SIZES)
    info = store.put("a/k", DATA, attributes=Attributes(content_type="image/png", metadata={"n": "1"}))
    assert info.size == REST
    begin, *chunks = server.received
    assert lines(server)[0].startswith("POST /upload/storage/v1/b/bucket/o?")
    assert "uploadType=resumable" in lines(server)[0]
    assert header(begin, "x-upload-content-type") == "image/png"
    assert header(begin, "x-upload-content-length") == str(REST)
    named = json.loads(body_of(begin))
    assert (named["name"], named["contentType"], named["metadata"]["n"]) == ("a/k", "image/png", "1")
    assert ranges(server)[1:] == [
        f"bytes 0-{ONE - 1}/{REST}",
        f"bytes {ONE}-{TWO - 1}/{REST}",
        f"bytes {TWO}-{REST - 1}/{REST}",
    ]
    assert b"".join(map(body_of, chunks)) == DATA
    assert [header(each, "x-goog-hash") for each in chunks] == [None, None, f"crc32c={crc(DATA)}"]
    assert {each.partition("?")[2] for each in lines(server)[1:]} == {"uploadType=resumable&upload_id=U1"}
    assert {header(each, "host") for each in server.received} == {server.url.removeprefix("http://")}


def test_a_stream_tells_its_size_with_the_last_chunk(play):
    store, server = play(begun(), held(ONE), held(TWO), stored(DATA), **SIZES)
    store.put("k", iter([DATA]))
    assert header(server.received[0], "x-upload-content-length") is None
    assert ranges(server)[1:] == [f"bytes 0-{ONE - 1}/*", f"bytes {ONE}-{TWO - 1}/*", f"bytes {TWO}-{REST - 1}/{REST}"]
    assert header(server.received[-1], "x-goog-hash") == f"crc32c={crc(DATA)}"


def test_a_stream_that_ends_with_a_chunk(play):
    """The last chunk is never empty, so the size is always told with bytes."""
    data = DATA[:TWO]
    store, server = play(begun(), held(ONE), stored(data), **SIZES)
    store.put("k", iter([data]))
    assert ranges(server)[1:] == [f"bytes 0-{ONE - 1}/*", f"bytes {ONE}-{TWO - 1}/{TWO}"]


def test_a_file_is_sent_as_its_turns_come(play, tmp_path):
    """What is only read for a digest needs none."""

    class Turns(FileSource):
        admitted = 0

        def admit(self, count):
            assert count > 0
            self.admitted += min(count, 10_000)
            return min(count, 10_000)

    store, server = play(begun(), held(ONE), held(TWO), stored(DATA), **SIZES)
    with file_of(tmp_path).open("rb") as file:
        source = Turns(file)
        store.backend.put("k", source, PutOptions())
    assert source.admitted == REST
    assert b"".join(map(body_of, server.received[1:])) == DATA


# ---- broken connections


@pytest.mark.parametrize("kept", [0, ONE, ONE + 1000, TWO])
def test_after_a_break_the_server_is_asked_and_believed(play, kept):
    """It may hold nothing of the chunk, a part of it, or all."""
    broken = (ReceiveHead(), ReceivePart(1000), Reset())
    store, server = play(begun(), held(ONE), broken, held(kept), held(TWO), stored(DATA), **SIZES)
    if kept == TWO:
        store, server = play(begun(), held(ONE), broken, held(kept), stored(DATA), **SIZES)
    if kept == 0:
        store, server = play(begun(), held(ONE), broken, held(0), held(ONE), held(TWO), stored(DATA), **SIZES)
    assert store.put("k", DATA).size == REST
    asked = [each for each in server.received if header(each, "content-range") == f"bytes */{REST}"]
    assert len(asked) == 1
    assert body_of(asked[0]) == b""
    after = server.received[server.received.index(asked[0]) + 1]
    assert header(after, "content-range").startswith(f"bytes {kept}-")


def test_the_rest_of_a_stream_comes_from_what_is_held_here(play):
    broken = (ReceiveHead(), ReceivePart(1000), Reset())
    store, server = play(begun(), held(ONE), broken, held(ONE + 512), held(TWO), stored(DATA), **SIZES)
    store.put("k", iter([DATA]))
    assert header(server.received[4], "content-range") == "bytes */*"
    rest = server.received[5]
    assert header(rest, "content-range") == f"bytes {ONE + 512}-{TWO - 1}/*"
    assert body_of(rest) == DATA[ONE + 512 : TWO]


def test_what_a_server_has_lost_of_a_stream_cannot_be_sent_again(play):
    broken = (Receive(), Reset())
    store, server = play(begun(), held(ONE), broken, held(0), CANCELLED, **SIZES)
    with pytest.raises(ConnectionLostError):
        store.put("k", iter([DATA]))
    assert lines(server)[-1].startswith("DELETE ")


def test_the_last_answer_got_lost_and_the_question_tells_that_all_is_there(play):
    store, server = play(begun(), held(ONE), held(TWO), (Receive(), Reset()), stored(DATA), **SIZES)
    assert store.put("k", DATA).size == REST
    assert ranges(server)[-1] == f"bytes */{REST}"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_passes_is_waited_for(play, status):
    store, server = play(
        begun(), refused(status, "backendError"), held(0), refused(status, "backendError"), held(0),
        held(ONE), held(TWO), stored(DATA), **SIZES,
    )  # fmt: skip
    store.put("k", DATA)
    assert len(server.received) == 8


def test_attempts_end_and_the_session_is_cancelled(play):
    down = refused(503, "backendError")
    store, server = play(begun(), held(ONE), down, held(ONE), down, held(ONE), down, CANCELLED, **SIZES)
    with pytest.raises(UnavailableError):
        store.put("k", DATA)
    assert lines(server)[-1] == "DELETE /upload/storage/v1/b/bucket/o?uploadType=resumable&upload_id=U1"


def test_a_server_that_takes_nothing_is_given_up(play):
    store, server = play(begun(), held(ONE), held(ONE), held(ONE), held(ONE), CANCELLED, **SIZES)
    with pytest.raises(ConnectionLostError):
        store.put("k", DATA)
    assert lines(server)[-1].startswith("DELETE ")


def test_a_chunk_that_is_kept_in_part_goes_on_from_there(play):
    store, server = play(begun(), held(1000), held(ONE + 1000), stored(DATA), part_size=2 * UNIT, **{k: v for k, v in SIZES.items() if k != "part_size"})  # fmt: skip
    store.put("k", DATA)
    assert [each.split("-")[0] for each in ranges(server)[1:]] == ["bytes 0", "bytes 1000", f"bytes {ONE + 1000}"]


@pytest.mark.parametrize("text", ["bytes=9-99", "nonsense"])
def test_a_server_that_holds_what_cannot_be(play, text):
    odd = answer(308, b"", [("range", text), ("connection", "close")])
    store, server = play(begun(), odd, CANCELLED, **SIZES)
    with pytest.raises(IntegrityError):
        store.put("k", DATA)
    assert lines(server)[-1].startswith("DELETE ")


def test_a_server_that_holds_more_than_was_sent(play):
    store, _ = play(begun(), held(REST + 1), CANCELLED, **SIZES)
    with pytest.raises(IntegrityError):
        store.put("k", DATA)


def test_a_session_that_claims_more_than_there_is_is_begun_anew(play):
    store, server = play(
        begun("U1"), held(ONE), (Receive(), Reset()), held(REST + 1), CANCELLED,
        begun("U2"), held(ONE), held(TWO), stored(DATA), **SIZES,
    )  # fmt: skip
    assert store.put("k", DATA).size == REST
    assert [line.split()[0] for line in lines(server)].count("DELETE") == 1


# ---- sessions that are gone


@pytest.mark.parametrize("status", [404, 410])
def test_a_session_that_is_gone_is_begun_anew(play, tmp_path, status):
    store, server = play(
        begun("U1"), held(ONE), refused(status, "notFound"), refused(404, "notFound", "No such object: bucket/k"),
        begun("U2"), held(ONE), held(TWO), stored(DATA), **SIZES,
    )  # fmt: skip
    store.upload(file_of(tmp_path), "k")
    assert sum(each.startswith("POST") for each in lines(server)) == 2
    assert b"".join(body_of(each) for each in server.received[-3:]) == DATA
    assert header(server.received[-1], "x-goog-hash") == f"crc32c={crc(DATA)}", "the digest begins anew, too"


def test_a_session_that_is_gone_because_it_is_complete(play):
    holder = []
    store, server = play(
        begun(), held(ONE), held(TWO), (Receive(), Reset()), refused(410, "gone"), own(lambda: holder[0]), **SIZES
    )
    holder.append(server)
    assert store.put("k", iter([DATA])).size == REST


def test_a_stream_whose_session_is_gone_is_an_error(play):
    store, server = play(
        begun(), held(ONE), refused(410, "gone"), refused(404, "notFound", "No such object: bucket/k"), **SIZES
    )
    with pytest.raises(ConnectionLostError):
        store.put("k", iter([DATA]))
    assert len(server.received) == 4


# ---- conditions


def test_a_condition_is_part_of_the_session(play):
    store, server = play(begun(), held(ONE), held(TWO), stored(DATA), **SIZES)
    store.put("k", DATA, if_absent=True)
    assert "ifGenerationMatch=0" in lines(server)[0]


@pytest.mark.parametrize(
    ("options", "kind"), [({"if_absent": True}, AlreadyExistsError), ({"if_match": "5"}, PreconditionError)]
)
def test_a_condition_that_fails_at_the_end_cancels(play, options, kind):
    store, server = play(begun(), held(ONE), held(TWO), refused(412, "conditionNotMet"), CANCELLED, **SIZES)
    with pytest.raises(kind):
        store.put("k", DATA, **options)
    assert lines(server)[-1].startswith("DELETE ")


def test_our_own_object_is_no_conflict(play):
    """The last chunk was taken, its answer lost, and the server then finds an object there: ours."""
    holder = []
    store, server = play(
        begun(), held(ONE), held(TWO), (Receive(), Reset()), held(TWO), refused(412, "conditionNotMet"),
        own(lambda: holder[0]), **SIZES,
    )  # fmt: skip
    holder.append(server)
    assert store.put("k", DATA, if_absent=True).size == REST


def test_anothers_object_is_one(play):
    holder = []
    store, server = play(
        begun(), held(ONE), held(TWO), (Receive(), Reset()), held(TWO), refused(412, "conditionNotMet"),
        own(lambda: holder[0], token="another"), CANCELLED, **SIZES,
    )  # fmt: skip
    holder.append(server)
    with pytest.raises(AlreadyExistsError):
        store.put("k", DATA, if_absent=True)


# ---- what is refused, and what is wrong


def test_a_missing_bucket(play):
    store, server = play(refused(404, "notFound", "The specified bucket does not exist."), **SIZES)
    with pytest.raises(BucketNotFoundError):
        store.put("k", DATA)
    assert len(server.received) == 1


def test_a_permission_that_ends_meanwhile(play):
    store, server = play(begun(), held(ONE), refused(403, "forbidden"), CANCELLED, **SIZES)
    with pytest.raises(PermissionDeniedError):
        store.put("k", DATA)
    assert lines(server)[-1].startswith("DELETE ")


def test_other_bytes_than_were_sent_are_removed_again(play):
    wrong = document({**resource(DATA), "crc32c": "AAAAAA=="})
    store, server = play(begun(), held(ONE), held(TWO), wrong, answer(204, b""), CANCELLED, **SIZES)
    with pytest.raises(ChecksumError):
        store.put("k", DATA)
    assert any(each.startswith("DELETE /storage/v1/b/bucket/o/k?ifGenerationMatch=1795") for each in lines(server))


def test_a_server_that_refuses_damaged_bytes(play):
    said = 'Provided CRC32C "AAAAAA==" doesn\'t match calculated CRC32C "jwfJwA==".'
    store, _ = play(begun(), held(ONE), held(TWO), refused(400, "invalid", said), CANCELLED, **SIZES)
    with pytest.raises(ChecksumError):
        store.put("k", DATA)


def test_a_server_that_does_not_say_where(play):
    store, _ = play(answer(200, b"{}", [("connection", "close")]), **SIZES)
    with pytest.raises(IntegrityError):
        store.put("k", DATA)


def test_a_cancelled_scope_cancels_the_session(play):
    with scope() as running:
        store, server = play(begun(), (ReceiveHead(), Call(running.cancel), Receive()), CANCELLED, **SIZES)
        with pytest.raises(CancelledError):
            store.put("k", iter([DATA]))
    assert lines(server)[-1].startswith("DELETE ")


# ---- over the end of a process


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("MGS_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state" / "transfers"


@pytest.fixture
def twice(opened):
    """Two runs of one upload against one server, the first of which breaks off; the journal knows the storage by its address."""

    @contextmanager
    def run(file, *steps, attempts=1, between=lambda: None):
        scripts = [begun("U7"), held(ONE), (Receive(), Reset()), *steps]
        with ScriptedServer(*[each if isinstance(each, tuple) else (Receive(), each) for each in scripts]) as server:
            with pytest.raises(ConnectionLostError):
                Storage(opened(server.url, attempts=1, **SIZES)).upload(file, "k")
            assert len(server.received) == 3, "the session is left to be continued"
            between()
            yield Storage(opened(server.url, attempts=attempts, **SIZES)).upload(file, "k"), server

    return run


def test_a_later_run_asks_and_goes_on(twice, tmp_path, state):
    def look():
        [journal] = state.iterdir()
        assert journal.stat().st_mode & 0o077 == 0, "the place of a session lets its holder upload"

    with twice(file_of(tmp_path), held(ONE), held(TWO), stored(DATA), between=look) as (_, server):
        asked = [f"bytes */{REST}", f"bytes {ONE}-{TWO - 1}/{REST}", f"bytes {TWO}-{REST - 1}/{REST}"]
        assert ranges(server)[3:] == asked
        assert header(server.received[-1], "x-goog-hash") == f"crc32c={crc(DATA)}"
        assert all("upload_id=U7" in each for each in lines(server)[1:])
    assert [*state.iterdir()] == []


def test_a_later_run_finds_the_upload_complete(twice, tmp_path, state):
    with twice(file_of(tmp_path), stored(DATA)) as (info, server):
        assert info.size == REST
        assert len(server.received) == 4
    assert [*state.iterdir()] == []


def test_a_later_run_whose_session_has_expired_begins_anew(twice, tmp_path, state):
    absent = refused(404, "notFound", "No such object: bucket/k")
    steps = [refused(410, "gone"), absent, begun("U8"), held(ONE), held(TWO), stored(DATA)]
    with twice(file_of(tmp_path), *steps, attempts=2) as (_, server):
        assert "upload_id=U8" in lines(server)[-1]
    assert [*state.iterdir()] == []


def test_a_changed_file_begins_anew_and_cancels_what_was(twice, tmp_path, state):
    file, other = file_of(tmp_path), content(600 * KIB, seed=9)
    steps = [CANCELLED, begun("U8"), held(ONE), held(TWO), stored(other)]
    with twice(file, *steps, between=lambda: file.write_bytes(other)) as (_, server):
        assert lines(server)[3] == "DELETE /upload/storage/v1/b/bucket/o?uploadType=resumable&upload_id=U7"
        assert b"".join(body_of(each) for each in server.received[-3:]) == other
    assert [*state.iterdir()] == []
