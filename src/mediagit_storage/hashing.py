"""Digests by name, for checksums that a caller declares.

``md5`` and ``sha256`` are in the standard library; ``crc32c`` and ``blake3`` come with the extra ``checksum``.
"""

from __future__ import annotations

import hashlib
import importlib.util
from typing import Final, Protocol, cast

from mediagit_storage.errors import ChecksumError, ConfigError
from mediagit_storage.scope import current_scope
from mediagit_storage.source import FileRegion
from mediagit_storage.types import BytesLike, Checksum

__all__ = [
    "DIGEST_SIZES",
    "PIECE",
    "Hasher",
    "check_declared",
    "crc32c_at_hand",
    "hash_region",
    "new_hasher",
    "verify",
    "verify_kept",
]

#: How much is hashed at a time, in bytes: it stays in the processor's cache between being read and being hashed.
PIECE: Final = 256 * 1024

#: The algorithms that can be declared, and how many bytes their digests have.
DIGEST_SIZES: Final = {"md5": 16, "sha256": 32, "crc32c": 4, "blake3": 32}


class Hasher(Protocol):
    """The part of a hash object that is used here."""

    def update(self, data: BytesLike, /) -> object:
        """Take in more bytes."""
        ...

    def digest(self) -> bytes:
        """The digest of all bytes so far (CRC32C in network byte order)."""
        ...


def new_hasher(algorithm: str) -> Hasher:
    """An empty hasher. An unknown algorithm, or one whose library is missing, is a `ConfigError` that says what to do."""
    if algorithm not in DIGEST_SIZES:
        raise ConfigError(f"unknown checksum algorithm {algorithm!r}; known: {', '.join(sorted(DIGEST_SIZES))}")
    if algorithm == "md5":
        return hashlib.md5(usedforsecurity=False)
    if algorithm == "sha256":
        return hashlib.sha256()
    module, name = {"crc32c": ("google_crc32c", "Checksum"), "blake3": ("blake3", "blake3")}[algorithm]
    try:
        return cast("Hasher", getattr(importlib.import_module(module), name)())
    except ImportError:
        raise ConfigError(f"{algorithm} needs the extra 'checksum': pip install 'mediagit-storage[checksum]'") from None


def crc32c_at_hand() -> bool:
    """Whether the library that computes CRC32C is installed."""
    return importlib.util.find_spec("google_crc32c") is not None


def hash_region(region: FileRegion, offset: int, length: int, algorithm: str) -> Hasher:
    """A hasher that saw a part of a file; the current scope can stop it. `IntegrityError` where the file got shorter."""
    scope, hasher = current_scope(), new_hasher(algorithm)
    for start in range(offset, offset + length, PIECE):
        scope.check()
        hasher.update(region.read(min(PIECE, offset + length - start), start))
    return hasher


def check_declared(checksum: Checksum) -> None:
    """Refuse a declared checksum that no content can have, before any I/O."""
    new_hasher(checksum.algorithm)
    expected = DIGEST_SIZES[checksum.algorithm]
    if len(checksum.digest) != expected:
        raise ConfigError(
            f"a {checksum.algorithm} digest has {expected} bytes, the declared one has {len(checksum.digest)}"
        )


def verify(checksum: Checksum, hasher: Hasher) -> None:
    """Raise `ChecksumError` unless ``hasher`` saw the declared content."""
    actual = hasher.digest()
    if actual != checksum.digest:
        raise ChecksumError(
            f"the data have the {checksum.algorithm} {actual.hex()}, declared was {checksum.digest.hex()};"
            " nothing was stored"
        )


def verify_kept(checksum: Checksum, hasher: Hasher) -> None:
    """Raise `ChecksumError` unless ``hasher`` saw what the storage keeps the digest of."""
    if hasher.digest() != checksum.digest:
        raise ChecksumError(f"the object's {checksum.algorithm} is not the one that the server keeps with it")
