r"""What the service and its emulator can do, as data, and where a container is. Pure functions.

=========================  ==================  ==================
what                       Azure               Azurite
=========================  ==================  ==================
takes ``\`` for ``/``       yes                 yes
drops dots at segment ends yes                 no
Put Block/Blob From URL    yes                 no
versions                   where switched on   no
compares CRC64             yes                 no
=========================  ==================  ==================

Sources: "Naming and referencing containers, blobs, and metadata", "Scalability and performance targets for Blob
storage", "Put Blob From URL" and "Put Block From URL" of Microsoft's documentation; the dots and
backslashes: reports to azure-sdk-for-java (36674), azure-sdk-for-php (557) and versitygw (845); Azurite: its source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal, get_args

from mediagit_storage.errors import ConfigError, InvalidKeyError, NotFoundError
from mediagit_storage.http.encoding import encode_path
from mediagit_storage.http.endpoint import endpoint_url, is_label, parse_endpoint
from mediagit_storage.http.multipart import MIB, PartLimits

__all__ = [
    "BLOCK_CHECKSUMS",
    "LIMITS",
    "MAX_GROUP",
    "MAX_PUT",
    "MAX_SYNC_COPY",
    "SERVICES",
    "SUFFIX",
    "Address",
    "BlockChecksum",
    "Service",
    "address_of",
    "check_container",
]

#: The domain of the public cloud; the others have domains of their own (``core.chinacloudapi.cn``).
SUFFIX: Final = "core.windows.net"

#: Blocks: any size up to 4,000 MiB, 50,000 of them.
LIMITS: Final = PartLimits(min_part=1, max_part=4000 * MIB, max_parts=50_000, max_object=50_000 * 4000 * MIB)
#: The largest body of one Put Blob, and the largest blob of one Put Blob From URL.
MAX_PUT: Final = 5000 * MIB
#: The largest blob that Copy Blob From URL copies before it answers.
MAX_SYNC_COPY: Final = 256 * MIB
#: Requests in one batch.
MAX_GROUP: Final = 256
#: What a block can be sent with; of both the service would refuse the request.
BlockChecksum = Literal["crc64", "md5"]
BLOCK_CHECKSUMS: Final[tuple[str, ...]] = get_args(BlockChecksum)
_MAX_SEGMENTS: Final = 254

_CONTAINER: Final = re.compile(r"[a-z0-9](?:-?[a-z0-9]){1,62}").fullmatch
_SPECIAL: Final = frozenset({"$root", "$web", "$logs", "$blobchangefeed"})


@dataclass(frozen=True, slots=True)
class Service:
    """One kind of server."""

    name: str
    title: str
    #: Whether dots at the end of a segment of a name are dropped, which makes ``a.`` and ``a`` one blob.
    drops_dots: bool
    #: Whether it has Put Blob From URL and Put Block From URL.
    from_url: bool
    versions: bool
    #: Whether it compares ``x-ms-content-crc64`` with what has come.
    crc64: bool


#: Both kinds, by name.
SERVICES: Final[Mapping[str, Service]] = MappingProxyType(
    {
        "azure": Service("azure", "Azure Blob Storage", drops_dots=True, from_url=True, versions=True, crc64=True),
        "azurite": Service("azurite", "Azurite", drops_dots=False, from_url=False, versions=False, crc64=False),
    }
)


@dataclass(frozen=True, slots=True)
class Address:
    """One container: ``base`` is the path that its own begins with (the account, on an emulator), empty or ``/a``."""

    service: Service
    account: str
    origin: str
    host: str
    base: str
    container: str

    @property
    def secure(self) -> bool:
        """Whether the way there is encrypted."""
        return self.origin.startswith("https:")

    @property
    def container_path(self) -> str:
        """The encoded path of the container itself."""
        return f"{self.base}/{self.container}"

    @property
    def account_path(self) -> str:
        """The encoded path of the account itself."""
        return f"{self.base}/"

    # ---- keys

    def path(self, key: str) -> str:
        """The encoded path of a key. Raises `NotFoundError` for one that the service would take for another key."""
        if not self.holds(key):
            raise NotFoundError(f"{self.service.title} cannot hold such a key, so there is no such object")
        return f"{self.base}/{self.container}/{encode_path(key)}"

    def holds(self, key: str) -> bool:
        """Whether a blob can have exactly this name."""
        if "\\" in key or "\0" in key or key.count("/") >= _MAX_SEGMENTS:
            return False
        if "." not in key:
            return True
        # Those two are folded by every server on the way, too.
        segments = key.split("/")
        if not {".", ".."}.isdisjoint(segments):
            return False
        return not (self.service.drops_dots and any(each.endswith(".") for each in segments))

    def holds_under(self, prefix: str) -> bool:
        """Whether the name of any blob can begin so."""
        folder, slash, rest = prefix.rpartition("/")
        return "\\" not in rest and "\0" not in rest and (not slash or self.holds(f"{folder}/x"))

    def check_written(self, key: str) -> None:
        """Raise `InvalidKeyError` for a key that would be stored as another one, or not at all."""
        if not self.holds(key):
            raise InvalidKeyError(
                f"{self.service.title} would take this key for another one: it makes '\\' a '/', and shortens segments"
                " that are or end with dots"
            )


def address_of(
    container: str,
    account: str | None,
    *,
    endpoint: str | None = None,
    suffix: str | None = None,
    service: str | None = None,
    allow_http: bool = False,
) -> Address:
    """Where a container is. ``endpoint`` is that of the account's blobs, for emulators with the account as its path.

    Raises `ConfigError` for what is missing or malformed, and for plain http to another machine.
    """
    check_container(container)
    if service is not None and service not in SERVICES:
        raise ConfigError(f"service is one of {', '.join(SERVICES)}")
    if account is not None and not is_label(account):
        raise ConfigError(f"the account {account!r} is not made of letters, digits and inner hyphens")
    if endpoint is None:
        if account is None:
            raise ConfigError("an Azure storage needs its account: set AZURE_STORAGE_ACCOUNT, or give account=")
        domain = suffix or SUFFIX
        if not all(is_label(each) for each in domain.split(".")):
            raise ConfigError(f"the domain {domain!r} is not the name of a host")
        endpoint = f"https://{account.lower()}.blob.{domain}"
    scheme, host, base = parse_endpoint(endpoint_url(endpoint, allow_http=allow_http), allow_http=allow_http)
    named = base.rpartition("/")[2] if base else host.partition(".")[0] if ".blob." in host else None
    owner = account or named
    if owner is None:
        raise ConfigError("an endpoint of one's own name needs the account too: set AZURE_STORAGE_ACCOUNT, or account=")
    kind = SERVICES[service or ("azurite" if base else "azure")]
    if service is None and ".blob.core." not in host:
        # Whatever answers there: an MD5 is compared by all, and a field that is not known might be ignored or refused.
        kind = replace(kind, crc64=False)
    return Address(kind, owner, f"{scheme}://{host}", host, base, container)


def check_container(container: str) -> None:
    """Refuse, with a `ConfigError`, a name that no container has."""
    if container not in _SPECIAL and not (_CONTAINER(container) and 3 <= len(container) <= 63):
        raise ConfigError(
            f"{container!r} cannot be the name of a container: 3 to 63 lower-case letters, digits and single hyphens"
        )
