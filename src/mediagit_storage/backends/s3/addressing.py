"""Where a bucket is: host, path and the exact spelling of a key in a URL. Pure functions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from mediagit_storage.backends.s3.services import Service
from mediagit_storage.errors import ConfigError
from mediagit_storage.http.encoding import encode_path, encode_value
from mediagit_storage.http.endpoint import is_label, parse_endpoint

__all__ = ["Address", "address_of", "check_bucket", "copy_source"]

#: Names that can be the first label of a host that a wildcard certificate covers.
_VIRTUAL: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]").fullmatch
#: Wider than what S3 takes today: old buckets and other servers have such names.
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}").fullmatch


@dataclass(frozen=True, slots=True)
class Address:
    """One bucket. ``host`` is as the Host field carries it (lower case, a port only where it is not the default)."""

    scheme: str
    host: str
    #: What comes before a key's own path: empty, or ``/bucket``.
    base: str
    origin: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "origin", f"{self.scheme}://{self.host}")

    def path(self, key: str) -> str:
        """The encoded path of a key: what is signed and sent. Nothing in the key is folded or normalised."""
        return f"{self.base}/{encode_path(key)}"

    @property
    def bucket_path(self) -> str:
        """The path of the bucket itself."""
        return self.base or "/"

    def url(self, path: str, query: str = "") -> str:
        """The whole URL of an encoded path with an encoded query."""
        return f"{self.origin}{path}?{query}" if query else f"{self.origin}{path}"


def address_of(
    service: Service,
    bucket: str,
    *,
    region: str | None = None,
    account: str | None = None,
    endpoint: str | None = None,
    allow_http: bool = False,
) -> Address:
    """Where ``bucket`` is. ``endpoint`` (``https://host:port``, perhaps with a path) wins over the service's own host.

    The bucket becomes part of the host (virtual-host style) where the service prefers that and the name allows it: a
    dot in it would not match the certificate, and an address or a single word has no names below it.
    Raises `ConfigError` for what is missing or malformed, and for plain http to another machine.
    """
    check_bucket(bucket)
    scheme, host, base = parse_endpoint(endpoint, allow_http=allow_http) if endpoint else ("https", "", "")
    if not endpoint:
        host = _own_host(service, region, account)
    virtual = not service.path_style and not base and _VIRTUAL(bucket) is not None and _takes_labels(host)
    return Address(scheme, f"{bucket}.{host}", "") if virtual else Address(scheme, host, f"{base}/{bucket}")


def check_bucket(bucket: str) -> None:
    """Refuse, with a `ConfigError`, a name that no bucket has."""
    if not _BUCKET(bucket) or ".." in bucket:
        raise ConfigError(f"{bucket!r} cannot be the name of a bucket")


def copy_source(bucket: str, key: str, version: str | None = None) -> str:
    """The value of ``x-amz-copy-source``."""
    source = f"/{bucket}/{encode_path(key)}"
    return source if version is None else f"{source}?versionId={encode_value(version)}"


def _own_host(service: Service, region: str | None, account: str | None) -> str:
    if service.host is None:
        raise ConfigError(f"{service.title} needs an endpoint, for example endpoint=https://storage.example:9000")
    region = region or service.region
    for name, value in (("region", region), ("account", account)):
        if f"{{{name}}}" not in service.host:
            continue
        if not value:
            raise ConfigError(f"{service.title} needs a {name}")
        if not is_label(value):
            raise ConfigError(f"the {name} {value!r} is not made of letters, digits and inner hyphens")
    host = service.host.format(region=region, account=account).lower()
    # Amazon's regions in China have a domain of their own.
    return f"{host}.cn" if service.name == "aws" and (region or "").startswith("cn-") else host


def _takes_labels(host: str) -> bool:
    name = host.partition(":")[0]
    return "." in name.rstrip(".") and not host.startswith("[") and not re.fullmatch(r"[0-9.]+", name)
