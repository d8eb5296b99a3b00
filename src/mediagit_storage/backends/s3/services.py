"""What each service of the S3 family can do, as data: one entry per service, with the sources of its claims.

A service is trusted with what its own documentation or source promises. What only field reports say is left out,
since a condition that a server ignores overwrites somebody's data; whoever knows better says so (`adjusted`).

========================  =====  ======  =====  =======  =====  ==========  ========
what                      aws    minio   b2     spaces   r2     seaweedfs   generic
========================  =====  ======  =====  =======  =====  ==========  ========
put if absent, if match   yes    yes     no     no       yes    yes         no
the same for multipart    yes    yes     no     no       no     no          no
delete if match           yes    no      no     no       no     yes         no
copy if absent            yes    no      no     no       no     yes         no
checksums in headers      all    all     MD5    MD5      MD5    all         MD5
versions                  yes    yes     yes    yes      no     yes         no
object lock               yes    yes     yes    no       no     yes         no
tags                      yes    yes     no     no       no     yes         no
lists in order            yes    yes     yes    yes      yes    no          yes
parts must be equal       no     no      no     no       yes    no          no
========================  =====  ======  =====  =======  =====  ==========  ========

Checksums: servers older than their provider's support answer a request that carries ``x-amz-checksum-*`` with an
error, and every server takes Content-MD5; so the newer ones go only where they are documented.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

from mediagit_storage.capabilities import ALL_ATTRIBUTES, Capabilities
from mediagit_storage.errors import ConfigError
from mediagit_storage.http.multipart import GIB, KIB, MIB, TIB, PartLimits
from mediagit_storage.keys import MAX_KEY_BYTES

__all__ = [
    "SERVICES",
    "ChecksumName",
    "EncryptionName",
    "Service",
    "adjusted",
    "capabilities_of",
    "region_to_name",
    "service_named",
]

ChecksumName = Literal["crc32c", "sha256", "md5"]
EncryptionName = Literal["sse-s3", "sse-kms", "sse-c"]

_5_GIB: Final = 5 * GIB
_S3_PARTS: Final = PartLimits()


@dataclass(frozen=True, slots=True)
class Service:
    """One service. Sizes are in bytes; the defaults are the careful ones that every S3-like server meets."""

    name: str
    title: str
    #: The host, with ``{region}`` and ``{account}``; None where only the user knows it.
    host: str | None = None
    #: What is signed with when nobody names a region; None where one has to be named.
    region: str | None = "us-east-1"
    #: Whether the bucket stands in the path even where its name could be part of the host.
    path_style: bool = True
    #: Whether creating a bucket names the region in the body (never for ``us-east-1``, which refuses to be named).
    names_region: bool = False
    checksums: frozenset[ChecksumName] = frozenset({"md5"})
    #: Checksums after the body (``aws-chunked`` with a trailer).
    trailing_checksums: bool = False
    #: Whether the CRC32C of an object that came in parts can be that of all its bytes, not one of the parts' digests.
    whole_checksums: bool = False
    put_conditions: bool = False
    multipart_conditions: bool = False
    delete_if_match: bool = False
    copy_if_absent: bool = False
    versions: bool = False
    retention: bool = False
    tags: bool = False
    #: The storage classes that are taken; None for "any, ask the server".
    storage_classes: frozenset[str] | None = None
    encryption: frozenset[EncryptionName] = frozenset()
    presign: bool = True
    #: Whether listings come sorted by the bytes of the keys, as this library promises them.
    ordered: bool = True
    #: Whether a listing that says that it encodes keys writes a blank as ``+``.
    plus_is_space: bool = True
    #: Whether a key is kept as it is where it looks like a path with empty, ``.`` or ``..`` segments.
    raw_keys: bool = True
    #: Whether a backslash in a key stays one, and is not taken for a slash.
    backslashes: bool = True
    parts: PartLimits = _S3_PARTS
    #: The largest body of one PutObject, and the largest object that one CopyObject takes.
    max_put: int = _5_GIB
    max_copy: int = _5_GIB
    #: Names and values of metadata together.
    max_metadata: int = 2 * KIB
    max_bulk_delete: int = 1000
    #: Pages that the entry rests on.
    sources: tuple[str, ...] = ()


_AWS: Final = Service(
    name="aws",
    title="Amazon S3",
    host="s3.{region}.amazonaws.com",
    region="us-east-1",
    path_style=False,
    names_region=True,
    checksums=frozenset({"crc32c", "sha256", "md5"}),
    trailing_checksums=True,
    whole_checksums=True,
    put_conditions=True,
    multipart_conditions=True,
    delete_if_match=True,
    copy_if_absent=True,
    versions=True,
    retention=True,
    tags=True,
    encryption=frozenset({"sse-s3", "sse-kms", "sse-c"}),
    parts=PartLimits(max_object=10_000 * _5_GIB),
    sources=(
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html",
        "https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html (If-None-Match)",
        "https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html (If-Match)",
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html",
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html (48.8 TiB, 10,000 parts of 5 MiB to 5 GiB)",
    ),
)

_MINIO: Final = Service(
    name="minio",
    title="MinIO",
    checksums=frozenset({"crc32c", "sha256", "md5"}),
    put_conditions=True,
    multipart_conditions=True,
    versions=True,
    retention=True,
    tags=True,
    encryption=frozenset({"sse-s3", "sse-kms", "sse-c"}),
    parts=PartLimits(max_object=10_000 * _5_GIB),
    sources=(
        "https://github.com/minio/minio/issues/20346 (conditional writes work as intended)",
        # Servers older than the fix store an object that should have been refused: keep a server up to date.
        "https://github.com/minio/minio/issues/21526 (If-Match of an absent object was ignored until August 2025)",
        "https://min.io/docs/minio/linux/operations/concepts/thresholds.html",
    ),
)

_B2: Final = Service(
    name="b2",
    title="Backblaze B2",
    host="s3.{region}.backblazeb2.com",
    region=None,
    path_style=False,
    versions=True,
    retention=True,
    storage_classes=frozenset({"STANDARD"}),
    encryption=frozenset({"sse-s3", "sse-c"}),
    parts=PartLimits(max_object=10_000 * 10**9),
    max_put=5 * 10**9,
    max_copy=5 * 10**9,
    sources=(
        "https://www.backblaze.com/docs/cloud-storage-s3-compatible-api",
        "https://www.backblaze.com/apidocs/s3-copy-object (x-amz-tagging is rejected)",
        "https://github.com/lance-format/lance/issues/5614 (a conditional put is 501 Not Implemented, January 2026)",
        "https://github.com/boto/s3transfer/issues/327 (x-amz-checksum-* was refused until the middle of 2025)",
    ),
)

_SPACES: Final = Service(
    name="spaces",
    title="DigitalOcean Spaces",
    host="{region}.digitaloceanspaces.com",
    region=None,
    path_style=False,
    versions=True,
    storage_classes=frozenset({"STANDARD"}),
    encryption=frozenset({"sse-c"}),
    parts=PartLimits(max_object=5 * 10**12),
    max_put=5 * 10**9,
    max_copy=5 * 10**9,
    sources=(
        "https://docs.digitalocean.com/products/spaces/reference/s3-compatibility/ (conditions on reads and copies)",
        "https://github.com/slatedb/slatedb/issues/1818 (If-Match works without the quotes of the ETag only)",
        "https://github.com/denoland/celld/issues/137 (If-Match on a put is ignored)",
    ),
)

_R2: Final = Service(
    name="r2",
    title="Cloudflare R2",
    host="{account}.r2.cloudflarestorage.com",
    region="auto",
    put_conditions=True,
    storage_classes=frozenset({"STANDARD", "STANDARD_IA"}),
    encryption=frozenset({"sse-c"}),
    parts=PartLimits(equal=True, max_part=5 * GIB - 5 * MIB, max_object=5 * TIB - 5 * GIB),
    max_put=5 * GIB - 5 * MIB,
    max_copy=5 * GIB - 5 * MIB,
    max_metadata=8 * KIB,
    sources=(
        "https://developers.cloudflare.com/r2/api/s3/api/",
        "https://developers.cloudflare.com/r2/api/s3/extensions/ (conditional operations in PutObject)",
        "https://developers.cloudflare.com/r2/objects/multipart-objects/ (all parts but the last of one size)",
        "https://developers.cloudflare.com/r2/platform/limits/",
    ),
)

_SEAWEEDFS: Final = Service(
    name="seaweedfs",
    title="SeaweedFS",
    checksums=frozenset({"crc32c", "sha256", "md5"}),
    put_conditions=True,
    delete_if_match=True,
    copy_if_absent=True,
    versions=True,
    retention=True,
    tags=True,
    encryption=frozenset({"sse-c"}),
    ordered=False,
    raw_keys=False,
    backslashes=False,
    sources=(
        # All of it was also tried with 4.48: conditions of every kind, eight writers at once, and wrong checksums. Of six
        # that completed uploads in parts on condition, two and more won in 11 of 25 rounds.
        "https://github.com/seaweedfs/seaweedfs/pull/7154 (conditional reads and writes)",
        "https://github.com/seaweedfs/seaweedfs/issues/8800 (not atomic under concurrency before its fix, March 2026)",
    ),
)

_GENERIC: Final = Service(name="generic", title="an S3-compatible server")

#: Every service that is known, by name.
SERVICES: Final[Mapping[str, Service]] = MappingProxyType(
    {service.name: service for service in (_AWS, _MINIO, _B2, _SPACES, _R2, _SEAWEEDFS, _GENERIC)}
)


def service_named(name: str) -> Service:
    """The service of that name. An unknown one is a `ConfigError` that lists the known ones."""
    try:
        return SERVICES[name]
    except KeyError:
        raise ConfigError(f"unknown S3 service {name!r}; known: {', '.join(SERVICES)}") from None


def adjusted(
    service: Service,
    *,
    conditional_writes: bool | None = None,
    checksum: ChecksumName | None = None,
    versions: bool | None = None,
    tags: bool | None = None,
    ordered: bool | None = None,
    path_style: bool | None = None,
) -> Service:
    """The service as the user knows it better; None keeps what the table says.

    ``conditional_writes`` speaks of puts and of the completion of multipart uploads alike.
    """
    conditions = service.put_conditions if conditional_writes is None else conditional_writes
    multipart = service.multipart_conditions if conditional_writes is None else conditional_writes
    return replace(
        service,
        put_conditions=conditions,
        multipart_conditions=multipart,
        checksums=service.checksums if checksum is None else frozenset({checksum}),
        versions=service.versions if versions is None else versions,
        tags=service.tags if tags is None else tags,
        ordered=service.ordered if ordered is None else ordered,
        path_style=service.path_style if path_style is None else path_style,
    )


def region_to_name(service: Service, region: str | None) -> str | None:
    """The region that CreateBucket has to name in its body, or None: ``us-east-1`` must not be named."""
    return region if service.names_region and region != "us-east-1" else None


def capabilities_of(service: Service, *, raw_keys: bool = True) -> Capabilities:
    """What a backend over this service can promise."""
    return Capabilities(
        if_absent=service.put_conditions,
        if_match=service.put_conditions,
        delete_if_match=service.delete_if_match,
        read_conditions=True,
        copy_if_absent=service.copy_if_absent,
        versions=service.versions,
        retention=service.retention,
        attributes=ALL_ATTRIBUTES if service.tags else ALL_ATTRIBUTES - {"tags"},
        presign=frozenset({"GET", "PUT", "DELETE"}) if service.presign else frozenset(),
        server_copy=True,
        batch=True,
        pending_uploads=True,
        replace_head=not service.parts.equal,
        raw_keys=service.raw_keys and raw_keys,
        nested_keys=True,
        max_key_bytes=MAX_KEY_BYTES,
        max_object_size=service.parts.max_object,
    )
