"""What requests to Azure Storage look like: header fields, queries and bodies made of this library's options.

Pure functions. Fields come as (lower-case name, value) pairs. What the service cannot keep is refused here, before
anything is sent.

Names of metadata are identifiers at Azure: letters, digits and ``_``, no digit in front, upper and lower case being the
same. Names of that kind travel as they are; in others, and in those with two ``_`` in a row, every character that is
no lower-case letter or digit becomes ``__`` and its two hexadecimal digits: ``x-y`` is ``x__2dy``. Values are ASCII at
Azure, and travel as `encode_text` says; an empty one, and one with blanks in a row, are encoded words, too.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from mediagit_storage.attributes import RESERVED_METADATA_PREFIX
from mediagit_storage.errors import ConfigError, LimitExceededError, UnsupportedError
from mediagit_storage.http.call import Fields
from mediagit_storage.http.encoding import encode_query, encode_text, encode_value, encode_words
from mediagit_storage.http.xml import element
from mediagit_storage.types import Attributes, Checksum

__all__ = [
    "DEFAULT_CONTENT_TYPE",
    "META",
    "SNAPSHOT",
    "TIERS",
    "EncryptionFields",
    "attribute_fields",
    "block_id",
    "block_list",
    "checksum_field",
    "condition_fields",
    "decode_name",
    "encode_name",
    "encode_value_of",
    "encryption_fields",
    "etag_field",
    "http_fields",
    "list_query",
    "metadata_fields",
    "response_query",
    "tags_value",
    "version_query",
    "version_text",
]

#: What is sent for an object without a content type, because the service makes up one of its own where none is sent;
#: read back, it means "none".
DEFAULT_CONTENT_TYPE: Final = "binary/octet-stream"

#: How fields of metadata begin.
META: Final = "x-ms-meta-"
#: The access tiers of block blobs, by their names in lower case.
TIERS: Final = {name.lower(): name for name in ("Hot", "Cool", "Cold", "Archive", "Smart")}

_HTTP_FIELDS: Final = (
    ("content_type", "x-ms-blob-content-type"),
    ("cache_control", "x-ms-blob-cache-control"),
    ("content_encoding", "x-ms-blob-content-encoding"),
    ("content_disposition", "x-ms-blob-content-disposition"),
)
_MAX_METADATA: Final = 8 * 1024
_MAX_TAGS: Final = 10
_TAG: Final = re.compile(r"[A-Za-z0-9 +\-./:=_]*").fullmatch


# ---- metadata ------------------------------------------------------------------------------------------------------

_PLAIN_NAME: Final = re.compile(r"(?!.*__)[a-z_][a-z0-9_]*").fullmatch
_UNUSUAL: Final = re.compile(r"[^a-z0-9]")
_ESCAPE: Final = re.compile(r"__([0-9a-f]{2})")


def encode_name(name: str) -> str:
    """A lower-case ASCII name as an identifier; `decode_name` undoes it."""
    if _PLAIN_NAME(name):
        return name
    escaped = _UNUSUAL.sub(_escaped, name)
    return escaped if not escaped[:1].isdigit() else _escaped_text(name[0]) + escaped[1:]


def decode_name(name: str) -> str:
    """Undo `encode_name`; names that others made are left as they are."""
    if "__" not in name:
        return name
    found = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), name)
    return found if encode_name(found) == name and found == found.lower() else name


def _escaped(match: re.Match[str]) -> str:
    return _escaped_text(match[0])


def _escaped_text(character: str) -> str:
    return f"__{ord(character):02x}"


def encode_value_of(text: str) -> str:
    """A value of metadata as a field holds it; `decode_text` undoes it."""
    # Nothing at all is not kept everywhere, and of blanks in a row some of those in between make one.
    return encode_text(text) if text and "  " not in text else encode_words(text)


def metadata_fields(metadata: Mapping[str, str], hidden: Mapping[str, str] | None = None) -> Fields:
    """The fields of metadata; ``hidden`` is the library's own, by names without their prefix ``mgs-``.

    Raises `LimitExceededError` for too much.
    """
    pairs = [*metadata.items(), *((f"{RESERVED_METADATA_PREFIX}{name}", text) for name, text in (hidden or {}).items())]
    fields = [(META + encode_name(name), encode_value_of(text)) for name, text in pairs]
    used = sum(len(name) - len(META) + len(value) for name, value in fields)
    if used > _MAX_METADATA:
        raise LimitExceededError(f"the metadata take {used:,} bytes; Azure Blob Storage keeps {_MAX_METADATA:,}")
    return fields


# ---- attributes ----------------------------------------------------------------------------------------------------


def http_fields(attributes: Attributes) -> Fields:
    """The fields that GET answers with later: content type and its kin."""
    fields: Fields = []
    for attribute, field in _HTTP_FIELDS:
        value = getattr(attributes, attribute)
        if value:
            fields.append((field, _checked_field(attribute, value)))
    if not attributes.content_type:
        fields.append(("x-ms-blob-content-type", DEFAULT_CONTENT_TYPE))
    return fields


def attribute_fields(attributes: Attributes | None, *, hidden: Mapping[str, str] | None = None) -> Fields:
    """All the fields that carry the attributes of what is written.

    Raises `UnsupportedError` for what the service or HTTP cannot keep, `LimitExceededError` for too much.
    """
    given = attributes if attributes is not None else Attributes()
    fields = http_fields(given)
    fields += metadata_fields(given.metadata, hidden)
    if given.storage_class:
        fields.append(("x-ms-access-tier", _tier(given.storage_class)))
    if given.tags:
        fields.append(("x-ms-tags", tags_value(given.tags)))
    return fields


def tags_value(tags: Mapping[str, str]) -> str:
    """Tags as the value of ``x-ms-tags``. Raises `UnsupportedError` and `LimitExceededError`."""
    if len(tags) > _MAX_TAGS:
        raise LimitExceededError(f"an object has at most {_MAX_TAGS} tags, and these are {len(tags)}")
    for name, value in tags.items():
        if not 1 <= len(name) <= 128 or len(value) > 256:
            raise LimitExceededError(
                f"a tag has a name of 1 to 128 characters and a value of at most 256: {name[:200]!r}"
            )
        if not _TAG(name) or not _TAG(value):
            raise UnsupportedError(f"tags are made of letters, digits, blanks and + - . / : = _ here: {name!r}")
    return "&".join(f"{encode_value(name)}={encode_value(value)}" for name, value in tags.items())


def _tier(storage_class: str) -> str:
    tier = TIERS.get(storage_class.lower())
    if tier is None:
        raise UnsupportedError(f"there is no access tier {storage_class!r}; there are {', '.join(TIERS.values())}")
    return tier


def _checked_field(attribute: str, value: str) -> str:
    if not value.isascii():
        raise UnsupportedError(
            f"{attribute} is sent as it is, and HTTP takes ASCII only (a file name may be spelled filename*=UTF-8''...)"
        )
    if value != value.strip(" "):
        raise UnsupportedError(f"{attribute} begins or ends with a blank, which HTTP does not keep")
    return value


# ---- conditions ----------------------------------------------------------------------------------------------------


def etag_field(etag: str) -> str:
    """An ETag as a condition carries it: in quotes, unless it has them or is ``*`` (any)."""
    if not etag or not etag.isascii() or not etag.isprintable():
        raise ConfigError("an ETag is printable ASCII, as a stat or a listing gave it")
    return etag if etag == "*" or etag.startswith(('"', "W/")) else f'"{etag}"'


def condition_fields(
    *, if_absent: bool = False, if_match: str | None = None, if_none_match: str | None = None
) -> Fields:
    """The conditions of a read or a write."""
    fields: Fields = []
    if if_match is not None:
        fields.append(("if-match", etag_field(if_match)))
    if if_absent:
        fields.append(("if-none-match", "*"))
    elif if_none_match is not None:
        fields.append(("if-none-match", etag_field(if_none_match)))
    return fields


# ---- blocks --------------------------------------------------------------------------------------------------------


def block_id(upload: str, number: int) -> str:
    """The name of a block: all blocks of a blob need names of one length, and other uploads of its key have others."""
    return base64.b64encode(f"{upload}-{number:05}".encode()).decode("ascii")


def block_list(ids: Iterable[str]) -> bytes:
    """The body of Put Block List. ``Latest``, so that the same request may be sent twice."""
    items = "".join(element("Latest", each) for each in ids)
    return f'<?xml version="1.0" encoding="utf-8"?>{element("BlockList", items)}'.encode()


# ---- encryption ----------------------------------------------------------------------------------------------------


class EncryptionFields(NamedTuple):
    """What requests carry where not the service's own key encrypts."""

    reading: Fields
    writing: Fields


