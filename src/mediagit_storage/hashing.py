"""Digests by name, for checksums that a caller declares or that a layer keeps.

``md5`` and ``sha256`` are in the standard library; ``crc32c``, ``crc64nvme`` and ``blake3`` come with the extra
``checksum``. A large BLAKE3 is computed by several threads.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Callable
from functools import cache
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
    "crc64_at_hand",
    "hash_data",
    "hash_region",
    "new_hasher",
    "quick_crc32c",
    "verify",
    "verify_kept",
]

#: How much is hashed at a time, in bytes: it stays in the processor's cache between being read and being hashed.
PIECE: Final = 256 * 1024

#: From this size on several threads pay for being started, in bytes, and this much at a time keeps them busy.
_SHARED: Final = 8 * 1024 * 1024
_SHARED_PIECE: Final = 4 * 1024 * 1024
_MAX_THREADS: Final = 8

#: The algorithms that can be declared, and how many bytes their digests have.
DIGEST_SIZES: Final = {"md5": 16, "sha256": 32, "crc32c": 4, "crc64nvme": 8, "blake3": 32}

#: What computes those that are not in the standard library: module and name.
_LIBRARIES: Final = {
    "crc32c": ("google_crc32c", "Checksum"),
    "crc64nvme": ("awscrt.checksums", "crc64nvme"),
    "blake3": ("blake3", "blake3"),
}


class Hasher(Protocol):
    """The part of a hash object that is used here."""

    def update(self, data: BytesLike, /) -> object:
        """Take in more bytes."""
        ...

    def digest(self) -> bytes:
        """The digest of all bytes so far (CRCs in network byte order)."""
        ...


class _Crc64:
    """CRC-64/NVME by the function of awscrt."""

    __slots__ = ("_compute", "_value")

    def __init__(self, compute: Callable[[BytesLike, int], int]) -> None:
        self._compute = compute
        self._value = 0

    def update(self, data: BytesLike, /) -> None:
        self._value = self._compute(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(8, "big")


def new_hasher(algorithm: str, *, size: int = 0) -> Hasher:
    """An empty hasher. An unknown algorithm, or one whose library is missing, is a `ConfigError` that says what to do.

    ``size`` is how much it will see, as far as that is known: a large BLAKE3 is shared by several threads.
    """
    if algorithm not in DIGEST_SIZES:
        raise ConfigError(f"unknown checksum algorithm {algorithm!r}; known: {', '.join(sorted(DIGEST_SIZES))}")
    if algorithm == "md5":
        return hashlib.md5(usedforsecurity=False)
    if algorithm == "sha256":
        return hashlib.sha256()
    # Threads of its own: those that the library shares by default are gone after a fork, and it would wait for them.
    options = {"max_threads": min(os.cpu_count() or 1, _MAX_THREADS)} if _is_shared(algorithm, size) else {}
    made = _maker(algorithm)
    if algorithm == "crc64nvme":
        return _Crc64(cast("Callable[[BytesLike, int], int]", made))
    return cast("Hasher", made(**options))


@cache
def _maker(algorithm: str) -> Callable[..., object]:
    """What the library of an algorithm that is not in the standard library offers for it."""
    module, name = _LIBRARIES[algorithm]
    try:
        # Never out of `sys.modules` directly: one that another thread imports at this moment is there, and not yet whole.
        made: Callable[..., object] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        raise ConfigError(f"{algorithm} needs the extra 'checksum': pip install 'mediagit-storage[checksum]'") from None
    return made


def crc32c_at_hand() -> bool:
    """Whether the library that computes CRC32C is installed."""
    return importlib.util.find_spec("google_crc32c") is not None


@cache
def quick_crc32c() -> Callable[[int, bytes], int] | None:
    """``crc32c(value, data)``, which goes on from the ``value`` of what came before (0 of nothing), in machine code.

    None where that is not installed; the library's own substitute in Python would take a thousand times as long.
    """
    try:
        library = importlib.import_module("google_crc32c")
    except ImportError:
        return None
    return cast("Callable[[int, bytes], int]", library.extend) if library.implementation == "c" else None


def crc64_at_hand() -> bool:
    """Whether the library that computes CRC-64/NVME is installed, and new enough. It is loaded for that."""
    try:
        return hasattr(importlib.import_module("awscrt.checksums"), "crc64nvme")
    except (ImportError, OSError):  # an old one has no such module, and one for another system does not load
        return False


def hash_region(region: FileRegion, offset: int, length: int, algorithm: str) -> Hasher:
    """A hasher that saw a part of a file; the current scope can stop it. `IntegrityError` where the file got shorter.

    The file is read, not mapped: one that gets shorter under a mapping would kill the process.
    """
    scope, hasher = current_scope(), new_hasher(algorithm, size=length)
    piece = _SHARED_PIECE if _is_shared(algorithm, length) else PIECE
    for start in range(offset, offset + length, piece):
        scope.check()
        hasher.update(region.read(min(piece, offset + length - start), start))
    return hasher


def hash_data(data: BytesLike, algorithm: str) -> Hasher:
    """A hasher that saw ``data``; the current scope can stop it between pieces of large ones."""
    hasher = new_hasher(algorithm, size=len(data))
    if len(data) < _SHARED:
        hasher.update(data)
        return hasher
    scope = current_scope()
    with memoryview(data) as view:
        for start in range(0, len(view), _SHARED_PIECE):
            scope.check()
            hasher.update(view[start : start + _SHARED_PIECE])
    return hasher


def _is_shared(algorithm: str, size: int) -> bool:
    return algorithm == "blake3" and size >= _SHARED


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
        raise ChecksumError(f"the object's {checksum.algorithm} is not the one that is kept with it")
