"""What fake-gcs-server makes of our requests, and we of its answers, beyond the suite."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mediagit_storage.errors import AlreadyExistsError, BucketNotFoundError, NotFoundError, PreconditionError
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.emulators.raw_gcs import call, object_path, upload
from mediagit_storage.testing.sources import content
from mediagit_storage.types import Attributes, Folder

KIB = 1024
AWKWARD = [
    "a//b", "folder/", "/lead", "../x", "./y", "a b", "a+b", "%2F", "%", "a?b#c&d=e", "é", "e\u0301", "日本/語", "😀",
    "\uff61", "\\back", "a\tb", "'\"<>`", "~", "*[x]", "a/./b", "x" * 1000,
]  # fmt: skip


def described(server, bucket, key):
    """An object as the server describes it."""
    return call(server, "GET", object_path(bucket, key)).json


# ---- keys


@pytest.mark.parametrize("key", AWKWARD)
def test_keys_that_others_wrote_are_found_exactly(server, bucket, store, key):
    """Written without this library, they are listed, read, moved and deleted as they are."""
    assert upload(server, bucket, key, b"data").status == 200
    assert [info.key for info in store.list()] == [key]
    assert store.get(key) == b"data"
    assert store.stat(key).size == 4
    store.copy(key, "copied")
    assert store.get("copied") == b"data"
    store.delete(key)
    assert [info.key for info in store.list()] == ["copied"]


@pytest.mark.parametrize("key", AWKWARD)
def test_keys_that_we_write_are_the_servers(server, bucket, open_gcs, key):
    store = Storage(open_gcs(server, bucket), keys="raw")
    store.put(key, b"data")
    store.put("session", content(300 * KIB))
    names = [each["name"] for each in call(server, "GET", f"/storage/v1/b/{bucket}/o").json["items"]]
    assert key in names
    assert call(server, "GET", object_path(bucket, key), [("alt", "media")]).body == b"data"


@pytest.mark.parametrize("key", AWKWARD)
def test_keys_in_sessions(server, bucket, open_gcs, key):
    """The emulator puts the key into the address of a session: it comes back as it was."""
    store = Storage(open_gcs(server, bucket, part_size=256 * KIB, multipart_threshold=1), keys="raw")
    data = content(300 * KIB)
    store.put(key, data)
    assert [info.key for info in store.list()] == [key]
    assert store.get(key) == data


def test_a_thousand_and_one_keys_in_pages(server, bucket, store):
    names = [f"{number:04}/x" for number in range(1001)]
    store.put_many((name, b"") for name in names).run()
    assert [info.key for info in store.list()] == names
    assert [each.prefix for each in store.list_dir() if isinstance(each, Folder)] == [
        f"{number:04}/" for number in range(1001)
    ]
    assert [info.key for info in store.list(start_after="0998/x")] == names[-2:]
    assert [each.prefix for each in store.list_dir(start_after="0998/")] == ["0999/", "1000/"]


# ---- what is sent and kept


def test_what_the_server_was_told(server, bucket, store):
    given = Attributes("image/png", "no-store", "gzip", "inline", {"camera": "X 日本"}, "NEARLINE")
    store.put("k", b"\x1f\x8b data", attributes=given)
    found = described(server, bucket, "k")
    assert found["contentType"] == "image/png"
    assert found["cacheControl"] == "no-store"
    assert found["contentEncoding"] == "gzip"
    assert found["contentDisposition"] == "inline"
    assert found["metadata"] == {"camera": "X 日本"}
    assert found["storageClass"] == "NEARLINE"
    assert store.stat("k").attributes == given


@pytest.mark.parametrize("size", [0, 1, 16, 17, 256 * KIB, 256 * KIB + 1, 512 * KIB, 700 * KIB])
@pytest.mark.parametrize("kind", ["bytes", "file", "stream"])
def test_every_size_by_every_way(server, bucket, open_gcs, tmp_path, size, kind):
    """Around the threshold and the chunks: bytes, digest and generation are those of the server."""
    store = Storage(open_gcs(server, bucket, part_size=256 * KIB, multipart_threshold=16))
    data = content(size)
    if kind == "file":
        (tmp_path / "file").write_bytes(data)
        info = store.upload(tmp_path / "file", "k")
    else:
        info = store.put("k", data if kind == "bytes" else iter([data[: size // 2], data[size // 2 :]]))
    found = described(server, bucket, "k")
    assert (str(info.size), info.etag, info.version) == (found["size"], found["generation"], found["generation"])
    assert store.get("k") == data


def test_a_token_is_never_shown(server, bucket, open_gcs):
    """Conditional writes and sessions carry one; it is hidden from everybody who uses this library."""
    store = Storage(open_gcs(server, bucket, part_size=256 * KIB, multipart_threshold=16))
    store.put("small", b"x", if_absent=True)
    store.put("large", content(300 * KIB), attributes=Attributes(metadata={"a": "1"}))
    for key in ("small", "large"):
        assert "mgs-token" in described(server, bucket, key)["metadata"]
    assert store.stat("small").attributes == Attributes()
    assert store.stat("large").attributes.metadata == {"a": "1"}
    store.copy("large", "copy")
    assert "mgs-token" not in described(server, bucket, "copy").get("metadata", {})


def test_what_we_do_not_know_stays_in_a_copy(server, bucket, store):
    body = b"--b\r\ncontent-type: application/json\r\n\r\n"
    body += json.dumps({"name": "k", "customTime": "2020-01-01T00:00:00Z", "contentLanguage": "de"}).encode()
    body += b"\r\n--b\r\ncontent-type: a/b\r\n\r\n1\r\n--b--"
    kind = ("content-type", "multipart/related; boundary=b")
    call(server, "POST", f"/upload/storage/v1/b/{bucket}/o", [("uploadType", "multipart")], [kind], body)
    store.copy("k", "l")
    found = described(server, bucket, "l")
    assert found["contentType"] == "a/b"
    assert found.get("customTime", "2020-01-01T00:00:00Z") == "2020-01-01T00:00:00Z"


# ---- generations and conditions


def test_an_etag_is_a_generation(server, bucket, store):
    first = store.put("k", b"1")
    assert first.etag == described(server, bucket, "k")["generation"]
    second = store.put("k", b"2", if_match=first.etag)
    assert second.etag != first.etag
    with pytest.raises(PreconditionError):
        store.put("k", b"3", if_match=first.etag)
    with pytest.raises(PreconditionError):
        store.put("k", b"3", if_match="no-generation")
    with pytest.raises(PreconditionError):
        store.put("k", b"3", if_match="0")
    with pytest.raises(PreconditionError):
        store.put("absent", b"3", if_match=first.etag)
    with pytest.raises(AlreadyExistsError):
        store.put("k", b"3", if_absent=True)
    assert store.get("k") == b"2"


def test_a_read_on_condition(store):
    info = store.put("k", b"1")
    assert store.get("k", if_match=info.etag) == b"1"
    store.put("k", b"2")
    with pytest.raises(PreconditionError):
        store.get("k", if_match=info.etag)
    with pytest.raises(NotFoundError):
        store.get("k", version=info.version)


def test_generations_where_the_bucket_keeps_them(server, bucket, store):
    store.create(versioning=True)
    infos = [store.put("k", data) for data in (b"0", b"1", b"2")]
    assert [store.get("k", version=info.version) for info in infos] == [b"0", b"1", b"2"]
    store.delete("k")
    assert not store.exists("k")
    listed = [*store.list(versions=True)]
    assert [each.deleted for each in listed] == [True, False, False, False]
    assert [each.version for each in listed[1:]] == [info.version for info in reversed(infos)]
    store.delete("k", version=listed[0].version)
    assert store.get("k") == b"2", "without the mark of its deletion it is back"
    store.delete("k", version=listed[0].version)
    store.copy("k", "old", version=infos[0].version)
    assert store.get("old") == b"0"


# ---- buckets and links


def test_a_bucket_is_made_and_told_apart_from_a_missing_one(server, open_gcs):
    store = Storage(open_gcs(server, "t-made-by-us"))
    for look in (
        lambda: store.get("k"),
        lambda: [*store.list()],
        lambda: store.put("k", b""),
        lambda: store.delete("k"),
    ):
        with pytest.raises(BucketNotFoundError):
            look()
    store.create()
    store.create(versioning=True)
    with pytest.raises(NotFoundError) as caught:
        store.get("k")
    assert not isinstance(caught.value, BucketNotFoundError)
    assert call(server, "GET", "/storage/v1/b/t-made-by-us").json["versioning"] == {"enabled": True}
    call(server, "DELETE", "/storage/v1/b/t-made-by-us")


@covers(110, 112)
@pytest.mark.parametrize("key", ["k", "a b/é+%", "a//b"])
def test_links_lead_to_the_object(server, bucket, open_gcs, tmp_path, key):
    """Signed with a service account's key; the emulator takes any signature, and yet the right path only."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    info = {"type": "service_account", "client_email": "x@y", "private_key": pem.decode(), "token_uri": server.url}
    (tmp_path / "account.json").write_text(json.dumps(info))
    options = {"emulator_host": None, "endpoint": server.url, "service_account_file": str(tmp_path / "account.json")}
    signed = Storage(open_gcs(server, bucket, **options), keys="raw")
    plain = Storage(open_gcs(server, bucket), keys="raw")
    assert visit("PUT", signed.presign(key, method="PUT"), b"by link")[0] == 200
    assert plain.get(key) == b"by link"
    assert visit("GET", signed.presign(key)) == (200, b"by link")
    assert visit("DELETE", signed.presign(key, method="DELETE"))[0] in {200, 204}
    assert not plain.exists(key)


def visit(method, link, body=b""):
    """What somebody with nothing but the link gets."""
    parts = urlsplit(link)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_what_check_says_of_the_emulator(store):
    found = {each.name: each for each in store.check()}
    assert {each.level.value for each in found.values()} == {"ok"}
    assert "emulator" in found["credentials"].detail


def test_many_at_once(server, bucket, store):
    """Puts, looks, reads and deletes in one thread, more than a group of deletes takes."""
    names = [f"k/{number:03}" for number in range(250)]
    assert store.put_many((name, name.encode()) for name in names).run() == 250
    assert [outcome.value for outcome in store.get_many(names)] == [name.encode() for name in names]
    assert [outcome.value.size for outcome in store.stat_many(names)] == [5] * 250
    assert store.delete_many([*names, "never/there"]).run() == 251
    assert [*store.list()] == []
