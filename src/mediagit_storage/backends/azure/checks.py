"""What `check` tells about a container beyond trying it: who asks, what kind of account it is, how far clocks are apart."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from mediagit_storage.backends.azure.client import AzureClient
from mediagit_storage.backends.azure.config import AzureConfig
from mediagit_storage.backends.azure.credentials import SasSigning
from mediagit_storage.clock import Clock
from mediagit_storage.errors import BucketNotFoundError, StorageError
from mediagit_storage.http.checks import clock_findings
from mediagit_storage.types import Finding, FindingLevel

__all__ = ["findings"]


def findings(client: AzureClient, config: AzureConfig, clock: Clock) -> Iterator[Finding]:
    """Look, changing nothing. Never raises a `StorageError`: a failure is a finding."""
    yield _credentials(client)
    call = client.container_call("GET")
    try:
        response = client.send(call).response
        client.check(response, call, subject="bucket")
    except BucketNotFoundError as error:
        yield Finding("container", FindingLevel.FAILED, error.message, "create it with `mgs mb`, or check its name")
        return
    except StorageError as error:
        # A token may allow everything with blobs and not a look at their container.
        yield Finding("container", FindingLevel.WARNING, error.message, "allow to read the container's properties")
        return
    yield from clock_findings(response.headers, clock)
    yield from _account(client, config)
    yield _versions(config)
    yield Finding("conditions", FindingLevel.OK, "create-only writes and writes over a known object, also in blocks")


def _credentials(client: AzureClient) -> Finding:
    signing = client.signing
    if isinstance(signing, SasSigning):
        token = signing.token
        complaint = token.complaint(datetime.fromtimestamp(signing.now(), UTC))
        if complaint is not None:
            return Finding("credentials", FindingLevel.FAILED, complaint)
        end = "" if token.expires is None else f", until {token.expires:%Y-%m-%d %H:%M} UTC"
        return Finding("credentials", FindingLevel.OK, f"a SAS token that allows {token.permissions or '?'}{end}")
    return Finding("credentials", FindingLevel.OK, signing.source)


def _account(client: AzureClient, config: AzureConfig) -> Iterator[Finding]:
    call = client.container_call("GET", [("comp", "properties")])
    call = call._replace(query="comp=properties&restype=account")
    try:
        headers = client.expect(call, subject="bucket").headers
    except StorageError:
        return  # not everybody may ask
    kind = f"{headers.get('x-ms-account-kind') or '?'}, {headers.get('x-ms-sku-name') or '?'}"
    if (headers.get("x-ms-is-hns-enabled") or "").lower() == "true" and config.ordered:
        yield Finding(
            "account",
            FindingLevel.WARNING,
            f"{kind}, with a hierarchical namespace: it lists in an order of its own",
            "open the storage with ordered=false",
        )
    else:
        yield Finding("account", FindingLevel.OK, kind)


def _versions(config: AzureConfig) -> Finding:
    if config.versions is None:
        return Finding("versions", FindingLevel.OK, "not looked at; versions=versions or versions=snapshots does")
    return Finding("versions", FindingLevel.OK, f"{config.versions} are listed and read, where the account has them")
