"""The suite that every storage has to pass, on real accounts: a place on each that the environment names.

``MGS_TEST_S3_URL`` and the like are what `open_storage` takes: a URL or a profile. A test makes a folder with a random
name below that place, works in it alone, and removes it with everything in it, versions and unfinished uploads too,
however it ends. What is done to a whole bucket needs one of its own, and is refused here: creating it, switching its
versions, deleting versions and retention.
"""

from __future__ import annotations

import os
import secrets
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from mediagit_storage.backend import StorageBackend
from mediagit_storage.backends.webdav import WebDAVBackend
from mediagit_storage.errors import UnsupportedError
from mediagit_storage.http.call import Call
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.opening import open_storage
from mediagit_storage.storage import Storage
from mediagit_storage.testing.conformance import BackendCase, ConformanceSuite

pytestmark = pytest.mark.timeout(900)

MIB = 1024 * 1024


class Fence(PrefixLayer):
    """One folder of somebody's bucket, from which nothing reaches the bucket itself."""

    def __init__(self, inner, prefix):
        super().__init__(inner, prefix)
        # Objects under retention could not be removed again.
        self._capabilities = replace(self._capabilities, versions=False, retention=False)

    def create(self, *, versioning=None):
        raise UnsupportedError("the bucket is somebody's own: it is neither made nor changed")


def open_place(url: str) -> StorageBackend:
    """What the user named. The suite allows less memory than the default buffers of a transfer take."""
    return open_storage(url, options={"buffer_size": 8 * MIB}).backend


def clean(backend: StorageBackend, folder: str) -> None:
    """Remove a folder and all that is in it, and see that it is gone."""
    store = Storage(PrefixLayer(backend, folder), owned=False)
    capabilities = store.capabilities
    if capabilities.pending_uploads:
        for upload in [*store.pending_uploads()]:
            store.abort_upload(upload)
    if capabilities.versions:
        # Marks of deletions go last: on some services they are no more than the lack of a latest version.
        for marks in (False, True):
            found = [each for each in store.list(versions=True) if each.deleted is marks]
            store.delete_versions((each.key, each.version or "") for each in found).run()
    store.delete_many(info.key for info in store.list()).run()
    remove_collection(backend, folder)
    left = [*store.list(versions=capabilities.versions)]
    if capabilities.pending_uploads:
        left += [*store.pending_uploads()]
    assert not left, f"{folder} could not be emptied: {left[:5]}"


def remove_collection(backend: StorageBackend, folder: str) -> None:
    """On WebDAV folders outlive their objects: this one, whose name nobody else has, goes with what is in it."""
    while isinstance(backend, Layer):
        folder = f"{backend.prefix}{folder}" if isinstance(backend, PrefixLayer) else folder
        backend = backend.inner
    if isinstance(backend, WebDAVBackend):
        client = backend._client
        client.check_gone(client.send(Call("DELETE", client.base.path_of(folder))).response)


class AccountCase(BackendCase):
    """A folder of its own for every test; ``account`` is the variable that names where."""

    account = ""
    rounds = 1
    many = 1001

    @pytest.fixture(autouse=True)
    def conformance_case(self, outside, tmp_path, request):
        """As for any backend, with the user's own environment around it."""
        with self.running(tmp_path):
            yield
            request.node.user_properties.extend(("refused", name) for name in self.refusals)

    @contextmanager
    def running(self, folder):
        self.place = f"mgs-conformance-{secrets.token_hex(8)}/"
        try:
            with super().running(folder):
                yield
        finally:
            with closing(open_place(os.environ[self.account])) as backend:
                clean(backend, self.place)

    def open_backend(self):
        return self.reopen(None)

    def reopen(self, backend):
        # One level deeper than what is removed: where a server resolves "..", the keys of the suite stay in it.
        return Fence(open_place(os.environ[self.account]), f"{self.place}in/")


class TestS3Account(AccountCase, ConformanceSuite):
    account = "MGS_TEST_S3_URL"
    chunk_sizes = (1, 64 * 1024, 8 * MIB)


class TestAzureAccount(AccountCase, ConformanceSuite):
    account = "MGS_TEST_AZURE_URL"
    chunk_sizes = (1, 64 * 1024, 4 * MIB)
    storage_class = "Cool"


class TestGCSAccount(AccountCase, ConformanceSuite):
    account = "MGS_TEST_GCS_URL"
    chunk_sizes = (1, 256 * 1024, 5_000_000)
    storage_class = "NEARLINE"


class TestWebDAVAccount(AccountCase, ConformanceSuite):
    account = "MGS_TEST_WEBDAV_URL"
    many = 300
