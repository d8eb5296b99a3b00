"""Digests in the header fields of S3. Pure functions."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Final

from mediagit_storage.backends.s3.services import ChecksumName, Service
from mediagit_storage.hashing import DIGEST_SIZES
from mediagit_storage.http.headers import Headers
from mediagit_storage.types import Checksum

__all__ = ["checksum_element", "checksum_fields", "chosen_checksum", "stored_checksum"]

_FIELDS: Final[Mapping[str, str]] = {
    "crc32c": "x-amz-checksum-crc32c",
    "sha256": "x-amz-checksum-sha256",
    "md5": "content-md5",
}
#: What answers are looked through for.
_KEPT: Final = ("crc32c", "sha256")
_KEPT_FIELDS: Final = tuple(_FIELDS[algorithm] for algorithm in _KEPT)
_ELEMENTS: Final[Mapping[str, str]] = {"crc32c": "ChecksumCRC32C", "sha256": "ChecksumSHA256"}


def chosen_checksum(service: Service, *, crc32c: bool) -> ChecksumName:
    """What uploads are protected with: the cheapest to compute of those that the service is known to take.

    ``crc32c`` says if that one can be computed here: it costs a tenth of the others. SHA-256 is about twice as fast
    as MD5 where the processor has instructions for it. Every service takes Content-MD5, so it is what remains.
    """
    if crc32c and "crc32c" in service.checksums:
        return "crc32c"
    return "sha256" if "sha256" in service.checksums else "md5"


def checksum_fields(service: Service, checksum: Checksum) -> list[tuple[str, str]]:
    """The field that carries a digest of the body; none where the service does not take that algorithm."""
    if checksum.algorithm not in service.checksums:
        return []
    return [(_FIELDS[checksum.algorithm], base64.b64encode(checksum.digest).decode("ascii"))]


def checksum_element(checksum: Checksum) -> tuple[str, str] | None:
    """The element for CompleteMultipartUpload of a part that was sent with a digest; None for Content-MD5."""
    name = _ELEMENTS.get(checksum.algorithm)
    return None if name is None else (name, base64.b64encode(checksum.digest).decode("ascii"))


def stored_checksum(headers: Headers) -> Checksum | None:
    """The digest of the whole object that an answer carries, if it carries one that can be checked.

    Digests of multipart uploads (``...-3``, or of type COMPOSITE) are digests of digests, and left out. A part of an
    object (206) carries the digest of the whole: do not check it against the part. Of an object that came in parts only
    a CRC can be that of the whole, whatever the server says.
    """
    texts = headers.pick(*_KEPT_FIELDS)
    if not any(texts) or (headers.get("x-amz-checksum-type") or "").upper() == "COMPOSITE":
        return None
    for algorithm, text in zip(_KEPT, texts, strict=True):
        if text is None or (algorithm == "sha256" and _in_parts(headers)):
            continue
        try:
            digest = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            continue
        if len(digest) == DIGEST_SIZES[algorithm]:
            return Checksum(algorithm, digest)
    return None


def _in_parts(headers: Headers) -> bool:
    """Whether the ETag is one of an upload in parts: ``...-3``."""
    digest, _, count = (headers.get("etag") or "").strip('"').rpartition("-")
    return bool(digest) and count.isdigit()
