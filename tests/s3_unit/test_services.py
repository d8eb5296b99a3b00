"""The table of services: no entry promises what the library could not keep."""

from __future__ import annotations

import dataclasses

import pytest

from mediagit_storage.backends.s3 import services
from mediagit_storage.backends.s3.services import SERVICES, adjusted, capabilities_of, region_to_name, service_named
from mediagit_storage.errors import ConfigError
from mediagit_storage.http.multipart import GIB, MIB, TIB, plan_parts

ALL = list(SERVICES.values())
GENERIC = SERVICES["generic"]


@pytest.mark.parametrize("service", ALL, ids=lambda service: service.name)
def test_every_entry_is_whole(service):
    assert SERVICES[service.name] is service
    assert "md5" in service.checksums
    assert service.title
    assert service.host is None or "{" in service.host
    assert service.region is not None or "{region}" in (service.host or "")
    assert all(source.startswith("https://") for source in service.sources)
    assert service.sources or service is GENERIC
    assert service.max_bulk_delete <= 1000
    assert service.max_put >= 100_000_000
    # The largest object has a plan.
    assert plan_parts(service.parts.max_object, service.parts).count <= service.parts.max_parts


def test_generic_promises_nothing_that_only_some_servers_do():
    refused = [
        "put_conditions",
        "multipart_conditions",
        "delete_if_match",
        "copy_if_absent",
        "versions",
        "retention",
        "tags",
    ]
    assert not any(getattr(GENERIC, name) for name in refused)
    assert GENERIC.checksums == {"md5"}
    assert GENERIC.trailing_checksums is False


@pytest.mark.parametrize("service", ALL, ids=lambda service: service.name)
def test_conditions_are_consistent(service):
    """A condition on a multipart upload without one on a put would make the size of an object decide."""
    assert service.put_conditions or not (
        service.multipart_conditions or service.delete_if_match or service.copy_if_absent
    )


def test_what_is_known_of_each():
    assert SERVICES["seaweedfs"].ordered is False
    assert [service.name for service in ALL if not service.ordered] == ["seaweedfs"]
    assert [service.name for service in ALL if service.parts.equal] == ["r2"]
    assert SERVICES["r2"].region == "auto"
    assert SERVICES["aws"].parts.max_object == 10_000 * 5 * GIB
    assert GENERIC.parts.max_object == 5 * TIB
    assert GENERIC.parts.min_part == 5 * MIB
    assert SERVICES["b2"].put_conditions is False
    assert [service.name for service in ALL if service.tags] == ["aws", "minio", "seaweedfs"]


def test_the_table_in_the_docstring_is_the_data():
    lines = [line for line in services.__doc__.splitlines() if "  " in line and not line.startswith((" ", "="))]
    names = lines[0].split()[1:]
    facts = {
        "put if absent, if match": lambda service: service.put_conditions,
        "the same for multipart": lambda service: service.multipart_conditions,
        "delete if match": lambda service: service.delete_if_match,
        "copy if absent": lambda service: service.copy_if_absent,
        "versions": lambda service: service.versions,
        "object lock": lambda service: service.retention,
        "tags": lambda service: service.tags,
        "lists in order": lambda service: service.ordered,
        "parts must be equal": lambda service: service.parts.equal,
    }
    assert sorted(names) == sorted(SERVICES)
    rows = {line[:24].strip(): line[24:].split() for line in lines[1:]}
    for what, fact in facts.items():
        assert rows[what] == ["yes" if fact(SERVICES[name]) else "no" for name in names], what
    assert rows["checksums in headers"] == ["all" if len(SERVICES[name].checksums) == 3 else "MD5" for name in names]


def test_an_unknown_service_is_named_with_the_known_ones():
    assert service_named("aws") is SERVICES["aws"]
    with pytest.raises(ConfigError, match="'wasabi'; known: aws, minio"):
        service_named("wasabi")


def test_the_user_knows_better():
    changed = adjusted(
        GENERIC, conditional_writes=True, checksum="sha256", versions=True, tags=True, ordered=False, path_style=False
    )
    assert changed.put_conditions
    assert changed.multipart_conditions
    assert (changed.checksums, changed.versions, changed.tags) == ({"sha256"}, True, True)
    assert (changed.ordered, changed.path_style) == (False, False)
    assert adjusted(SERVICES["aws"], conditional_writes=False).put_conditions is False
    for service in ALL:
        assert adjusted(service) == service


def test_which_region_a_new_bucket_names():
    aws, minio = SERVICES["aws"], SERVICES["minio"]
    assert region_to_name(aws, "eu-west-1") == "eu-west-1"
    assert region_to_name(aws, "us-east-1") is None
    assert region_to_name(aws, None) is None
    assert region_to_name(minio, "eu-west-1") is None


@pytest.mark.parametrize("service", ALL, ids=lambda service: service.name)
def test_capabilities_say_what_the_entry_says(service):
    can = capabilities_of(service)
    assert can.if_absent == can.if_match == service.put_conditions
    assert can.delete_if_match == service.delete_if_match
    assert can.copy_if_absent == service.copy_if_absent
    assert (can.versions, can.retention) == (service.versions, service.retention)
    assert ("tags" in can.attributes) == service.tags
    assert can.max_object_size == service.parts.max_object
    assert can.raw_keys == service.raw_keys
    assert can.presign == {"GET", "PUT", "DELETE"}
    assert capabilities_of(dataclasses.replace(service, presign=False)).presign == frozenset()
    assert capabilities_of(service, raw_keys=False).raw_keys is False
