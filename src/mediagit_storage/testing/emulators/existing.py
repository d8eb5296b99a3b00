"""Servers that somebody else started: by ``docker compose up``, or anywhere on this machine."""

from __future__ import annotations

import http.client
import os
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

from mediagit_storage.testing.emulators.kinds import NotReadyError, Running
from mediagit_storage.testing.emulators.servers import SERVERS
from mediagit_storage.testing.emulators.servers.azurite import ACCOUNT, KEY

__all__ = ["COMPOSE", "running_already"]

#: What docker-compose.yml publishes. The ports are unusual ones: nobody's own LocalStack is taken for a plaything.
COMPOSE: Final[Mapping[str, Running]] = {
    "localstack": Running("localstack", "http://127.0.0.1:14566", "test", "test"),
    "minio": Running("minio", "http://127.0.0.1:19000", "mgs-test-user", "mgs-test-password"),
    "azurite": Running("azurite", "http://127.0.0.1:11000", ACCOUNT, KEY, speaks="azure"),
    "fake-gcs-server": Running("fake-gcs-server", "http://127.0.0.1:14443", "", "", speaks="gcs"),
}


def running_already(name: str, environ: Mapping[str, str] | None = None) -> Running | None:
    """A server of that kind that answers now and takes the keys; None when there is none.

    ``TEST_SERVER_<NAME>`` (with ``_`` for ``-``), such as ``http://KEY:SECRET@127.0.0.1:9000``, names one; otherwise those of
    docker-compose.yml are looked for. Tests make buckets of their own in it and nothing else.
    """
    text = (os.environ if environ is None else environ).get(f"TEST_SERVER_{name.upper().replace('-', '_')}")
    server = _parse(name, text) if text else COMPOSE.get(name)
    if server is None:
        return None
    try:
        SERVERS[name].api.answers(server)
    except (OSError, http.client.HTTPException, NotReadyError):
        return None
    return server


def _parse(name: str, text: str) -> Running:
    url = urlsplit(text)
    where = f"{url.scheme}://{url.hostname}:{url.port}{url.path.rstrip('/')}"
    return Running(
        name, where, unquote(url.username or "test"), unquote(url.password or "test"), speaks=SERVERS[name].api.name
    )
