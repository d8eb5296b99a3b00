"""What Azure has beyond the suite: tiers, tags, snapshots, blocks, SAS, links, copies and raw names."""

from __future__ import annotations

import http.client
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from mediagit_storage.backends.azure.services import address_of
from mediagit_storage.backends.azure.signing import Grant, KeySigner, service_sas
from mediagit_storage.errors import (
    InvalidKeyError,
    NotFoundError,
    PermissionDeniedError,
    StorageError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)
from mediagit_storage.opening import open_storage
from mediagit_storage.secrets import Secret
from mediagit_storage.storage import Storage
from mediagit_storage.testing.emulators.raw_azure import call
from mediagit_storage.testing.sources import content
from mediagit_storage.types import Attributes

MIB = 1024 * 1024
SMALL_BLOCKS = {"part_size": MIB, "multipart_threshold": MIB}


def sas(server, container, permissions="racwdl", *, key=None, hours=1, start=None, secret=None):
    signer = KeySigner(server.access_key, Secret(secret or server.secret_key))
    expires = datetime.now(UTC) + timedelta(hours=hours)
    grant = Grant(permissions, expires, server.access_key, container, key, https_only=False, start=start)
    return service_sas(grant, signer.digest)


def fetch(url, method="GET", body=None, headers=None):
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.netloc)) as connection:
        connection.request(method, f"{parts.path}?{parts.query}", body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}


# ---- who asks


def test_by_a_connection_string(server, container, open_azure):
    text = server.environment()["AZURE_STORAGE_CONNECTION_STRING"]
    store = Storage(open_azure(server, container, connection_string=Secret(text), endpoint=None, account=None))
    store.put("k", b"x")
    assert store.get("k") == b"x"


def test_by_the_environment(server, container):
    with open_storage(f"az://{container}/folder", environ=server.environment()) as store:
        store.put("k", b"x")
        assert [each.key for each in store.list()] == ["k"]
    with open_storage(f"az://{container}", environ=server.environment()) as store:
        assert [each.key for each in store.list()] == ["folder/k"]


@pytest.mark.parametrize("form", ["token", "?token", "url"])
def test_by_a_sas_token(server, container, open_azure, form):
    token = sas(server, container)
    given = {"token": token, "?token": f"?{token}", "url": f"{server.url}/{server.access_key}/{container}?{token}"}[
        form
    ]
    store = Storage(open_azure(server, container, sas_token=Secret(given)))
    data = content(5 * MIB)
    store.put("k", data)
    assert store.get("k") == data
    assert store.stat("k").size == len(data)
    store.copy("k", "l")
    assert [each.key for each in store.list()] == ["k", "l"]
    assert [each.error for each in store.delete_many(["k", "l"])] == [None, None]
    assert [*store.list()] == []
    assert store.capabilities.presign == frozenset()


@pytest.mark.parametrize(
    ("options", "word"),
    [({"hours": -1}, "the SAS token expired at"), ({"start": datetime.now(UTC) + timedelta(hours=1), "hours": 2}, "not valid before")],
)  # fmt: skip
def test_a_token_that_is_over_says_so(server, container, open_azure, options, word):
    token = sas(server, container, **options)
    store = Storage(open_azure(server, container, sas_token=Secret(token)))
    for attempt in (
        lambda: store.get("k"),
        lambda: store.put("k", b"x"),
        lambda: store.exists("k"),
        lambda: [*store.list()],
    ):
        with pytest.raises((UnauthenticatedError, PermissionDeniedError)) as caught:
            attempt()
        assert word in str(caught.value)
        assert token.partition("sig=")[2] not in str(caught.value)
    assert any(word in finding.detail for finding in store.check())


def test_a_token_that_may_only_read(server, container, open_azure, store):
    store.put("k", b"x")
    reader = Storage(open_azure(server, container, sas_token=Secret(sas(server, container, "rl"))))
    assert reader.get("k") == b"x"
    with pytest.raises(PermissionDeniedError):
        reader.put("k", b"y")
    assert [each.error is None for each in reader.delete_many(["k"])] == [False]
    assert store.get("k") == b"x"


# ---- attributes


@pytest.mark.parametrize("tier", ["Hot", "Cool", "Cold"])
def test_access_tiers(store, tier):
    for data in (b"x", content(5 * MIB)):
        store.put("k", data, attributes=Attributes(storage_class=tier.lower()))
        found = store.stat("k").attributes
        assert found is not None
        assert found.storage_class == tier


def test_an_archived_blob_says_what_to_do(store):
    store.put("k", b"x", attributes=Attributes(storage_class="Archive"))
    with pytest.raises(UnsupportedError, match="rehydrate"):
        store.get("k")


def test_tags_travel_with_blocks_and_copies(server, container, store):
    tags = {"project": "media", "a b": "c/d"}
    store.put("k", content(5 * MIB), attributes=Attributes(tags=tags, metadata={"x-y": "ü"}))
    store.copy("k", "l")
    for key in ("k", "l"):
        found = store.stat(key).attributes
        assert found is not None
        assert (dict(found.tags), dict(found.metadata)) == (tags, {"x-y": "ü"})
    assert b"<Key>project</Key>" in call(server, "GET", f"{container}/l", [("comp", "tags")]).body


