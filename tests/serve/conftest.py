"""Gateways that run, for the tests of one module or of one test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.secrets import Secret
from mediagit_storage.serve.links import Signer
from mediagit_storage.storage import Storage

from .gateways import SECRET, TOKEN, Served, serving


@pytest.fixture(scope="module")
def full() -> Iterator[Served]:
    """A gateway that allows what there is to allow, over an empty storage in memory that all tests of a module share."""
    with Storage(MemoryBackend()) as storage:
        signer = Signer([SECRET])
        with serving(storage, writable=True, token=Secret(TOKEN), signer=signer, max_body=20_000_000) as served:
            yield served


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """Starts gateways for one test."""
    with contextlib.ExitStack() as stack:
        yield lambda storage, **settings: stack.enter_context(serving(storage, **settings))


@pytest.fixture
def memory() -> Iterator[Storage]:
    """An empty storage in memory."""
    with Storage(MemoryBackend()) as storage:
        yield storage
