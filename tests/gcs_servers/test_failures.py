"""What goes wrong between a person and the service, each as its own error and exit code, in time; and `mgs` end to end."""

from __future__ import annotations

import json
import os
import time

import pytest

from mediagit_storage.backends.gcs import GCSBackend, GCSConfig
from mediagit_storage.errors import ConnectionLostError
from mediagit_storage.storage import Storage
from mediagit_storage.testing.emulators import running
from mediagit_storage.testing.emulators.kinds import free_ports
from mediagit_storage.testing.emulators.plugin import cache_of
from mediagit_storage.testing.emulators.raw_gcs import call


@pytest.mark.uses_server("fake-gcs-server")
def test_the_server_starts_and_ends(pytestconfig):
    with running("fake-gcs-server", cache=cache_of(pytestconfig)) as server:
        assert server.environment() == {"STORAGE_EMULATOR_HOST": server.url}
        assert call(server, "GET", "/storage/v1/b", [("project", "p")]).status == 200
    with pytest.raises(ConnectionRefusedError):
        call(server, "GET", "/storage/v1/b", timeout=1)


def test_no_server_there():
    [port] = free_ports(1)
    config = GCSConfig(
        bucket="bucket", emulator_host=f"http://127.0.0.1:{port}", connect_timeout=2.0, attempts=2, retry_base=0.01
    )
    begin = time.monotonic()
    with Storage(GCSBackend.from_config(config)) as store, pytest.raises(ConnectionLostError):
        store.get("k")
    assert time.monotonic() - begin < 5


def test_check_tells_a_missing_bucket(server, open_gcs):
    store = Storage(open_gcs(server, "t-missing-bucket"))
    assert "failed" in {finding.level.value for finding in store.check()}


def test_a_folder_there_and_back(server, bucket, mgs, tmp_path):
    files = {"a.txt": b"a", "sub/b c+d.bin": b"b" * 100_000, "sub/é%.png": b"", "日本/x": b"x"}
    for name, data in files.items():
        path = tmp_path / "from" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    url = f"gs://{bucket}"
    assert mgs("cp", "-r", "from/", f"{url}/in/").returncode == 0
    listed = mgs("ls", "-r", "--json", f"{url}/in/")
    assert listed.returncode == 0, listed.stderr
    assert len([json.loads(line) for line in listed.stdout.splitlines()]) == len(files)
    assert mgs("cat", f"{url}/in/a.txt").stdout == b"a"
    assert mgs("put", "-", f"{url}/piped", stdin=b"from a pipe").returncode == 0
    assert mgs("mv", f"{url}/piped", f"{url}/moved").returncode == 0
    assert mgs("cat", f"{url}/moved").stdout == b"from a pipe"
    assert mgs("cp", "-r", f"{url}/in/", "to/").returncode == 0
    found = {
        path.relative_to(tmp_path / "to").as_posix(): path.read_bytes()
        for path in (tmp_path / "to").rglob("*")
        if path.is_file()
    }
    assert found == files
    assert mgs("rm", "-r", f"{url}/in/").returncode == 0
    assert [each["name"] for each in call(server, "GET", f"/storage/v1/b/{bucket}/o").json["items"]] == ["moved"]


def test_exit_codes(bucket, mgs):
    url = f"gs://{bucket}"
    assert mgs("cat", f"{url}/gone").returncode == 4
    assert mgs("stat", f"{url}/gone").returncode == 4
    assert mgs("ls", "gs://t-missing-bucket/").returncode == 3
    assert mgs("cat", "gs://t-missing-bucket/k").returncode == 3
    assert mgs("ls", f"{url}?nonsense=1").returncode == 2
    [port] = free_ports(1)
    begin = time.monotonic()
    assert mgs("cat", f"{url}/k", STORAGE_EMULATOR_HOST=f"http://127.0.0.1:{port}").returncode == 5
    assert time.monotonic() - begin < 15


def test_half_an_environment(bucket, mgs, tmp_path):
    """What to set is named, and nothing of a secret is shown."""
    key = tmp_path / "key.json"
    key.write_text('{"type": "service_account", "client_email": "x", "private_key": "canary-key"}')
    for path, word in ((str(tmp_path / "none.json"), b"none.json"), (str(key), b"token_uri")):
        result = mgs("ls", f"gs://{bucket}/", STORAGE_EMULATOR_HOST="", GOOGLE_APPLICATION_CREDENTIALS=path)
        assert result.returncode == 2, result
        assert word in result.stderr
        assert b"canary" not in result.stderr
        assert b"Traceback" not in result.stderr


def test_nobody(bucket, mgs):
    """No credentials at all, and no instance of Google's to ask."""
    result = mgs("ls", f"gs://{bucket}/", STORAGE_EMULATOR_HOST="", NO_GCE_CHECK="true")
    assert result.returncode == 11, result
    assert b"GOOGLE_APPLICATION_CREDENTIALS" in result.stderr


def test_a_bucket_is_made(server, mgs):
    name = f"t-made-{os.urandom(6).hex()}"
    assert mgs("mb", f"gs://{name}").returncode == 0
    assert call(server, "GET", f"/storage/v1/b/{name}").status == 200
