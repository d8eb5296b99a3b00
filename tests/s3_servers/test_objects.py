"""What the suite does not ask of a storage, asked of S3 on every server: sizes, keys, conditions, links, versions."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from mediagit_storage.errors import (
    AlreadyExistsError,
    BucketNotFoundError,
    ChecksumError,
    ConfigError,
    IntegrityError,
    LimitExceededError,
    NotFoundError,
    NotModifiedError,
    PreconditionError,
    StorageError,
    UnsupportedError,
)
from mediagit_storage.secrets import Secret
from mediagit_storage.storage import Storage
from mediagit_storage.testing.emulators.known_faults import KNOWN_FAULTS
from mediagit_storage.testing.emulators.raw_s3 import call
from mediagit_storage.testing.sources import content, long_stream
from mediagit_storage.types import Attributes, Checksum

MIB = 1024 * 1024
PART = 5 * MIB


def has_fault(server, name):
    return server.name in KNOWN_FAULTS[name].servers


@pytest.fixture
def small(server, bucket, open_s3):
    """The bucket opened so that 5 MiB are already many: parts of 5 MiB above a threshold of 6 MiB."""
    return Storage(open_s3(server, bucket, part_size=PART, multipart_threshold=6 * MIB))


@pytest.fixture
def fetch():
    """Opens a link as anybody would: status, header block and body."""

    def curl(url, *options):
        command = ["curl", "--silent", "--globoff", "--path-as-is", "--max-time", "20", "-i", *options, url]
        answer = subprocess.run(command, capture_output=True, check=True).stdout
        head, _, body = answer.partition(b"\r\n\r\n")
        while b" 100 " in head.split(b"\r\n")[0]:
            head, _, body = body.partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), head.decode("latin-1").lower(), body

    return curl


# ---- sizes and parts


@pytest.mark.parametrize("size", [0, 1, 6 * MIB - 1, 6 * MIB, 6 * MIB + 1, 10 * MIB, 10 * MIB + 1])
def test_sizes_around_thresholds_of_known_length(small, server, bucket, size):
    data = content(size)
    info = small.put("k", data)
    assert (info.size, small.stat("k").size) == (size, size)
    assert hashlib.sha256(small.get("k")).digest() == hashlib.sha256(data).digest()
    assert [*small.pending_uploads()] == []


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 1])
def test_streams_of_unknown_length_around_part_sizes(small, size):
    data = content(size)
    pieces = (data[start : start + 700_001] for start in range(0, size, 700_001))
    assert small.put("k", pieces).size == size
    assert small.get("k") == data
    assert [*small.pending_uploads()] == []


def test_a_declared_size_that_the_stream_does_not_keep_stores_nothing(small):
    small.put("k", b"old")
    for size, given in ((12 * MIB, 11 * MIB), (11 * MIB, 12 * MIB)):
        with pytest.raises(IntegrityError):
            small.put("k", long_stream(given), size=size)
        assert small.get("k") == b"old"
    assert [*small.pending_uploads()] == []


def test_a_source_that_fails_late_leaves_no_upload(small):
    def source():
        yield from long_stream(11 * MIB)
        raise KeyError("the source")

    with pytest.raises(KeyError, match="the source"):
        small.put("k", source())
    assert not small.exists("k")
    assert [*small.pending_uploads()] == []


def test_files_up_and_down_in_parts(small, tmp_path):
    data = content(17 * MIB + 3)
    (tmp_path / "a").write_bytes(data)
    small.upload(tmp_path / "a", "k")
    small.download("k", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == data
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    with small.open("k") as file:
        file.seek(-5, io.SEEK_END)
        assert file.read() == data[-5:]
        file.seek(PART - 2)
        assert file.read(4) == data[PART - 2 : PART + 2]


def test_a_large_copy_is_whole_and_keeps_attributes(server, small):
    data = content(8 * MIB)
    small.put("k", data, attributes=Attributes(content_type="video/x-own", metadata={"a": "1"}))
    small.copy("k", "l")
    if has_fault(server, "copies-keep-the-checksum-of-parts"):
        with pytest.raises(ChecksumError):
            small.get("l")
    else:
        assert small.get("l") == data
    assert small.stat("l").attributes.content_type == "video/x-own"
    assert metadata_of_copy(server, small, "l") == {"a": "1"}


# ---- checksums


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_declared_checksum_is_held_to(store, kind):
    digest = hashlib.new(kind, b"data").digest()
    store.put("good", b"data", checksum=Checksum(kind, digest))
    assert store.get("good") == b"data"
    with pytest.raises(ChecksumError):
        store.put("bad", b"other", checksum=Checksum(kind, digest))
    assert not store.exists("bad")


@pytest.mark.parametrize("checksum", ["md5", "sha256", "crc32c"])
def test_every_checksum_that_may_travel_is_taken(server, bucket, open_s3, checksum):
    store = Storage(open_s3(server, bucket, checksum=checksum))
    store.put("k", b"data")
    store.put("stream", iter([b"da", b"ta"]))
    assert (store.get("k"), store.get("stream")) == (b"data", b"data")


# ---- attributes


def metadata_of_copy(server, store, key):
    found = dict(store.stat(key).attributes.metadata)
    if has_fault(server, "copies-gain-metadata"):
        del found["mtime"]
    return found


def test_metadata_of_any_unicode(server, store):
    values = {
        "plain": "a b",
        "umlaut": "Größe",
        "cjk": "日本語",
        "emoji": "👩‍👩‍👧",
        "edges": " x ",
        "eq": "=?UTF-8?B?YQ==?=",
    }
    values |= {"pct": "%41%zz", "long": "é" * 100, "nfd": "e\u0301"}
    store.put("k", b"x", attributes=Attributes(metadata=values))
    assert dict(store.stat("k").attributes.metadata) == values
    store.copy("k", "copied")
    assert metadata_of_copy(server, store, "copied") == values


def test_tags_of_any_text(server, bucket, store):
    if "tags" not in store.capabilities.attributes:
        with pytest.raises(UnsupportedError):
            store.put("k", b"x", attributes=Attributes(tags={"a": "b"}))
        return
    # Letters of any script, digits, spaces and these marks: the S3 documentation allows no others.
    tags = {"team": "media and co", "a+b": "c/d", "größe": "= 41 _.:@-"}
    store.put("k", b"x", attributes=Attributes(tags=tags))
    found = call(server, "GET", f"{bucket}/k", [("tagging", "")]).body.decode()
    assert dict(re.findall(r"<Key>(.*?)</Key>\s*<Value>(.*?)</Value>", found)) == tags
    if not has_fault(server, "head-has-no-tag-count"):
        assert dict(store.stat("k").attributes.tags) == tags


def test_too_much_metadata_is_refused_before_it_travels(store):
    with pytest.raises(LimitExceededError, match="metadata"):
        store.put("k", b"x", attributes=Attributes(metadata={"a": "x" * 10_000}))
    assert not store.exists("k")


# ---- listings


def test_1100_keys_are_deleted_in_bulk_and_the_missing_count_as_done(store):
    store.put_many((f"d/{number:04}", b"") for number in range(1100)).run()
    store.put("e", b"kept")
    outcomes = [*store.delete_many([f"d/{number:04}" for number in range(1103)])]
    assert len(outcomes) == 1103
    assert [outcome for outcome in outcomes if outcome.error is not None] == []
    assert [info.key for info in store.list()] == ["e"]


AWKWARD = [
    "a b+c",
    "100%",
    "a%2Fb",
    "?query=1",
    "#hash",
    "I'm a < & weird path",
    '"quoted"',
    "日本語/ファイル",
    "😀",
    "~tilde",
    "*",
]


def test_awkward_keys_on_the_wire_are_the_exact_bytes(server, bucket, store):
    """What another client sees under the key, byte for byte, and what we see of what it stored."""
    for key in AWKWARD:
        store.put(key, key.encode())
        assert call(server, "GET", f"{bucket}/{key}").body == key.encode()
        call(server, "PUT", f"{bucket}/other {key}", body=b"other")
        assert store.get(f"other {key}") == b"other"
    expected = sorted([*AWKWARD, *(f"other {key}" for key in AWKWARD)], key=str.encode)
    assert [info.key for info in store.list()] == expected
    outcomes = [*store.delete_many(AWKWARD)]
    assert all(outcome.error is None for outcome in outcomes)
    assert [info.key for info in store.list()] == sorted((f"other {key}" for key in AWKWARD), key=str.encode)


# ---- conditions


def test_creating_a_large_object_only_once(small):
    data = content(11 * MIB)
    if not small.capabilities.if_absent:
        with pytest.raises(UnsupportedError):
            small.put("k", data, if_absent=True)
        return
    small.put("k", iter([data[: 6 * MIB], data[6 * MIB :]]), if_absent=True)
    for source in (data, iter([data])):
        with pytest.raises(AlreadyExistsError):
            small.put("k", source, if_absent=True)
    assert small.get("k") == data
    assert [*small.pending_uploads()] == []


def test_replacing_a_large_object_only_as_it_was(server, small):
    if not small.capabilities.if_match:
        pytest.skip("this service has no conditional writes")
    first = small.put("k", content(7 * MIB)).etag
    second = small.put("k", content(7 * MIB, 1), if_match=first).etag
    assert second != first
    if has_fault(server, "multipart-ignores-if-match"):
        return
    with pytest.raises(PreconditionError):
        small.put("k", content(7 * MIB, 2), if_match=first)
    assert small.get("k") == content(7 * MIB, 1)
    assert [*small.pending_uploads()] == []


def test_two_writers_in_parts_leave_one_object_whole(small):
    bodies = [bytes([number]) * (7 * MIB) for number in (1, 2)]
    threads = [threading.Thread(target=small.put, args=("k", body)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert small.get("k") in bodies
    assert [*small.pending_uploads()] == []


def test_reads_on_condition(server, store):
    etag = store.put("k", b"data").etag
    assert store.get("k", if_match=etag) == b"data"
    with pytest.raises(NotModifiedError):
        store.get("k", if_none_match=etag)
    if not has_fault(server, "ignores-if-match"):
        other = store.put("l", b"other").etag
        with pytest.raises(PreconditionError):
            store.get("k", if_match=other)


# ---- stale uploads


def test_stale_uploads_are_seen_and_aborted(server, bucket, store):
    for key in ("a/1", "a/2", "b"):
        assert call(server, "POST", f"{bucket}/{key}", [("uploads", "")]).status == 200
    found = [*store.pending_uploads()]
    assert [upload.key for upload in found] == ["a/1", "a/2", "b"]
    if not has_fault(server, "upload-times-made-up"):
        assert all(abs(upload.started - datetime.now(UTC)) < timedelta(minutes=5) for upload in found)
    assert [upload.key for upload in store.pending_uploads("a/")] == ["a/1", "a/2"]
    for upload in found[:2]:
        store.abort_upload(upload)
    store.abort_upload(found[0])
    assert [upload.key for upload in store.pending_uploads()] == ["b"]


# ---- links


def test_links_open_and_say_what_they_were_told_to(server, store, fetch):
    key = "a b+c/é%.txt"
    store.put(key, b"data", attributes=Attributes(content_type="text/plain"))
    status, head, body = fetch(store.presign(key))
    assert (status, body) == (200, b"data")
    wanted = {"content_type": "application/x-own", "content_disposition": 'attachment; filename="x y.txt"'}
    status, head, body = fetch(store.presign(key, expires=60, response=wanted))
    assert (status, body) == (200, b"data")
    assert "content-type: application/x-own" in head
    assert 'content-disposition: attachment; filename="x y.txt"' in head


def test_links_that_store_and_delete(store, fetch, tmp_path):
    (tmp_path / "file").write_bytes(b"by link")
    link = store.presign("k", method="PUT", expires=timedelta(minutes=1))
    assert fetch(link, "--upload-file", str(tmp_path / "file"))[0] == 200
    assert store.get("k") == b"by link"
    assert fetch(store.presign("k", method="DELETE"), "-X", "DELETE")[0] == 204
    assert not store.exists("k")


def test_links_that_were_changed_or_are_for_something_else_are_refused(server, store, fetch):
    if has_fault(server, "links-unchecked"):
        pytest.skip(f"{server.name} opens every link")
    store.put("k", b"data")
    store.put("l", b"other")
    link = store.presign("k")
    for wrong in (link.replace("/k?", "/l?"), link[:-1] + ("0" if link[-1] != "0" else "1"), f"{link}&x=1"):
        assert fetch(wrong)[0] in {400, 403}
    assert fetch(link, "-X", "DELETE")[0] in {400, 403}
    assert store.get("k") == b"data"


def test_a_life_out_of_range_is_refused_here(store):
    for expires in (0, -1, 7 * 24 * 3600 + 1):
        with pytest.raises(ConfigError):
            store.presign("k", expires=expires)


# ---- versions and locks


def test_versions_are_listed_read_and_removed(store):
    if not store.capabilities.versions:
        with pytest.raises(UnsupportedError):
            [*store.list(versions=True)]
        return
    store.create(versioning=True)
    names = [store.put("k", body).version for body in (b"one", b"two")]
    assert None not in names
    store.delete("k")
    assert not store.exists("k")
    assert [store.get("k", version=name) for name in names] == [b"one", b"two"]
    versions = [*store.list(versions=True)]
    assert sorted((each.version, each.deleted) for each in versions if not each.deleted) == sorted(
        (name, False) for name in names
    )
    [mark] = [each for each in versions if each.deleted]
    store.delete("k", version=mark.version)
    assert store.get("k") == b"two"
    store.delete("k", version=names[1])
    assert store.get("k") == b"one"


def test_a_bucket_is_made_once_and_only_when_asked(server, open_s3):
    name = f"t-{hashlib.sha256(str(id(object())).encode()).hexdigest()[:16]}-new"
    store = Storage(open_s3(server, name))
    with pytest.raises(BucketNotFoundError):
        [*store.list()]
    with pytest.raises(NotFoundError):
        store.get("k")
    store.create()
    assert [*store.list()] == []
    store.create()
    store.put("k", b"x")
    assert store.get("k") == b"x"


def test_a_missing_bucket_is_told_from_a_missing_object(server, store, open_s3):
    with pytest.raises(NotFoundError) as caught:
        store.get("gone")
    assert not isinstance(caught.value, BucketNotFoundError)
    other = Storage(open_s3(server, "t-missing-bucket"))
    for attempt in (
        lambda: other.get("k"),
        lambda: other.stat("k"),
        lambda: [*other.list()],
        lambda: other.put("k", b""),
    ):
        with pytest.raises(BucketNotFoundError):
            attempt()
    with pytest.raises(StorageError):
        other.exists("k")


def test_check_finds_nothing_wrong(store):
    levels = {finding.level.value for finding in store.check()}
    assert "failed" not in levels, store.check()


# ---- servers side by side


def test_another_client_reads_what_we_store_and_its_etag_is_the_md5(server, bucket, store):
    info = store.put("k", b"data")
    answer = call(server, "GET", f"{bucket}/{quote('k')}")
    assert answer.body == b"data"
    assert answer.headers["etag"].strip('"') == hashlib.md5(b"data").hexdigest()
    assert info.etag.strip('"') == hashlib.md5(b"data").hexdigest()


def test_customer_keys_are_refused_without_tls(server, bucket, open_s3):
    key = base64.b64encode(bytes(32)).decode()
    with pytest.raises((ConfigError, UnsupportedError)):
        Storage(open_s3(server, bucket, encryption="sse-c", customer_key=Secret(key))).put("k", b"x")
