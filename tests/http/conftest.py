"""Transports, and a certificate authority for servers of the tests' own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from mediagit_storage.http.network import TransportOptions
from mediagit_storage.http.transport import Transport
from mediagit_storage.testing.authority import Authority

#: No test waits for a real time limit.
QUICK = TransportOptions(connect_timeout=30, idle_timeout=30)


@pytest.fixture
def make() -> Iterator[Callable[..., Transport]]:
    """Transports with other options, closed at the end."""
    made: list[Transport] = []

    def build(environ: dict[str, str] | None = None, **options: object) -> Transport:
        transport = Transport(replace(QUICK, **options), environ=environ or {})
        made.append(transport)
        return transport

    yield build
    for each in made:
        each.close()


@pytest.fixture
def transport(make) -> Transport:
    return make()


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))