def test_what_others_stored_is_read(server, container, store):
    headers = [("x-ms-blob-type", "BlockBlob"), ("x-ms-meta-CamelCase", "v"), ("content-type", "text/plain")]
    call(server, "PUT", f"{container}/k", headers=headers, body=b"x")
    found = store.stat("k").attributes
    assert found is not None
    assert (found.content_type, dict(found.metadata)) == ("text/plain", {"camelcase": "v"})


# ---- snapshots


def test_snapshots_are_listed_read_copied_and_deleted(server, container, open_azure):
    store = Storage(open_azure(server, container, versions="snapshots"))
    names = []
    for number in range(3):
        store.put("k", str(number).encode())
        answer = call(server, "PUT", f"{container}/k", [("comp", "snapshot")])
        names.append(f"snapshot:{answer.headers['x-ms-snapshot']}")
    store.put("k", b"now")
    store.put("other", b"x")
    listed = [*store.list("k", versions=True)]
    assert [each.version for each in listed] == [None, *reversed(names)]
    assert [store.get("k", version=name) for name in names] == [b"0", b"1", b"2"]
    assert store.stat("k", version=names[0]).size == 1
    assert b"".join(store.stream("k", version=names[1])) == b"1"
    store.copy("k", "restored", version=names[0])
    assert store.get("restored") == b"0"
    store.copy("k", "k", version=names[2])
    assert store.get("k") == b"2"
    store.delete("k", version=names[1])
    with pytest.raises(NotFoundError):
        store.get("k", version=names[1])
    assert [each.version for each in store.list("k", versions=True)] == [None, names[2], names[0]]
    assert [each.key for each in store.list()] == ["k", "other", "restored"]


def test_snapshots_are_not_lost_with_their_blob_unless_told(server, container, open_azure, store):
    store.put("k", b"x")
    call(server, "PUT", f"{container}/k", [("comp", "snapshot")])
    for attempt in (lambda: store.delete("k"), lambda: store.delete_many(["k"]).run()):
        with pytest.raises((UnsupportedError, ExceptionGroup)) as caught:
            attempt()
        errors = getattr(caught.value, "exceptions", [caught.value])
        assert "delete_snapshots=true" in str(errors[0])
    assert store.get("k") == b"x"
    telling = Storage(open_azure(server, container, delete_snapshots=True))
    telling.delete_many(["k"]).run()
    assert [*store.list()] == []


# ---- blocks


@pytest.mark.parametrize("size", [MIB, MIB + 1, 3 * MIB - 1, 3 * MIB, 3 * MIB + 1])
@pytest.mark.parametrize("kind", ["bytes", "pieces", "file"])
def test_sizes_around_blocks(server, container, open_azure, tmp_path, size, kind):
    store, data = Storage(open_azure(server, container, **SMALL_BLOCKS)), content(size)
    path = tmp_path / "file"
    path.write_bytes(data)
    if kind == "file":
        store.upload(path, "k")
    else:
        store.put("k", data if kind == "bytes" else iter([data[:7], data[7:]]))
    assert store.stat("k").size == size
    assert store.get("k") == data


def test_writers_of_one_key_do_not_mix(server, container, open_azure):
    """Who commits first discards the others' blocks; they begin anew, and every writer's object is whole."""
    store = Storage(open_azure(server, container, **SMALL_BLOCKS))
    bodies = [content(3 * MIB, seed=number) for number in range(4)]
    failed = []

    def work(data):
        try:
            for _ in range(3):
                store.put("k", data)
        except UnavailableError:
            failed.append(data)

    threads = [threading.Thread(target=work, args=(data,)) for data in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failed) < 4
    assert store.get("k") in bodies


def test_of_many_creators_of_a_large_object_one_succeeds(server, container, open_azure):
    store = Storage(open_azure(server, container, **SMALL_BLOCKS))
    bodies = [content(2 * MIB + 1, seed=number) for number in range(6)]
    outcomes = []

    def work(data):
        try:
            store.put("k", data, if_absent=True)
            outcomes.append(data)
        except StorageError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=work, args=(data,)) for data in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [won] = [each for each in outcomes if isinstance(each, bytes)]
    assert all(isinstance(each, FileExistsError | UnavailableError) for each in outcomes if each is not won)
    assert store.get("k") == won


def test_blocks_that_wait_are_shown_and_dropped(server, container, store):
    call(server, "PUT", f"{container}/a/k", [("comp", "block"), ("blockid", "QUFB")], body=b"12345")
    store.put("a/empty", b"")
    [upload] = store.pending_uploads("a/")
    assert (upload.key, store.stat_upload(upload).size) == ("a/k", 5)
    assert [*store.pending_uploads("b")] == []
    store.abort_upload(upload)
    store.abort_upload(upload)
    assert [*store.pending_uploads()] == []
    assert [each.key for each in store.list()] == ["a/empty"]
    with pytest.raises(NotFoundError):
        store.stat_upload(upload)


