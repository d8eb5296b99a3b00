"""`AsyncStorage` on a bucket of a real server."""

from __future__ import annotations

import pytest

from mediagit_storage.testing.async_face import AsyncFace, running_loop
from mediagit_storage.testing.layered_s3 import OverSeaweedFS


@pytest.fixture(autouse=True, scope="module")
def loop_thread():
    """The tasks of one module."""
    with running_loop() as loop:
        yield loop


class TestSeaweedFS(OverSeaweedFS):
    def layered(self, inner):
        return inner

    def storage(self, backend, *, keys="strict", owned=True):
        return AsyncFace(backend, keys=keys, owned=owned)
