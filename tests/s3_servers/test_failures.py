"""What goes wrong between a person and a server, each as its own error and exit code, in time; and `mgs` end to end."""

from __future__ import annotations

import os
import subprocess
import time
from functools import partial

import pytest

from mediagit_storage.backends.s3 import S3Backend, S3Config
from mediagit_storage.clock import SystemClock
from mediagit_storage.errors import (
    AccessError,
    ConnectionLostError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from mediagit_storage.secrets import Secret
from mediagit_storage.storage import Storage
from mediagit_storage.testing.command_line import there_and_back
from mediagit_storage.testing.emulators.kinds import free_ports
from mediagit_storage.testing.emulators.raw_s3 import call

#: Those that check signatures.
STRICT = pytest.mark.parametrize("server", ["seaweedfs", "rclone", "minio"], indirect=True)


def _list(store):
    return [*store.list()]


@STRICT
def test_a_wrong_secret(server, bucket, open_s3):
    for wrong in ({"secret_access_key": Secret("wrong" * 8)}, {"access_key_id": Secret("TESTUNKNOWN00000")}):
        store = Storage(open_s3(server, bucket, **wrong))
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
            assert "wrong" * 8 not in str(caught.value)


@pytest.mark.parametrize("server", ["seaweedfs", "minio"], indirect=True)
def test_nobody(server, bucket, open_s3):
    store = Storage(open_s3(server, bucket, anonymous=True, access_key_id=None, secret_access_key=None))
    with pytest.raises((PermissionDeniedError, UnauthenticatedError)):
        store.get("k")


class Skewed(SystemClock):
    """A clock that is hours wrong."""

    def now_ns(self):
        return super().now_ns() + 3 * 3600 * 10**9


@pytest.mark.parametrize("server", ["seaweedfs", "minio"], indirect=True)
def test_a_clock_that_is_wrong_is_set_by_the_server(server, bucket):
    """Signed with the server's time from the second attempt on."""
    config = S3Config(
        bucket=bucket,
        endpoint=server.url,
        region=server.region,
        service="generic",
        access_key_id=Secret(server.access_key),
        secret_access_key=Secret(server.secret_key),
    )
    with Storage(S3Backend.from_config(config, clock=Skewed())) as store:
        store.put("k", b"x")
        assert store.get("k") == b"x"


def test_no_server_there(servers, open_s3, request):
    [port] = free_ports(1)
    config = {"endpoint": f"http://127.0.0.1:{port}", "connect_timeout": 2.0, "attempts": 2, "retry_base": 0.01}
    backend = S3Backend.from_config(
        S3Config(
            bucket="bucket", region="us-east-1", access_key_id=Secret("a"), secret_access_key=Secret("b"), **config
        )
    )
    begin = time.monotonic()
    with Storage(backend) as store, pytest.raises(ConnectionLostError):
        store.get("k")
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize("server", ["moto", "seaweedfs", "rclone", "localstack", "minio"], indirect=True)
def test_check_tells_a_missing_bucket(server, open_s3):
    store = Storage(open_s3(server, "t-missing-bucket"))
    assert "failed" in {finding.level.value for finding in store.check()}


# ---- mgs


def test_a_folder_there_and_back(server, bucket, mgs, tmp_path):
    there_and_back(mgs, f"s3://{bucket}", tmp_path)
    assert call(server, "GET", bucket, [("list-type", "2")]).body.count(b"<Key>") == 1


def test_exit_codes(server, bucket, mgs):
    url = f"s3://{bucket}"
    assert mgs("cat", f"{url}/gone").code == 4
    assert mgs("stat", f"{url}/gone").code == 4
    assert mgs("ls", "s3://t-missing-bucket/").code == 3
    assert mgs("cat", "s3://t-missing-bucket/k").code == 3
    assert mgs("ls", f"{url}?nonsense=1").code == 2
    [port] = free_ports(1)
    begin = time.monotonic()
    assert mgs("cat", f"{url}/k", AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}").code == 5
    assert time.monotonic() - begin < 15


@STRICT
def test_exit_code_of_wrong_credentials(bucket, mgs):
    result = mgs("ls", f"s3://{bucket}/", AWS_SECRET_ACCESS_KEY="canary" * 7)
    assert result.code == 11
    assert "canary" not in result.out + result.err


def test_a_bucket_is_made(server, mgs):
    name = f"t-made-{os.urandom(6).hex()}"
    assert mgs("mb", f"s3://{name}").code == 0
    assert call(server, "HEAD", name).status == 200


def test_a_link_on_standard_output(server, bucket, mgs):
    assert mgs("put", "-", f"s3://{bucket}/k", stdin=b"data").code == 0
    link = mgs("presign", f"s3://{bucket}/k", "--expires", "60").out.strip()
    assert subprocess.run(["curl", "-s", link], capture_output=True, check=True).stdout == b"data"
