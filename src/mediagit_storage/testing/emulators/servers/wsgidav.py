"""WsgiDAV on cheroot: a WebDAV server in Python over a folder, with Basic and Digest."""

from __future__ import annotations

import json
from typing import Final

from mediagit_storage.testing.emulators.kinds import Launch, Place, Running, Server, free_ports, new_keys
from mediagit_storage.testing.emulators.raw_webdav import WEBDAV
from mediagit_storage.testing.emulators.sources import PyPI

__all__ = ["WSGIDAV"]


def _prepare(place: Place) -> Launch:
    [port] = free_ports(1)
    user, password = new_keys()
    folder = place.data / "files"
    folder.mkdir(exist_ok=True)
    config = place.data / "wsgidav.json"
    settings = {
        "host": "127.0.0.1",
        "port": port,
        "provider_mapping": {"/": str(folder)},
        "simple_dc": {"user_mapping": {"*": {user: {"password": password}}}},
        "http_authenticator": {"accept_basic": True, "accept_digest": True, "default_to_digest": True},
        "property_manager": True,
        "lock_storage": True,
        "dir_browser": {"enable": True},
        "server_args": {"numthreads": 20, "request_queue_size": 128},
        "verbose": 1,
    }
    config.write_text(json.dumps(settings))
    command = (place.program("wsgidav"), "--config", str(config), "--server", "cheroot")
    return Launch(command, Running("wsgidav", f"http://127.0.0.1:{port}", user, password, speaks="webdav"))


WSGIDAV: Final = Server("wsgidav", "WsgiDAV 4.4", WEBDAV, PyPI("wsgidav.txt"), _prepare)
