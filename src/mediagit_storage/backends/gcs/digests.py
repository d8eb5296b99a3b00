"""Digests of whole objects: CRC32C where its library is installed, MD5 elsewhere. No I/O.

In pure Python CRC32C runs at some MB/s, MD5 is in the standard library; the service computes both of every object
(MD5 not of composite ones) and compares what it is sent. Format of ``x-goog-hash``: "Hashes and ETags" of the guides of
Cloud Storage, Base64 of the digest in network byte order.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Final

from mediagit_storage.backends.gcs.resources import ObjectResource
from mediagit_storage.errors import ChecksumError, IntegrityError
from mediagit_storage.hashing import crc32c_at_hand
from mediagit_storage.http.parts import digester
from mediagit_storage.types import Checksum

__all__ = [
    "HASH_FIELD",
    "chosen_algorithm",
    "compare_with",
    "digest_text",
    "hash_value",
    "parse_hashes",
    "stored_text",
    "text_digester",
    "usable",
]

#: The field that carries digests.
HASH_FIELD: Final = "x-goog-hash"


def chosen_algorithm() -> str:
    """The digest that writes are sent with and reads are checked by."""
    return "crc32c" if crc32c_at_hand() else "md5"


def digest_text(digest: bytes) -> str:
    """A digest as the service writes it."""
    return base64.b64encode(digest).decode("ascii")


def text_digester(algorithm: str) -> Callable[[bytes], str]:
    """What computes the digest of bytes in memory, as the service writes it."""
    digest = digester(algorithm)
    return lambda data: base64.b64encode(digest(data)).decode("ascii")


def hash_value(algorithm: str, text: str) -> str:
    """The value of the field for one digest."""
    return f"{algorithm}={text}"


def parse_hashes(value: str | None) -> dict[str, bytes]:
    """``crc32c=mnG7TA==,md5=...`` as digests by algorithm; what cannot be read is left out."""
    found: dict[str, bytes] = {}
    for each in (value or "").split(","):
        algorithm, equals, text = each.strip().partition("=")
        if equals:
            try:
                found[algorithm.lower()] = base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                continue
    return found


def stored_text(resource: ObjectResource, algorithm: str) -> str | None:
    """The digest that the service tells of an object."""
    return resource.crc32c if algorithm == "crc32c" else resource.md5_hash


def compare_with(resource: ObjectResource, algorithm: str, text: str, size: int) -> None:
    """Raise unless the service holds what was sent, as far as it says."""
    if resource.size is not None and resource.size != size:
        raise IntegrityError(f"the server stored {resource.size:,} bytes of {size:,}")
    kept = stored_text(resource, algorithm)
    if kept and kept != text:
        raise ChecksumError(f"the server stored other bytes than were sent: their {algorithm} differs")


def usable(hashes: dict[str, bytes], algorithm: str) -> Checksum | None:
    """The digest by which a whole body can be checked here."""
    if algorithm == "crc32c" and "crc32c" in hashes:
        return Checksum("crc32c", hashes["crc32c"])
    return Checksum("md5", hashes["md5"]) if "md5" in hashes else None
