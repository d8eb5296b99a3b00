"""How the digest lies in an object's metadata: ``mgs-blake3`` is 64 lower-case hexadecimal digits. Pure functions."""

from __future__ import annotations

import re
from typing import Final

from mediagit_storage.attributes import RESERVED_METADATA_PREFIX
from mediagit_storage.errors import ChecksumError
from mediagit_storage.types import Attributes, Checksum, ObjectInfo

__all__ = ["ALGORITHM", "NAME", "kept_checksum", "stored_checksum", "told", "with_checksum"]

ALGORITHM: Final = "blake3"
#: The entry of the metadata that holds the digest.
NAME: Final = f"{RESERVED_METADATA_PREFIX}{ALGORITHM}"

_FORM: Final = re.compile(r"[0-9a-f]{64}")
_NO_ATTRIBUTES: Final = Attributes()


def with_checksum(attributes: Attributes | None, checksum: Checksum | None) -> Attributes:
    """The attributes with this digest, whatever one there was; None for without any."""
    given = attributes if attributes is not None else _NO_ATTRIBUTES
    metadata = dict(given.metadata)
    if checksum is None:
        metadata.pop(NAME, None)
    else:
        metadata[NAME] = checksum.digest.hex()
    # Spelled out, here and below: dataclasses.replace() would take several times as long for each object.
    return Attributes(
        given.content_type,
        given.cache_control,
        given.content_encoding,
        given.content_disposition,
        metadata,
        given.storage_class,
        given.tags,
    )


def stored_checksum(attributes: Attributes | None) -> Checksum | None:
    """The digest among the attributes that a backend tells of an object; None where there is none.

    What is no digest is given as one that no content has, so that nothing is ever found to be right by it.
    """
    text = None if attributes is None else attributes.metadata.get(NAME)
    if text is None:
        return None
    return Checksum(ALGORITHM, bytes.fromhex(text) if _FORM.fullmatch(text) else b"")


def kept_checksum(attributes: Attributes | None) -> Checksum | None:
    """The same for a read: what is no digest is a `ChecksumError`."""
    found = stored_checksum(attributes)
    if found is not None and not found.digest:
        raise ChecksumError(f"what is kept as the object's {ALGORITHM} is none: its metadata were damaged")
    return found


def told(info: ObjectInfo, checksum: Checksum | None) -> ObjectInfo:
    """What the layer tells of an object: the digest by itself, and not among the attributes."""
    attributes = info.attributes
    if attributes is not None and NAME in attributes.metadata:
        attributes = with_checksum(attributes, None)
    return ObjectInfo(
        info.key,
        info.size,
        info.stored_size,
        info.modified,
        info.etag,
        info.version,
        attributes,
        info.deleted,
        checksum,
    )
