"""Which places are taken for one: where they are counts, and not how they are reached or seen."""

from __future__ import annotations

import pytest

from mediagit_storage import Storage, open_storage
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.tools.places import layers_at, location_of
from mediagit_storage.types import ConnectionInfo


class Reached(MemoryBackend):
    """Says of itself what it is told to."""

    def __init__(self, kind, **options):
        super().__init__()
        self.info = ConnectionInfo(kind, options)

    def connection_info(self):
        return self.info


def place(kind, **options):
    return location_of(Storage(Reached(kind, **options)), "k")


@pytest.mark.parametrize(
    ("kind", "where", "how"),
    [
        ("s3", {"bucket": "b"}, {"part_size": 9, "region": "eu-west-1", "access_key_id": {"env": "A"}}),
        ("minio", {"bucket": "b", "endpoint": "https://h"}, {"region": "x", "concurrency": 3}),
        ("gs", {"bucket": "b"}, {"anonymous": True, "in_chunks": True}),
        ("az", {"container": "c", "account": "a"}, {"identity": "cli"}),
        ("davs", {"url": "https://h/x"}, {"chunked": False}),
    ],
)
def test_how_a_place_is_reached_does_not_matter(kind, where, how):
    assert place(kind, **where) == place(kind, **where, **how)
    for name in where:
        assert place(kind, **where) != place(kind, **{**where, name: "other"})


def test_a_region_counts_where_it_chooses_the_endpoint():
    assert place("spaces", bucket="b", region="ams3") != place("spaces", bucket="b", region="fra1")
    assert place("s3", bucket="b", service="wasabi", region="x") != place(
        "s3", bucket="b", service="wasabi", region="y"
    )


def test_of_an_unknown_kind_every_option_counts():
    assert place("own", name="x", speed=1) != place("own", name="x", speed=2)


def test_layers_are_told_without_those_that_change_keys(tmp_path):
    with open_storage(str(tmp_path), layers=[{"layer": "prefix", "prefix": "a/"}, "compress"]) as store:
        assert layers_at(store) == [{"layer": "compress"}]
        assert location_of(store, "k") == location_of(Storage(store.backend.inner.inner), "a/k")