def encryption_fields(key: bytes | None, scope: str | None) -> EncryptionFields:
    """The fields for a customer's key (32 bytes), or for the name of a scope, which only writes name."""
    if key is not None:
        fields = [
            ("x-ms-encryption-key", base64.b64encode(key).decode("ascii")),
            ("x-ms-encryption-key-sha256", base64.b64encode(hashlib.sha256(key).digest()).decode("ascii")),
            ("x-ms-encryption-algorithm", "AES256"),
        ]
        return EncryptionFields(fields, fields)
    if scope is not None:
        if not scope.isascii() or not scope.isprintable() or scope != scope.strip():
            raise ConfigError("encryption_scope is printable ASCII")
        return EncryptionFields([], [("x-ms-encryption-scope", scope)])
    return EncryptionFields([], [])


# ---- queries -------------------------------------------------------------------------------------------------------

#: How the versions that are snapshots are marked in front of their time.
SNAPSHOT: Final = "snapshot:"


def version_query(version: str | None) -> list[tuple[str, str]]:
    """The unencoded query that names a version or a snapshot."""
    if version is None:
        return []
    if version.startswith(SNAPSHOT):
        return [("snapshot", version.removeprefix(SNAPSHOT))]
    return [("versionid", version)]


def list_query(
    prefix: str,
    *,
    marker: str | None = None,
    one_level: bool = False,
    include: str | None = None,
    most: int | None = None,
) -> list[tuple[str, str]]:
    """The unencoded query of List Blobs, without the container's own part."""
    query = [("comp", "list")]
    for name, value in (("prefix", prefix), ("marker", marker), ("include", include)):
        if value:
            query.append((name, value))
    if one_level:
        query.append(("delimiter", "/"))
    if most is not None:
        query.append(("maxresults", str(most)))
    return query


