"""Containers of Azurite for tests: a fresh one for who asks. See the plugin of the emulators."""

from __future__ import annotations

import secrets
from contextlib import ExitStack, closing

import pytest

from mediagit_storage.backends.azure import AzureBackend, AzureConfig
from mediagit_storage.secrets import Secret
from mediagit_storage.storage import Storage
from mediagit_storage.testing.emulators import Running
from mediagit_storage.testing.emulators.raw_azure import make_container


def new_container(server: Running) -> str:
    """The name of a new, empty container."""
    container = f"t-{secrets.token_hex(8)}"
    answer = make_container(server, container)
    assert answer.status == 201, answer
    return container


def open_container(server: Running, container: str, **options: object) -> AzureBackend:
    """A backend over a container of a server, with pauses as short as tests want them."""
    given = {
        "account": server.access_key,
        "endpoint": f"{server.url}/{server.access_key}",
        "retry_base": 0.01,
        "retry_cap": 0.05,
        **options,
    }
    if not {"sas_token", "anonymous", "connection_string", "account_key"} & set(options):
        given["account_key"] = Secret(server.secret_key)
    return AzureBackend.from_config(AzureConfig(container=container, **given))


@pytest.fixture(autouse=True)
def containers_of_class(request):
    """Classes with a ``server_name`` find how to use that server in themselves."""
    if getattr(request.cls, "server_name", None):
        request.instance.new_container = new_container
        request.instance.open_container = open_container


@pytest.fixture
def fresh_container():
    """Makes containers on a server."""
    return new_container


@pytest.fixture
def open_azure():
    """Opens containers as backends, closed in the end."""
    with ExitStack() as opened:

        def make(server: Running, container: str, **options: object) -> AzureBackend:
            return opened.enter_context(closing(open_container(server, container, **options)))

        yield make


@pytest.fixture(params=["azurite"])
def server(request, servers) -> Running:
    """Azurite."""
    return servers(request.param)


@pytest.fixture
def container(server) -> str:
    """A container of its own."""
    return new_container(server)


@pytest.fixture
def store(server, container, open_azure) -> Storage:
    """The same, opened."""
    return Storage(open_azure(server, container))
