"""What `check` tells about a bucket beyond trying it: whose credentials, where it is, what is allowed, how reads are checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from mediagit_storage.backends.gcs.client import GCSClient
from mediagit_storage.backends.gcs.config import GCSConfig
from mediagit_storage.backends.gcs.credentials import BearerSigning
from mediagit_storage.backends.gcs.digests import chosen_algorithm
from mediagit_storage.backends.gcs.resources import decode_bucket
from mediagit_storage.errors import BucketNotFoundError, PermissionDeniedError, StorageError
from mediagit_storage.types import Finding, FindingLevel

__all__ = ["findings"]

#: What a user of the whole library needs.
_PERMISSIONS: Final = tuple(f"storage.objects.{verb}" for verb in ("create", "delete", "get", "list"))


class _Granted(msgspec.Struct, frozen=True):
    permissions: tuple[str, ...] = ()


def findings(client: GCSClient, config: GCSConfig, signing: BearerSigning | None) -> Iterator[Finding]:
    """Look, changing nothing. Never raises a `StorageError`: a failure is a finding."""
    yield _credentials(config, signing)
    yield _digests()
    try:
        body = client.expect(client.bucket_call("GET"), subject="bucket").body
        bucket = decode_bucket(body)
    except BucketNotFoundError as error:
        yield Finding("bucket", FindingLevel.FAILED, error.message, "create it with `mgs mb`, or check its name")
        return
    except PermissionDeniedError:
        yield Finding(
            "bucket",
            FindingLevel.WARNING,
            "this user may not look at the bucket itself",
            "allow storage.buckets.get (it is in roles/storage.legacyBucketReader)",
        )
    except StorageError as error:
        yield Finding("bucket", FindingLevel.FAILED, error.message)
        return
    else:
        where = ", ".join(part for part in (bucket.location, bucket.storage_class) if part)
        yield Finding("bucket", FindingLevel.OK, where or "it is there")
        kept = "kept" if bucket.versioning.enabled else "not kept: an overwritten object is gone"
        yield Finding("versions", FindingLevel.OK, kept)
    if not config.emulated:
        yield from _permissions(client)


def _credentials(config: GCSConfig, signing: BearerSigning | None) -> Finding:
    if signing is None:
        what = "none: an emulator is shown no credentials" if config.emulated else "none: anonymous access"
        return Finding("credentials", FindingLevel.OK, what)
    try:
        signing.current()
    except StorageError as error:
        return Finding("credentials", FindingLevel.FAILED, error.message)
    return Finding("credentials", FindingLevel.OK, f"a token from {signing.source}")


def _digests() -> Finding:
    if chosen_algorithm() == "crc32c":
        return Finding("checksums", FindingLevel.OK, "CRC32C, both ways")
    return Finding(
        "checksums",
        FindingLevel.WARNING,
        "MD5: composite objects have none and are read unchecked",
        "pip install 'mediagit-storage[gcs]' brings CRC32C",
    )


def _permissions(client: GCSClient) -> Iterator[Finding]:
    query = [("permissions", name) for name in _PERMISSIONS]
    try:
        body = client.expect(client.bucket_call("GET", "/iam/testPermissions", query), subject="bucket").body
        granted = msgspec.json.decode(body, type=_Granted).permissions
    except (StorageError, msgspec.DecodeError):
        return
    missing = sorted(set(_PERMISSIONS).difference(granted))
    if missing:
        yield Finding(
            "permissions", FindingLevel.WARNING, f"without {', '.join(missing)}", "roles/storage.objectUser has all"
        )
    else:
        yield Finding("permissions", FindingLevel.OK, "objects can be listed, read, written and deleted")
