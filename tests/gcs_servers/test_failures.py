"""What goes wrong between a person and the service, each as its own error and exit code, in time; and `mgs` end to end."""

from __future__ import annotations

import os
import time

import pytest

from mediagit_storage.backends.gcs import GCSBackend, GCSConfig
from mediagit_storage.errors import ConnectionLostError
from mediagit_storage.storage import Storage
from mediagit_storage.testing.command_line import there_and_back
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
    assert time.monotonic() - begin < 30


def test_check_tells_a_missing_bucket(server, open_gcs):
    store = Storage(open_gcs(server, "t-missing-bucket"))
    assert "failed" in {finding.level.value for finding in store.check()}


def test_a_folder_there_and_back(server, bucket, mgs, tmp_path):
    there_and_back(mgs, f"gs://{bucket}", tmp_path)
    assert [each["name"] for each in call(server, "GET", f"/storage/v1/b/{bucket}/o").json["items"]] == ["moved"]


def test_exit_codes(bucket, mgs):
    url = f"gs://{bucket}"
    assert mgs("cat", f"{url}/gone").code == 4
    assert mgs("stat", f"{url}/gone").code == 4
    assert mgs("ls", "gs://t-missing-bucket/").code == 3
    assert mgs("cat", "gs://t-missing-bucket/k").code == 3
    assert mgs("ls", f"{url}?nonsense=1").code == 2
    [port] = free_ports(1)
    begin = time.monotonic()
    assert mgs("cat", f"{url}/k", STORAGE_EMULATOR_HOST=f"http://127.0.0.1:{port}").code == 5
    assert time.monotonic() - begin < 15


def test_half_an_environment(bucket, mgs, tmp_path):
    """What to set is named, and nothing of a secret is shown."""
    key = tmp_path / "key.json"
    key.write_text('{"type": "service_account", "client_email": "x", "private_key": "canary-key"}')
    for path, word in ((str(tmp_path / "none.json"), "none.json"), (str(key), "token_uri")):
        result = mgs("ls", f"gs://{bucket}/", STORAGE_EMULATOR_HOST="", GOOGLE_APPLICATION_CREDENTIALS=path)
        assert result.code == 2, result
        assert word in result.err
        assert "canary" not in result.err


def test_nobody(bucket, mgs):
    """No credentials at all, and no instance of Google's to ask."""
    result = mgs("ls", f"gs://{bucket}/", STORAGE_EMULATOR_HOST="", NO_GCE_CHECK="true")
    assert result.code == 11, result
    assert "GOOGLE_APPLICATION_CREDENTIALS" in result.err


def test_a_bucket_is_made(server, mgs):
    name = f"t-made-{os.urandom(6).hex()}"
    assert mgs("mb", f"gs://{name}").code == 0
    assert call(server, "GET", f"/storage/v1/b/{name}").status == 200