_OVERRIDES: Final = {
    "cache-control": "rscc",
    "content-disposition": "rscd",
    "content-encoding": "rsce",
    "content-language": "rscl",
    "content-type": "rsct",
}


def response_query(response: Mapping[str, str]) -> dict[str, str]:
    """The parameters that make a link answer with other fields than the object's own. An unknown one is a `ConfigError`.

    Names are those of the fields, in any case, with ``-`` or ``_``.
    """
    found: dict[str, str] = {}
    for name, value in response.items():
        parameter = _OVERRIDES.get(name.lower().replace("_", "-"))
        if parameter is None:
            raise ConfigError(f"a link cannot set {name!r} in its answer; it can set {', '.join(sorted(_OVERRIDES))}")
        found[parameter] = value
    return found


def version_text(version: str | None) -> str:
    """The same as `version_query`, encoded."""
    return encode_query(version_query(version))


def checksum_field(checksum: Checksum) -> tuple[str, str]:
    """What a body says about itself: an MD5, or a CRC-64/NVME, whose bytes the service has the other way round."""
    if checksum.algorithm == "crc64nvme":
        return "x-ms-content-crc64", base64.b64encode(checksum.digest[::-1]).decode("ascii")
    return "content-md5", base64.b64encode(checksum.digest).decode("ascii")
