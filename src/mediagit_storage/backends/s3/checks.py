"""What `check` tells about a bucket beyond trying it: whose credentials, which region, how far the clocks are apart."""

from __future__ import annotations

from collections.abc import Iterator

from mediagit_storage.backends.s3.answers import parse_versioning
from mediagit_storage.backends.s3.client import Client
from mediagit_storage.backends.s3.config import S3Config
from mediagit_storage.clock import Clock
from mediagit_storage.errors import StorageError
from mediagit_storage.http.checks import clock_findings
from mediagit_storage.http.headers import Headers
from mediagit_storage.types import Finding, FindingLevel

__all__ = ["findings"]


def findings(client: Client, config: S3Config, region: str | None, clock: Clock) -> Iterator[Finding]:
    """Look, changing nothing. Never raises a `StorageError`: a failure is a finding."""
    yield _credentials(client)
    try:
        response = client.send(client.bucket_call("HEAD")).response
    except StorageError as error:
        yield Finding("bucket", FindingLevel.FAILED, error.message)
        return
    if response.status == 404:
        yield Finding(
            "bucket", FindingLevel.FAILED, "the bucket is not there", "create it with `mgs mb`, or check its name"
        )
        return
    if response.status == 403:
        yield Finding(
            "bucket", FindingLevel.WARNING, "this user may not look at the bucket itself", "allow s3:ListBucket"
        )
    yield from _region(response.headers, region)
    yield from clock_findings(response.headers, clock)
    yield from _versioning(client)
    yield _conditions(client, config)


def _credentials(client: Client) -> Finding:
    if client.signing is None:
        return Finding("credentials", FindingLevel.OK, "none: anonymous access")
    try:
        found = client.signing.provider.current()
    except StorageError as error:
        return Finding("credentials", FindingLevel.FAILED, error.message)
    kind = "temporary" if found.session_token is not None else "long-lived"
    return Finding("credentials", FindingLevel.OK, f"{kind}, {client.signing.provider.source}")


def _region(headers: Headers, region: str | None) -> Iterator[Finding]:
    told = headers.get("x-amz-bucket-region")
    if told is None:
        return
    if told == region:
        yield Finding("region", FindingLevel.OK, told)
    else:
        yield Finding(
            "region", FindingLevel.WARNING, f"the bucket is in {told}, not in {region}", f"open it with region={told}"
        )


def _versioning(client: Client) -> Iterator[Finding]:
    if not client.service.versions:
        return
    try:
        body = client.expect(client.bucket_call("GET", [("versioning", "")]), subject="bucket").body
        on = parse_versioning(body)
    except StorageError as error:
        yield Finding("versions", FindingLevel.WARNING, error.message, "allow s3:GetBucketVersioning to see it")
        return
    yield Finding("versions", FindingLevel.OK, "kept" if on else "not kept: an overwritten object is gone")


def _conditions(client: Client, config: S3Config) -> Finding:
    service = client.service
    if not service.put_conditions:
        return Finding(
            "conditions",
            FindingLevel.OK,
            f"{service.title} is not known to honour conditional writes; they are refused",
            "" if config.conditional_writes is False else "if it does honour them, set conditional_writes=true",
        )
    large = "also in parts" if service.multipart_conditions else "not in parts"
    return Finding("conditions", FindingLevel.OK, f"create-only writes and writes over a known object, {large}")
