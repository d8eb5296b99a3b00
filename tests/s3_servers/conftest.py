"""Real servers, one of each kind for a whole run however many processes it has, and a fresh bucket for who asks.

A test says which server it needs: with the parameter ``server`` (every one in turn), with the mark
``uses_server("moto")``, or as a class with the attribute ``server_name``.
"""

from __future__ import annotations

import os
import secrets
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from mediagit_storage.backends.s3 import S3Backend, S3Config
from mediagit_storage.secrets import Secret
from mediagit_storage.storage import Storage
from mediagit_storage.testing.emulators import MissingError, Running, running_already, shared
from mediagit_storage.testing.emulators.known_faults import KNOWN_FAULTS
from mediagit_storage.testing.emulators.raw_s3 import call

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "servers"
ALL = ("moto", "seaweedfs", "rclone", "localstack", "minio")
POOL = pytest.StashKey["Pool"]()


class Pool:
    """Starts servers by name, each once; ``place`` is a folder that all processes of the run have in common."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._stack = ExitStack()
        self._found: dict[str, Running | str] = {}

    def get(self, name: str) -> Running:
        if name not in self._found:
            try:
                self._found[name] = running_already(name) or self._stack.enter_context(
                    shared(name, self._place, cache=CACHE)
                )
            except MissingError as error:
                self._found[name] = str(error)
        found = self._found[name]
        if isinstance(found, str):
            pytest.skip(found)
        return found

    def close(self) -> None:
        self._stack.close()


def needed(item: pytest.Item) -> list[str]:
    """The servers that a test needs."""
    marked = [name for mark in item.iter_markers("uses_server") for name in mark.args]
    callspec = getattr(item, "callspec", None)
    chosen = callspec.params.get("server") if callspec else None
    return [name for name in (*marked, chosen, getattr(item.cls, "server_name", None)) if name]


def pytest_configure(config):
    config.addinivalue_line("markers", "uses_server(*names): the servers that a test talks to")


def pytest_collection_modifyitems(items):
    """Everything in this folder talks to a server, and a server may take a minute to start on a busy machine."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.server)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(300))
            expect_faults(item)


def expect_faults(item):
    """A test that a class names in ``deviations`` fails there, by a fault of the server's that the table knows.

    One that passes all the same is an error: either the server got better, or the name is wrong. What happens only
    now and then, in a race, stands in ``unsteady`` with its reason.
    """
    weakness = getattr(item.cls, "unsteady", {}).get(item.originalname)
    if weakness is not None:
        item.add_marker(pytest.mark.xfail(reason=f"{item.cls.server_name} {weakness}", strict=False))
    fault = getattr(item.cls, "deviations", {}).get(item.originalname)
    if fault is not None:
        says = KNOWN_FAULTS[fault].says
        assert item.cls.server_name in KNOWN_FAULTS[fault].servers, fault
        item.add_marker(pytest.mark.xfail(reason=f"{item.cls.server_name}: {fault}: {says}", strict=True))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Start what the test needs before its fixtures look around: a server outlives the test that started it."""
    config = item.config
    if POOL not in config.stash:
        base = config._tmp_path_factory.getbasetemp()
        base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
        config.stash[POOL] = Pool(base / "servers")
    for name in needed(item):
        config.stash[POOL].get(name)


def pytest_sessionfinish(session):
    if POOL in session.config.stash:
        session.config.stash[POOL].close()


@pytest.fixture
def servers(request):
    """A function from a name to the running server; the test has to say that it needs it."""

    def get(name: str) -> Running:
        assert name in needed(request.node), f"say that the test needs {name}"
        return request.config.stash[POOL].get(name)

    return get


#: Which entry of the table of services describes a server, and what is known better about it than the table says.
OPTIONS = {
    # Both take what Amazon takes.
    "moto": {"service": "aws"},
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
def server_of_class(request):
    """Classes with a ``server_name`` find the server, and how to use it, in themselves."""
    name = getattr(request.cls, "server_name", None)
    if name:
        request.instance.server = request.config.stash[POOL].get(name)
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
