"""WebDAV storages behind a server that plays scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from mediagit_storage.backends.webdav import WebDAVBackend, WebDAVConfig
from mediagit_storage.secrets import Secret


@pytest.fixture
def opened() -> Iterator[Callable[..., WebDAVBackend]]:
    """Opens backends on a server, closed at the end."""
    with ExitStack() as stack:

        def build(url: str, **options: object) -> WebDAVBackend:
            given = {
                "url": f"{url}/dav",
                "service": "apache",
                "retry_base": 0.001,
                "retry_cap": 0.002,
                "idle_timeout": 5,
                **options,
            }
            return stack.enter_context(closing(WebDAVBackend.from_config(WebDAVConfig(**given))))

        yield build


@pytest.fixture
def me() -> dict[str, Secret]:
    """Who asks."""
    return {"username": Secret("me"), "password": Secret("canary-hush")}
