"""Folders on WebDAV servers for tests: a fresh one for who asks, on each server or on one. See the plugin of the emulators."""

from __future__ import annotations

import secrets
from contextlib import ExitStack, closing

import pytest

from mediagit_storage.backends.webdav import WebDAVBackend, WebDAVConfig
from mediagit_storage.secrets import Secret
from mediagit_storage.storage import Storage
from mediagit_storage.testing.emulators import Running
from mediagit_storage.testing.emulators.raw_webdav import call, url_of

ALL = ("wsgidav", "rclone-webdav", "apache", "nginx")

#: What is known of each server: its entry in the table of services, and what its owner may add.
OPTIONS = {
    "wsgidav": {"service": "wsgidav"},
    "rclone-webdav": {"service": "rclone"},
    "apache": {"service": "apache"},
    # One worker process: nobody can come between its look and its rename.
    "nginx": {"service": "nginx", "create_only": True},
}


def make_folder(server: Running) -> str:
    """The name of a new, empty folder."""
    folder = f"t-{secrets.token_hex(8)}"
    answer = call(server, "MKCOL", f"{folder}/")
    assert answer.status == 201, answer
    return folder


def open_folder(server: Running, folder: str, **options: object) -> WebDAVBackend:
    """A backend over a folder of a server, with pauses as short as tests want them."""
    given = {
        "url": url_of(server, folder),
        "username": Secret(server.access_key),
        "password": Secret(server.secret_key),
        "retry_base": 0.01,
        "retry_cap": 0.05,
        **OPTIONS[server.name],
        **options,
    }
    return WebDAVBackend.from_config(WebDAVConfig(**given))


@pytest.fixture(autouse=True)
def folders_of_class(request):
    """Classes with a ``server_name`` find how to use that server in themselves."""
    if getattr(request.cls, "server_name", None):
        request.instance.make_folder = make_folder
        request.instance.open_folder = open_folder


@pytest.fixture
def new_folder(servers):
    """Makes a folder with a random name on a server."""
    return lambda server: make_folder(servers(server) if isinstance(server, str) else server)


@pytest.fixture
def open_dav():
    """Opens folders as backends, closed in the end."""
    with ExitStack() as opened:

        def make(server: Running, folder: str, **options: object) -> WebDAVBackend:
            return opened.enter_context(closing(open_folder(server, folder, **options)))

        yield make


@pytest.fixture(params=ALL)
def server(request, servers) -> Running:
    """Each server in turn."""
    return servers(request.param)


@pytest.fixture
def folder(server) -> str:
    """A folder of its own on that server."""
    return make_folder(server)


@pytest.fixture
def store(server, folder, open_dav) -> Storage:
    """The same, opened."""
    return Storage(open_dav(server, folder))
