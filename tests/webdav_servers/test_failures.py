"""What goes wrong between a person and a WebDAV server, each as its own error and exit code, in time; and `mgs` end to end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from functools import partial

import pytest

from mediagit_storage.errors import AccessError, ConnectionLostError, NotFoundError, StorageError
from mediagit_storage.secrets import Secret
from mediagit_storage.storage import Storage
from mediagit_storage.testing.command_line import there_and_back
from mediagit_storage.testing.emulators.kinds import free_ports
from mediagit_storage.testing.emulators.raw_webdav import call

GIB = 1024 * 1024 * 1024


def _list(store):
    return [*store.list()]


def test_a_wrong_password(server, folder, open_dav):
    for wrong in (
        {"password": Secret("canary" * 5)},
        {"username": Secret("nobody")},
        {"password": Secret("canary" * 5), "auth": "digest"},
    ):
        store = Storage(open_dav(server, folder, **wrong))
        attempts = (
            partial(store.get, "k"),
            partial(store.put, "k", b"x"),
            partial(_list, store),
            partial(store.exists, "k"),
        )
        for attempt in attempts:
            with pytest.raises(AccessError) as caught:
                attempt()
            assert not isinstance(caught.value, NotFoundError)
            assert "canary" not in str(caught.value)


def test_nobody(server, folder, open_dav):
    store = Storage(open_dav(server, folder, username=None, password=None))
    with pytest.raises(AccessError):
        store.get("k")


def test_a_port_where_nobody_listens(server, folder, open_dav):
    [port] = free_ports(1)
    store = Storage(open_dav(server, folder, url=f"http://127.0.0.1:{port}/{folder}"))
    begin = time.monotonic()
    with pytest.raises(ConnectionLostError, match="check address and port"):
        store.get("k")
    assert time.monotonic() - begin < 30


def test_a_path_that_is_a_file(server, folder, open_dav):
    assert call(server, "PUT", f"{folder}/file", body=b"x").status == 201
    store = Storage(open_dav(server, f"{folder}/file"))
    with pytest.raises(StorageError):
        store.put("k", b"x")
    assert call(server, "GET", f"{folder}/file").body == b"x"


# ---- mgs


@pytest.fixture
def mgs(mgs, server, folder):
    """Runs `mgs` with the folder as the URL of the environment, too."""
    return partial(mgs, WEBDAV_URL=f"{server.url}/{folder}")


def test_a_folder_there_and_back(server, folder, mgs, tmp_path):
    there_and_back(mgs, "dav://", tmp_path)
    assert call(server, "GET", f"{folder}/moved").body == b"from a pipe"


def test_exit_codes(mgs):
    assert mgs("cat", "dav:///gone").code == 4
    assert mgs("ls", "dav:///?nonsense=1").code == 2
    wrong = mgs("ls", "dav:///", WEBDAV_PASSWORD="canary" * 5)
    assert wrong.code == 11
    assert "canary" not in wrong.out + wrong.err
    half = mgs("ls", "dav:///", WEBDAV_PASSWORD="")
    assert half.code == 2
    assert "WEBDAV_PASSWORD" in half.err
    [port] = free_ports(1)
    begin = time.monotonic()
    assert mgs("cat", "dav:///k", WEBDAV_URL=f"http://127.0.0.1:{port}/x").code == 5
    assert mgs("ls", "dav:///", WEBDAV_URL="").code == 2
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize("server", ["apache"], indirect=True)
def test_a_storage_is_made_by_mb(server, folder, mgs):
    url = f"{server.url}/{folder}/new"
    assert mgs("ls", "dav:///", WEBDAV_URL=url).code == 3
    assert mgs("mb", "dav:///", WEBDAV_URL=url).code == 0
    assert mgs("ls", "dav:///", WEBDAV_URL=url).code == 0


# ---- memory


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("source", ["file", "stream"])
def test_a_gibibyte_up_and_down_in_little_memory(server, folder, tmp_path, source):
    """In a process of its own, whose peak is below 100 MiB with everything that Python takes.

    Not `ru_maxrss`, which counts the process that started it too.
    """
    script = textwrap.dedent(
        """
        import hashlib, json, os, re
        from mediagit_storage.backends.webdav import WebDAVBackend, WebDAVConfig
        from mediagit_storage.secrets import Secret
        from mediagit_storage.storage import Storage
        given = json.loads(os.environ["GIVEN"])
        config = WebDAVConfig(url=given["url"], username=Secret(given["user"]), password=Secret(given["password"]), service=given["service"])
        block = bytes(range(256)) * 4096
        with Storage(WebDAVBackend.from_config(config)) as store:
            if given["source"] == "file":
                with open("large", "wb") as file:
                    for _ in range(1024):
                        file.write(block)
                store.upload("large", "large")
                os.unlink("large")
            else:
                store.put("large", (block for _ in range(1024)))
            store.download("large", "fetched")
            digest = hashlib.sha256()
            for piece in store.stream("large"):
                digest.update(piece)
            with open("fetched", "rb") as file:
                same = hashlib.file_digest(file, "sha256").digest() == digest.digest()
            os.unlink("fetched")
            expected = hashlib.sha256()
            for _ in range(1024):
                expected.update(block)
            peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]
            print(json.dumps([same and expected.digest() == digest.digest(), int(peak)]))
        """
    )
    given = {
        "url": f"{server.url}/{folder}",
        "user": server.access_key,
        "password": server.secret_key,
        "source": source,
    }
    given["service"] = {"rclone-webdav": "rclone"}.get(server.name, server.name)
    environment = {**os.environ, "GIVEN": json.dumps(given), "HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, timeout=550, cwd=tmp_path, env=environment, check=False
    )
    call(server, "DELETE", f"{folder}/large")
    assert result.returncode == 0, result.stderr.decode()[-2000:]
    whole, peak = json.loads(result.stdout)
    assert whole
    assert peak < 100 * 1024, f"{peak // 1024} MiB"
