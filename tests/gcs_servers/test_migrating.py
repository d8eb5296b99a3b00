"""A migration between two buckets of a server: the core of the suite with everything in the old one, and trouble below."""

from __future__ import annotations

import secrets

import pytest

from mediagit_storage.errors import PreconditionError, UnavailableError
from mediagit_storage.layers.migrating import MigratingLayer
from mediagit_storage.storage import Storage
from mediagit_storage.testing.fault_proxy import Fault, FaultProxy, is_method
from mediagit_storage.testing.migrating import Sinking, SinkingSuite
from mediagit_storage.testing.toxics import Fail

from .conftest import new_name


class TestFakeGCSServer(SinkingSuite):
    variant = True
    server_name = "fake-gcs-server"
    rounds = 1
    deviations = {"test_a_delete_on_condition": "gcs-ignores-delete-conditions"}

    def open_backend(self):
        self.buckets = [self.new_name(self.server) for _ in range(2)]
        return self.reopen(None)

    def reopen(self, backend):
        # The suite allows less memory than three chunks of the default size take.
        new, old = (self.open_bucket(self.server, bucket, part_size=4 * 1024 * 1024) for bucket in self.buckets)
        return Sinking(new, old)

    def missing_bucket(self):
        new, old = f"missing-{secrets.token_hex(8)}", self.buckets[1]
        return MigratingLayer(self.open_bucket(self.server, new), self.open_bucket(self.server, old))


@pytest.mark.uses_server("fake-gcs-server")
def test_a_stale_object_is_never_shown_for_one_that_cannot_be_had(servers, open_gcs):
    server = servers("fake-gcs-server")
    bucket = new_name(server)
    new, old = Storage(open_gcs(server, bucket)), Storage(open_gcs(server, new_name(server)))
    new.put("k", b"newer")
    old.put("k", b"stale")
    old.put("old", b"in the old")
    direct = Storage(MigratingLayer(new.backend, old.backend))
    token = direct.stat("old").etag
    # Generations are numbers: a token of the other storage must not be sent as one.
    for wrong in (old.stat("old").etag, "made-up~old"):
        with pytest.raises(PreconditionError):
            direct.put("old", b"x", if_match=wrong)
    with FaultProxy(server.host, [Fault(Fail(), matches=is_method("GET"), times=1000)]) as proxy:
        store = Storage(MigratingLayer(open_gcs(server, bucket, emulator_host=proxy.url), old.backend))
        for call in (
            lambda: store.get("k"),
            lambda: store.stream("k"),
            lambda: store.stat("k"),
            lambda: store.exists("k"),
            lambda: store.get("k", if_none_match=token),
            lambda: [*store.list()],
        ):
            with pytest.raises(UnavailableError):
                call()
        errors = [type(each.error) for each in store.get_many(["k", "old"])]
        assert all(issubclass(each, UnavailableError) for each in errors)
        # Deletes go to the old storage first, and the new object is still there when that is all that works.
        store.put("new", b"x")
        store.delete("new")
    assert direct.get("k") == b"newer"
    assert direct.put("old", b"brought over", if_match=token).size == 12
    assert direct.get("old") == b"brought over"
