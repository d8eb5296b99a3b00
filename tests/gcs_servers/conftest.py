"""Fresh buckets on fake-gcs-server."""

from __future__ import annotations

import secrets
from contextlib import ExitStack, closing

import pytest

from mediagit_storage.backends.gcs import GCSBackend, GCSConfig
from mediagit_storage.storage import Storage
from mediagit_storage.testing.emulators import Running
from mediagit_storage.testing.emulators.raw_gcs import make_bucket


def new_name(server: Running) -> str:
    """The name of a new, empty bucket."""
    bucket = f"t-{secrets.token_hex(8)}"
    answer = make_bucket(server, bucket)
    assert answer.status == 200, answer
    return bucket


def open_bucket(server: Running, bucket: str, **options: object) -> GCSBackend:
    """A backend over a bucket, with pauses as short as tests want them."""
    given = {"emulator_host": server.url, "retry_base": 0.01, "retry_cap": 0.05, **options}
    return GCSBackend.from_config(GCSConfig(bucket=bucket, **given))


@pytest.fixture(autouse=True)
def helpers_of_class(request):
    """Classes with a ``server_name`` find in themselves how to use the server."""
    if getattr(request.cls, "server_name", None):
        request.instance.new_name = new_name
        request.instance.open_bucket = open_bucket


@pytest.fixture(params=["fake-gcs-server"])
def server(request, servers) -> Running:
    return servers(request.param)


@pytest.fixture
def bucket(server) -> str:
    """A bucket of its own."""
    return new_name(server)


@pytest.fixture
def open_gcs():
    """Opens buckets as backends, closed in the end."""
    with ExitStack() as opened:

        def make(server: Running, bucket: str, **options: object) -> GCSBackend:
            return opened.enter_context(closing(open_bucket(server, bucket, **options)))

        yield make


@pytest.fixture
def store(server, bucket, open_gcs) -> Storage:
    """The bucket, opened."""
    return Storage(open_gcs(server, bucket))
