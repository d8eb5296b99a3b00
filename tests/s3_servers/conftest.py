"""Buckets of S3 for tests: a fresh one for who asks, on each server or on one. See the plugin of the emulators."""

from __future__ import annotations

import secrets
from contextlib import ExitStack, closing

import pytest

from mediagit_storage.backends.s3 import S3Backend, S3Config
from mediagit_storage.secrets import Secret
from mediagit_storage.storage import Storage
from mediagit_storage.testing.emulators import Running
from mediagit_storage.testing.emulators.raw_s3 import call
from mediagit_storage.testing.fault_proxy import FaultProxy

ALL = ("moto", "seaweedfs", "rclone", "localstack", "minio")

#: Which entry of the table of services describes a server, and what is known better about it than the table says.
OPTIONS = {
    # Both take what Amazon takes.
    # It gives the CRC32C of the parts' digests for that of an object that came in parts.
    "moto": {"service": "aws", "checksum": "sha256"},
    "localstack": {"service": "aws"},
    "seaweedfs": {"service": "seaweedfs"},
    "rclone": {"service": "generic"},
    "minio": {"service": "minio"},
}


def make_bucket(server: Running, *, lock: bool = False) -> str:
    """The name of a new, empty bucket."""
    bucket = f"t-{secrets.token_hex(8)}"
    headers = [("x-amz-bucket-object-lock-enabled", "true")] if lock else []
    answer = call(server, "PUT", bucket, headers=headers)
    assert answer.status == 200, answer
    return bucket


def open_bucket(server: Running, bucket: str, **options: object) -> S3Backend:
    """A backend over a bucket of a server, with pauses as short as tests want them."""
    given = {
        "endpoint": server.url,
        "region": server.region,
        "access_key_id": Secret(server.access_key),
        "secret_access_key": Secret(server.secret_key),
        "retry_base": 0.01,
        "retry_cap": 0.05,
        **OPTIONS[server.name],
        **options,
    }
    return S3Backend.from_config(S3Config(bucket=bucket, **given))


@pytest.fixture(autouse=True)
def buckets_of_class(request):
    """Classes with a ``server_name`` find how to use that server in themselves."""
    if getattr(request.cls, "server_name", None):
        request.instance.make_bucket = make_bucket
        request.instance.open_bucket = open_bucket


@pytest.fixture
def new_bucket(servers):
    """Makes a bucket with a random name on a server."""
    return lambda server, **options: make_bucket(servers(server) if isinstance(server, str) else server, **options)


@pytest.fixture
def open_s3():
    """Opens buckets as backends, closed in the end."""
    with ExitStack() as opened:

        def make(server: Running, bucket: str, **options: object) -> S3Backend:
            return opened.enter_context(closing(open_bucket(server, bucket, **options)))

        yield make


@pytest.fixture(params=ALL)
def server(request, servers) -> Running:
    """Each server in turn."""
    return servers(request.param)


@pytest.fixture
def bucket(server) -> str:
    """A bucket of its own on that server."""
    return make_bucket(server)


@pytest.fixture
def store(server, bucket, open_s3) -> Storage:
    """The same, opened."""
    return Storage(open_s3(server, bucket))


@pytest.fixture
def through_proxy(servers, new_bucket, open_s3):
    """Opens a new bucket of SeaweedFS through a proxy with these faults; the third is the bucket without a proxy.

    Both are seen through ``layered``; the options are those of the first.
    """
    server = servers("seaweedfs")

    def enter(*faults, always=(), storm=None, layered=lambda inner: inner, **options):
        bucket = new_bucket(server)
        proxy = FaultProxy(server.host, faults, always=always, storm=storm)
        spoilt = Storage(layered(open_s3(server, bucket, endpoint=proxy.url, **options)))
        return proxy, spoilt, Storage(layered(open_s3(server, bucket)))

    return enter
