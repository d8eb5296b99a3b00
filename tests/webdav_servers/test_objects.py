"""What holds on each WebDAV server beyond the suite: folders are never lost, uploads are found, bodies of every kind."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from functools import partial

import pytest

import mediagit_storage as mgs
from mediagit_storage.errors import (
    AlreadyExistsError,
    BucketNotFoundError,
    InvalidKeyError,
    KeyConflictError,
    NotFoundError,
    NotModifiedError,
    PreconditionError,
    UnsupportedError,
)
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.emulators.raw_webdav import call
from mediagit_storage.testing.fault_proxy import FaultProxy
from mediagit_storage.testing.sources import content
from mediagit_storage.types import Attributes, ObjectInfo

MIB = 1024 * 1024


# ---- bodies

SIZES = [0, 1, 4095, 65_536, MIB - 1, MIB, MIB + 1, 5 * MIB + 7]


@pytest.mark.parametrize("size", SIZES)
def test_bytes_of_every_size(store, size):
    data = content(size)
    info = store.put("a/b", data)
    assert (info.size, store.stat("a/b").size) == (size, size)
    assert store.get("a/b") == data


@pytest.mark.parametrize("size", [0, 10, MIB, MIB + 1, 3 * MIB])
@pytest.mark.parametrize("piece", [100_000, MIB], ids=["small", "large"])
def test_streams_of_unknown_size(store, size, piece):
    data = content(size)
    store.put("k", (data[start : start + piece] for start in range(0, size, piece)))
    assert store.get("k") == data


@pytest.mark.parametrize("size", [10, MIB, 3 * MIB])
def test_files(store, size, tmp_path):
    data = content(size)
    (tmp_path / "f").write_bytes(data)
    store.upload(tmp_path / "f", "x/f")
    store.download("x/f", tmp_path / "g")
    assert (tmp_path / "g").read_bytes() == data
    with (tmp_path / "f").open("rb") as file:
        file.seek(3)
        store.put("rest", file)
    assert store.get("rest") == data[3:]


def test_a_stream_of_declared_size(store):
    data = content(2 * MIB)
    store.put("k", io.BytesIO(data), size=len(data))
    with pytest.raises(mgs.IntegrityError):
        store.put("k", iter([data]), size=len(data) + 1)
    assert store.get("k") == data


def test_a_large_download_in_ranges(store, tmp_path):
    data = content(20 * MIB)
    store.put("large", data)
    store.download("large", tmp_path / "large")
    assert hashlib.sha256((tmp_path / "large").read_bytes()).digest() == hashlib.sha256(data).digest()


def test_a_server_that_takes_no_chunks_is_served_from_a_temporary_file(server, folder, open_dav):
    store = Storage(open_dav(server, folder, chunked=False))
    data = content(3 * MIB)
    store.put("k", iter([data[:MIB], data[MIB:]]))
    assert store.get("k") == data


# ---- folders


@pytest.mark.parametrize("depth", [1, 5, 20])
def test_folders_are_made_on_the_way(store, depth):
    key = "/".join(["d"] * depth) + "/k"
    store.put(key, b"x")
    assert [info.key for info in store.list()] == [key]


@covers(222)
def test_many_writers_make_the_same_folders_at_once(store):
    errors = []

    def write(number):
        try:
            store.put(f"x/y/z/{number}", b"1")
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len([*store.list("x/y/z/")]) == 12


def test_a_delete_never_takes_a_folder(store, server, folder):
    """DELETE of a folder would take everything in it."""
    store.put("d/e/k", b"x")
    for key in ("d", "d/e", "d/", "d/e/"):
        store.delete(key)
        with pytest.raises(NotFoundError):
            store.delete(key, missing_ok=False)
    assert all(outcome.error is None for outcome in store.delete_many(["d", "d/e"]))
    assert store.get("d/e/k") == b"x"


@covers(222)
@pytest.mark.parametrize("how", ["put", "stream", "create", "copy", "rename"])
def test_nothing_is_ever_written_over_a_folder(store, how):
    """A MOVE over a folder would delete everything in it."""
    store.put("d/e/k", b"x")
    store.put("other", b"y")
    writes = {
        "put": lambda: store.put("d", b"new"),
        "stream": lambda: store.put("d", iter([content(2 * MIB)])),
        "create": lambda: store.put("d", b"new", if_absent=True),
        "copy": lambda: store.copy("other", "d"),
        "rename": lambda: store.rename("other", "d"),
    }
    if how == "create" and not store.capabilities.if_absent:
        with pytest.raises(UnsupportedError):
            writes[how]()
        return
    with pytest.raises(KeyConflictError):
        writes[how]()
    assert store.get("d/e/k") == b"x"
    assert store.get("other") == b"y"


@pytest.mark.parametrize("how", ["put", "stream", "copy", "rename"])
def test_nothing_is_ever_written_below_an_object(store, how):
    store.put("a", b"x")
    store.put("other", b"y")
    writes = {
        "put": lambda: store.put("a/b/c", b"new"),
        "stream": lambda: store.put("a/b/c", iter([content(2 * MIB)])),
        "copy": lambda: store.copy("other", "a/b/c"),
        "rename": lambda: store.rename("other", "a/b/c"),
    }
    with pytest.raises(KeyConflictError):
        writes[how]()
    assert store.get("a") == b"x"
    assert [info.key for info in store.list()] == ["a", "other"]


def test_empty_folders_are_not_shown_and_give_way(store, server, folder):
    store.put("d/e/f/k", b"x")
    store.delete("d/e/f/k")
    call(server, "MKCOL", f"{folder}/empty/")
    assert [*store.list_dir()] == []
    assert [*store.list()] == []
    store.put("d", b"an object now")
    store.put("empty", iter([content(2 * MIB)]))
    assert [info.key for info in store.list()] == ["d", "empty"]
    assert store.get("d") == b"an object now"


def test_a_folder_that_others_remove_is_made_again(store, server, folder):
    store.put("d/e/1", b"x")
    call(server, "DELETE", f"{folder}/d/")
    store.put("d/e/2", b"y")
    assert [info.key for info in store.list()] == ["d/e/2"]
    call(server, "DELETE", f"{folder}/d/")
    store.put("other", b"z")
    store.copy("other", "d/e/3")
    assert store.get("d/e/3") == b"z"


def test_a_folder_reads_as_absent(store):
    store.put("d/k", b"x")
    for read in (store.get, store.stat, store.stream, partial(store.get, length=0)):
        with pytest.raises(NotFoundError):
            read("d")
    assert not store.exists("d")
    assert not store.exists("d/k/x")


def test_a_missing_storage_is_no_missing_object(server, open_dav):
    store = Storage(open_dav(server, "t-not-there"))
    for attempt in (
        partial(store.get, "k"),
        partial(store.exists, "k"),
        lambda: [*store.list()],
        partial(store.put, "k", b"x"),
    ):
        with pytest.raises(BucketNotFoundError):
            attempt()
    assert "failed" in {finding.level.value for finding in store.check()}


def test_a_storage_is_made_when_asked(server, folder, open_dav):
    store = Storage(open_dav(server, f"{folder}/deep/er"))
    store.create()
    store.create()
    store.put("k", b"x")
    assert Storage(open_dav(server, folder)).get("deep/er/k") == b"x"


# ---- listings


def test_the_order_across_folders(store):
    keys = ["a b/1", "a-", "a-b/x", "a.txt", "a/b", "a/b.c", "a0", "ab/c", "é/1", "z/y/x/w"]
    store.put_many((key, b"") for key in keys).run()
    expected = sorted(keys, key=str.encode)
    assert [info.key for info in store.list()] == expected
    for after in [*keys, "a", "a/", "a.", "z/y"]:
        rest = [key for key in expected if key.encode() > after.encode()]
        assert [info.key for info in store.list(start_after=after)] == rest


def test_a_wide_and_deep_tree(store):
    keys = [f"{one}/{two}/{three}" for one in range(4) for two in range(4) for three in range(3)]
    store.put_many((key, key.encode()) for key in keys).run()
    assert [info.key for info in store.list()] == sorted(keys)
    assert [info.key for info in store.list("2/1")] == [key for key in sorted(keys) if key.startswith("2/1")]


def test_pruning_asks_only_for_what_is_wanted(server, folder, open_dav):
    Storage(open_dav(server, folder)).put_many((f"{number:02}/k", b"") for number in range(10)).run()
    with FaultProxy(server.host) as proxy:
        url = server.url.replace(server.host, proxy.host)
        seen = Storage(open_dav(server, folder, url=f"{url}/{folder}"))
        assert [info.key for info in seen.list(start_after="08/zzz")] == ["09/k"]
        assert len(proxy.requests) == 3
        proxy.requests.clear()
        assert [info.key for info in seen.list("05/")] == ["05/k"]
        assert len(proxy.requests) == 1
        proxy.requests.clear()
        next(iter(seen.list()))
        assert len(proxy.requests) <= 10


@pytest.mark.parametrize("key", ["{attempt}", "a/{attempt}{attempt}", "%01", "1", "~", "{}", "%7Battempt%7D"])
def test_keys_that_look_like_something_of_ours(store, key):
    store.put(key, b"x")
    store.put(f"{key}-streamed", iter([content(2 * MIB)]))
    store.copy(key, f"{key}-copied")
    assert [info.key for info in store.list()] == sorted([key, f"{key}-copied", f"{key}-streamed"])
    assert store.get(key) == b"x"
    assert [*store.pending_uploads()] == []


def test_foreign_files_are_listed_exactly(store, server, folder):
    for name in ("plain", "with blank", "per%cent", "pl+us", "hash#", "ümlaut"):
        assert call(server, "PUT", f"{folder}/{name}", body=b"x").status == 201
    assert [info.key for info in store.list()] == ["hash#", "per%cent", "pl+us", "plain", "with blank", "ümlaut"]
    for info in store.list():
        assert store.get(info.key) == b"x"


# ---- uploads


@covers(107)
def test_a_killed_upload_is_found_and_removed(server, folder, open_dav, store):
    """kill -9 in the middle of a body: no object, and nothing that clean-up cannot find."""
    script = textwrap.dedent(
        f"""
        import os, sys, time
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        from mediagit_storage.backends.webdav import WebDAVBackend, WebDAVConfig
        from mediagit_storage.secrets import Secret
        from mediagit_storage.storage import Storage
        config = WebDAVConfig(url={f"{server.url}/{folder}"!r}, username=Secret({server.access_key!r}),
                              password=Secret(os.environ["SECRET"]), dead_properties={server.name == "apache"!r})
        def pieces():
            for _ in range(40):
                yield b"x" * 262144
            print("sent", flush=True)
            time.sleep(60)
        Storage(WebDAVBackend.from_config(config)).put("d/victim", pieces())
        """
    )
    environment = {**os.environ, "SECRET": server.secret_key}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout.readline() == b"sent\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while True:
        left = [*store.pending_uploads()]
        if left or time.monotonic() > deadline or server.name in {"apache", "nginx"}:
            break
        time.sleep(0.1)
    assert not store.exists("d/victim")
    assert [info.key for info in store.list()] == []
    assert {upload.key for upload in left} <= {"d/victim"}
    if server.name == "wsgidav":
        assert left
    for upload in left:
        assert store.stat_upload(upload).id == upload.id
        store.abort_upload(upload)
        store.abort_upload(upload)
    assert [*store.pending_uploads()] == []


def test_hidden_names_are_refused_and_not_listed(store, server, folder):
    name = "~mgs-upload-18f0000000a-0123456789abcdef-1~name"
    assert call(server, "PUT", f"{folder}/{name}", body=b"part").status == 201
    assert [*store.list()] == []
    assert [*store.list_dir()] == []
    with pytest.raises(NotFoundError):
        store.get(name)
    with pytest.raises(InvalidKeyError):
        store.put(name, b"x")
    [upload] = store.pending_uploads()
    assert (upload.key, upload.size, upload.started.year) == ("name", 4, 2024)
    assert [*store.pending_uploads("na")] == [upload]
    assert [*store.pending_uploads("x")] == []
    store.abort_upload(upload)
    assert call(server, "GET", f"{folder}/{name}").status == 404


# ---- conditions, etags


def test_reads_on_condition(store):
    etag = store.put("k", b"one").etag
    assert store.get("k", if_match=etag) == b"one"
    with pytest.raises(NotModifiedError):
        store.get("k", if_none_match=etag)
    with pytest.raises(PreconditionError):
        store.get("k", if_match="another")
    with pytest.raises(PreconditionError):
        store.stream("k", if_match="another")


def test_put_tells_what_stat_and_list_tell(store):
    for key in ("k", "d/k"):
        info = store.put(key, content(1000))
        [listed] = store.list(key)
        with store.stream(key) as stream:
            streamed = stream.info
        for each in (listed, store.stat(key), streamed):
            assert (each.size, each.etag, each.modified) == (info.size, info.etag, info.modified)
        assert info.etag
    copied = store.copy("k", "l")
    assert store.stat("l").etag == copied.etag


def test_create_only_writes_where_they_are_promised(server, folder, open_dav):
    store = Storage(open_dav(server, folder))
    if server.name in {"apache", "wsgidav"}:
        # Measured: of many at one moment several win.
        with pytest.raises(UnsupportedError):
            store.put("k", b"x", if_absent=True)
        return
    results = []

    def create(number):
        try:
            results.append(store.put("k", bytes([number]) * 100, if_absent=True))
        except AlreadyExistsError as error:
            results.append(error)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(each, ObjectInfo) for each in results) == 1
    assert len(results) == 16
    assert [*store.pending_uploads()] == []


@pytest.mark.parametrize("server", ["apache", "wsgidav"], indirect=True)
def test_writes_over_a_known_object_by_option(server, folder, open_dav):
    """Whoever says that the server honours ``If`` gets it; whether that is true is seen here, one writer at a time."""
    store = Storage(open_dav(server, folder, conditional_writes=True))
    first = store.put("k", b"first!").etag
    second = store.put("k", b"second", if_match=first).etag
    with pytest.raises(PreconditionError):
        store.put("k", b"third", if_match="another")
    with pytest.raises(PreconditionError):
        store.put("gone", b"x", if_match=second)
    assert store.get("k") == b"second"


# ---- attributes


def test_attributes_are_refused_unless_said_to_be_kept(store):
    with pytest.raises(UnsupportedError):
        store.put("k", b"x", attributes=Attributes(content_type="text/plain"))
    assert store.put("k", b"x", attributes=Attributes()).size == 1


@pytest.mark.parametrize("server", ["apache", "wsgidav"], indirect=True)
def test_dead_properties_hold_attributes(server, folder, open_dav):
    store = Storage(open_dav(server, folder, dead_properties=True))
    first = Attributes(
        content_type="text/plain", metadata={"a": "<&> é 日本"}, tags={"t": "1"}, cache_control="no-store"
    )
    store.put("k", b"x", attributes=first)
    assert store.stat("k").attributes == first
    store.copy("k", "d/copied")
    store.rename("k", "moved")
    assert store.stat("d/copied").attributes == first
    assert store.stat("moved").attributes == first
    store.put("moved", b"y")
    assert store.stat("moved").attributes == Attributes(), "an overwrite replaces attributes"
    store.copy("d/copied", "d/copied", attributes=Attributes(metadata={"b": "2"}))
    assert store.stat("d/copied").attributes == Attributes(metadata={"b": "2"})


@pytest.mark.parametrize("server", ["rclone-webdav", "nginx"], indirect=True)
def test_a_server_without_properties_says_so_and_stores_nothing(server, folder, open_dav):
    store = Storage(open_dav(server, folder, dead_properties=True))
    with pytest.raises(mgs.StorageError):
        store.put("k", b"x", attributes=Attributes(content_type="text/plain"))
    assert [*store.list()] == []
    assert [*store.pending_uploads()] == []


# ---- the server itself


def test_check_tells_which_server_it_is(server, folder, open_dav):
    findings = {finding.name: finding for finding in Storage(open_dav(server, folder, service="generic")).check()}
    assert {finding.level.value for finding in findings.values()} <= {"ok", "warning"}
    expected = {"rclone-webdav": "rclone", "wsgidav": "wsgidav"}.get(server.name, server.name)
    assert f"service={expected}" in findings["service"].advice


@pytest.mark.parametrize("service", ["generic"])
def test_the_careful_defaults_work_on_every_server(server, folder, open_dav, service):
    store = Storage(open_dav(server, folder, service=service, create_only=None))
    assert not store.capabilities.if_absent
    for turn in range(3):
        data = content(1000 + turn)
        info = store.put("d/k", data)
        assert (store.get("d/k"), store.stat("d/k").etag) == (data, info.etag)
    store.copy("d/k", "d/l")
    store.rename("d/l", "e/m")
    store.delete("d/k")
    assert [info.key for info in store.list()] == ["e/m"]
    assert [*store.pending_uploads()] == []


@pytest.mark.parametrize("server", ["apache", "wsgidav"], indirect=True)
def test_digest(server, folder, open_dav):
    url = server.url.replace("/dav", "/digest")
    store = Storage(open_dav(server, folder, url=f"{url}/{folder}", auth="digest"))
    store.put("d/a b%c", b"x")
    store.put("streamed", iter([content(2 * MIB)]))
    assert store.get("d/a b%c") == b"x"
    assert [info.key for info in store.list()] == ["d/a b%c", "streamed"]
    assert [outcome.value for outcome in store.get_many(["d/a b%c"] * 20)] == [b"x"] * 20


@pytest.mark.parametrize("server", ["apache"], indirect=True)
def test_a_server_that_wants_digest_gets_it(server, folder, open_dav):
    url = server.url.replace("/dav", "/digest")
    store = Storage(open_dav(server, folder, url=f"{url}/{folder}"))
    store.put("first", iter([content(2 * MIB)]))
    assert store.get("first") == content(2 * MIB)


def test_batches(store):
    keys = [f"b/{number % 7}/{number}" for number in range(60)]
    assert store.put_many((key, key.encode()) for key in keys).run() == 60
    assert [outcome.value for outcome in store.get_many(keys)] == [key.encode() for key in keys]
    assert [outcome.value.size for outcome in store.stat_many(keys)] == [len(key) for key in keys]
    assert store.delete_many(keys).run() == 60
    assert [*store.list()] == []


def test_mgs_urls(server, folder, monkeypatch):
    monkeypatch.setenv("WEBDAV_URL", server.url)
    monkeypatch.setenv("WEBDAV_USERNAME", server.access_key)
    monkeypatch.setenv("WEBDAV_PASSWORD", server.secret_key)
    path = server.url.partition("://")[2].partition("/")[2]
    with mgs.open_storage(f"dav://{server.host}/{path}/{folder}/sub".replace("//t-", "/t-")) as store:
        store.put("k", b"x")
    with mgs.open_storage(f"dav:///{folder}") as store:
        assert [info.key for info in store.list()] == ["sub/k"]
        assert store.get("sub/k") == b"x"