def test_blocks_of_another_program_are_told(server, container, open_azure):
    call(server, "PUT", f"{container}/k", [("comp", "block"), ("blockid", "QUFB")], body=b"x")
    store = Storage(open_azure(server, container, **SMALL_BLOCKS))
    with pytest.raises(StorageError, match="blocks of another program"):
        store.put("k", content(3 * MIB))


# ---- links


def test_links_do_one_thing_for_a_while(store):
    data = content(100_000)
    store.put("a b/é", data, attributes=Attributes(content_type="text/plain"))
    link = store.presign("a b/é", expires=60, response={"content-type": "image/png"})
    status, body, headers = fetch(link)
    assert (status, body, headers["content-type"]) == (200, data, "image/png")
    assert fetch(link, "DELETE")[0] == 403
    written = store.presign("new", method="PUT", expires=60)
    assert fetch(written, "PUT", b"sent", {"x-ms-blob-type": "BlockBlob"})[0] == 201
    assert store.get("new") == b"sent"
    assert fetch(store.presign("new", method="DELETE", expires=60), "DELETE")[0] == 202
    assert not store.exists("new")
    assert fetch(link.replace("a%20b", "other"))[0] == 403, "a link is for one key"


def test_a_link_ends(server, container):
    assert (
        fetch(f"{server.url}/{server.access_key}/{container}/k?{sas(server, container, 'r', key='k', hours=-1)}")[0]
        == 403
    )


# ---- copies, listings, keys


def test_a_large_copy_is_waited_for(server, container, open_azure, monkeypatch):
    from mediagit_storage.backends.azure import copying

    monkeypatch.setattr(copying, "MAX_SYNC_COPY", MIB)
    store = Storage(open_azure(server, container, **SMALL_BLOCKS))
    data = content(3 * MIB)
    store.put("k", data, attributes=Attributes(content_type="text/plain", metadata={"a": "1"}))
    assert store.copy("k", "l").size == len(data)
    assert store.get("l") == data
    assert store.stat("l").attributes == store.stat("k").attributes
    store.copy("k", "m", attributes=Attributes(content_type="image/png"))
    assert store.get("m") == data, "through this machine, where the server cannot"


def test_emoji_are_listed_in_the_order_of_bytes(store):
    keys = ["a/\uff61", "a/\U0001f600", "a/\ue000", "a/\U0001f600x", "a/z", "\U0001f600", "\ufffd-", "b"]
    store.put_many((key, b"") for key in keys).run()
    assert [each.key for each in store.list()] == sorted(keys, key=str.encode)
    assert [each.key for each in store.list("a/", start_after="a/\uff61")] == ["a/\U0001f600", "a/\U0001f600x"]


def test_a_walk_lists_the_same(server, container, open_azure, store):
    keys = ["a", "a/b", "a-b", "a/b/c", "a b/c", "z/\U0001f600/x", "z/\uff61"]
    store.put_many((key, b"") for key in keys).run()
    walking = Storage(open_azure(server, container, ordered=False))
    assert [each.key for each in walking.list()] == sorted(keys, key=str.encode)
    assert [each.key for each in walking.list(start_after="a/b")] == [
        each.key for each in store.list(start_after="a/b")
    ]
    assert [*walking.list_dir("a/")] == [*store.list_dir("a/")]


@pytest.mark.parametrize("key", ["a//b", "folder/", "/lead", "//", "tab\there", "a%2Fb", "q?x=1#y", "é", "e\u0301"])
def test_raw_keys_that_azure_holds(server, container, open_azure, key):
    store = Storage(open_azure(server, container), keys="raw")
    store.put(key, b"x")
    assert store.get(key) == b"x"
    assert [each.key for each in store.list()] == [key]
    store.copy(key, "copy")
    assert store.get("copy") == b"x"
    store.delete(key)
    assert [each.key for each in store.list()] == ["copy"]


@pytest.mark.parametrize("key", ["a\\b", "..", "x/../y", "./a"])
def test_keys_that_azure_folds_are_refused(server, container, open_azure, key):
    store = Storage(open_azure(server, container), keys="raw")
    with pytest.raises(InvalidKeyError):
        store.put(key, b"x")
    assert not store.exists(key)
    store.delete(key)
    assert [*store.list()] == []


def test_more_than_a_batch_holds(store):
    keys = [f"k{number:03}" for number in range(600)]
    store.put_many((key, b"") for key in keys).run()
    assert [each.error for each in store.delete_many([*keys, "not there"])] == [None] * 601
    assert [*store.list()] == []


def test_a_container_that_is_made(server, open_azure):
    store = Storage(open_azure(server, "made-by-hand-1"))
    store.create()
    store.create()
    store.put("k", b"x")
    with pytest.raises(UnsupportedError):
        store.create(versioning=True)


def test_where_a_container_of_the_emulator_is(server, container):
    address = address_of(container, None, endpoint=f"{server.url}/{server.access_key}")
    assert (address.account, address.service.name) == (server.access_key, "azurite")
