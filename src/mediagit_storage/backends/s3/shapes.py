"""What requests to S3 look like: header fields and queries made of this library's options. Pure functions.

Fields come as (lower-case name, value) pairs, ready to be signed and sent. What the service cannot keep is refused
here, before anything is sent.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mediagit_storage.attributes import RESERVED_METADATA_PREFIX
from mediagit_storage.backends.s3.services import EncryptionName, Service
from mediagit_storage.errors import ConfigError, LimitExceededError, UnsupportedError
from mediagit_storage.http.call import Fields
from mediagit_storage.http.encoding import encode_text, encode_value, format_timestamp
from mediagit_storage.secrets import Secret
from mediagit_storage.types import Attributes, Retention

__all__ = [
    "DEFAULT_CONTENT_TYPE",
    "Encryption",
    "attribute_fields",
    "condition_fields",
    "copy_fields",
    "etag_field",
    "list_query",
    "lock_fields",
    "payer_fields",
    "response_query",
    "tagging_value",
    "uploads_query",
    "versions_query",
]

#: What is sent for an object without a content type, because services make up one of their own where none is sent;
#: read back, it means "none".
DEFAULT_CONTENT_TYPE: Final = "binary/octet-stream"

_META: Final = "x-amz-meta-"
_HTTP_FIELDS: Final = (
    ("content_type", "content-type"),
    ("cache_control", "cache-control"),
    ("content_encoding", "content-encoding"),
    ("content_disposition", "content-disposition"),
)
_MAX_TAGS: Final = 10
_MAX_TAG_NAME: Final = 128
_MAX_TAG_VALUE: Final = 256


# ---- attributes ----------------------------------------------------------------------------------------------------


def attribute_fields(
    attributes: Attributes | None, service: Service, *, hidden: Mapping[str, str] | None = None
) -> Fields:
    """The fields that carry the attributes of a put, a copy that replaces them, or a multipart upload's beginning.

    ``hidden`` is the library's own metadata, by names without their prefix ``mgs-``. Metadata of any Unicode travels
    as `encode_text` says. Raises `UnsupportedError` for what the service or HTTP cannot keep, `LimitExceededError`
    for too much metadata.
    """
    given = attributes if attributes is not None else Attributes()
    fields: Fields = []
    for attribute, field in _HTTP_FIELDS:
        value = getattr(given, attribute)
        if value:
            fields.append((field, _checked_field(attribute, value)))
    if not given.content_type:
        fields.append(("content-type", DEFAULT_CONTENT_TYPE))
    metadata = _metadata_fields(given.metadata, hidden or {})
    used = sum(len(name) - len(_META) + len(value) for name, value in metadata)
    if used > service.max_metadata:
        raise LimitExceededError(f"the metadata take {used:,} bytes; {service.title} keeps {service.max_metadata:,}")
    fields += metadata
    if given.storage_class:
        fields.append(("x-amz-storage-class", _checked_class(given.storage_class, service)))
    if given.tags:
        fields.append(("x-amz-tagging", tagging_value(given.tags, service)))
    return fields


def tagging_value(tags: Mapping[str, str], service: Service) -> str:
    """Tags as the value of ``x-amz-tagging``. Raises `UnsupportedError` and `LimitExceededError`."""
    if not service.tags:
        raise UnsupportedError(f"{service.title} keeps no tags")
    if len(tags) > _MAX_TAGS:
        raise LimitExceededError(f"an object has at most {_MAX_TAGS} tags, and these are {len(tags)}")
    for name, value in tags.items():
        if not name or len(name) > _MAX_TAG_NAME or len(value) > _MAX_TAG_VALUE:
            raise LimitExceededError(
                f"a tag has a name of 1 to {_MAX_TAG_NAME} characters and a value of at most {_MAX_TAG_VALUE}: {name[:200]!r}"
            )
    return "&".join(f"{encode_value(name)}={encode_value(value)}" for name, value in tags.items())


def _checked_field(attribute: str, value: str) -> str:
    if not value.isascii():
        raise UnsupportedError(
            f"{attribute} is sent as it is, and HTTP takes ASCII only (a file name may be spelled filename*=UTF-8''...)"
        )
    if value != value.strip(" "):
        raise UnsupportedError(f"{attribute} begins or ends with a blank, which HTTP does not keep")
    return value


def _metadata_fields(metadata: Mapping[str, str], hidden: Mapping[str, str]) -> Fields:
    fields = [(f"{_META}{name.lower()}", encode_text(value)) for name, value in metadata.items()]
    return fields + [(f"{_META}{RESERVED_METADATA_PREFIX}{name}", encode_text(value)) for name, value in hidden.items()]


def _checked_class(storage_class: str, service: Service) -> str:
    if service.storage_classes is not None and storage_class not in service.storage_classes:
        known = ", ".join(sorted(service.storage_classes))
        raise UnsupportedError(f"{service.title} has no storage class {storage_class!r}; it has {known}")
    return _checked_field("storage_class", storage_class)


# ---- conditions, ranges, copies, locks -----------------------------------------------------------------------------


def etag_field(etag: str) -> str:
    """An ETag as a condition carries it: in quotes, unless it is weak, quoted already, or ``*`` (any)."""
    return etag if etag == "*" or etag.startswith(('"', "W/")) else f'"{etag}"'


def condition_fields(
    *, if_absent: bool = False, if_match: str | None = None, if_none_match: str | None = None
) -> Fields:
    """The conditions of a read or a write. At most one is given with a write; a read may have both kinds."""
    fields: Fields = []
    if if_match is not None:
        fields.append(("if-match", etag_field(_checked_etag(if_match))))
    if if_absent:
        fields.append(("if-none-match", "*"))
    elif if_none_match is not None:
        fields.append(("if-none-match", etag_field(_checked_etag(if_none_match))))
    return fields


def _checked_etag(etag: str) -> str:
    if not etag or not etag.isascii() or not etag.isprintable():
        raise ConfigError("an ETag is printable ASCII, as a stat or a listing gave it")
    return etag


def copy_fields(source: str, *, replace: bool, if_match: str | None = None, tags: bool = False) -> Fields:
    """The fields of a copy from ``source`` (`copy_source`); ``replace`` takes attributes from the request.

    ``if_match`` ties the copy to one version of the source. ``tags`` says that the service knows tags.
    """
    directive = "REPLACE" if replace else "COPY"
    fields: Fields = [("x-amz-copy-source", source), ("x-amz-metadata-directive", directive)]
    if tags:
        fields.append(("x-amz-tagging-directive", directive))
    if if_match is not None:
        fields.append(("x-amz-copy-source-if-match", etag_field(_checked_etag(if_match))))
    return fields


def lock_fields(retention: Retention | None, service: Service, *, legal_hold: bool = False) -> Fields:
    """The fields that protect a new version. Raises `UnsupportedError` where the service has no object lock.

    A put with them also needs a checksum of its body (Content-MD5 or ``x-amz-checksum-*``).
    """
    if (retention is not None or legal_hold) and not service.retention:
        raise UnsupportedError(f"{service.title} has no object lock")
    fields: Fields = []
    if retention is not None:
        fields.append(("x-amz-object-lock-mode", retention.mode.upper()))
        fields.append(("x-amz-object-lock-retain-until-date", format_timestamp(retention.until)))
    if legal_hold:
        fields.append(("x-amz-object-lock-legal-hold", "ON"))
    return fields


def payer_fields(*, requester_pays: bool) -> Fields:
    """The field that accepts the costs of a request to a bucket whose owner does not pay."""
    return [("x-amz-request-payer", "requester")] if requester_pays else []


# ---- encryption by the service -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Encryption:
    """How the service encrypts what it stores. ``customer_key`` is the Base64 of 32 bytes (sse-c)."""

    kind: EncryptionName
    kms_key_id: str | None = None
    kms_context: str | None = None
    bucket_key: bool = False
    customer_key: Secret | None = None

    def __post_init__(self) -> None:
        if (self.kind == "sse-c") != (self.customer_key is not None):
            raise ConfigError("a customer key belongs to sse-c, and to nothing else")
        if self.kind != "sse-kms" and (self.kms_key_id or self.kms_context or self.bucket_key):
            raise ConfigError("kms_key_id, kms_context and bucket_key belong to sse-kms")
        if self.customer_key is not None:
            self._raw_key()

    def check(self, service: Service, scheme: str) -> None:
        """Refuse what the service does not have, and a customer key over plain http (`UnsupportedError`)."""
        if self.kind not in service.encryption:
            raise UnsupportedError(f"{service.title} does not have {self.kind}")
        if self.kind == "sse-c" and scheme != "https":
            raise UnsupportedError("sse-c would show the key to the network: it needs https")

    def write_fields(self) -> Fields:
        """The fields of a put, a copy's target, or a multipart upload's beginning."""
        if self.kind == "sse-c":
            return self.key_fields()
        if self.kind == "sse-s3":
            return [("x-amz-server-side-encryption", "AES256")]
        fields: Fields = [("x-amz-server-side-encryption", "aws:kms")]
        if self.kms_key_id:
            fields.append(
                ("x-amz-server-side-encryption-aws-kms-key-id", _checked_field("kms_key_id", self.kms_key_id))
            )
        if self.kms_context:
            context = base64.b64encode(self.kms_context.encode()).decode("ascii")
            fields.append(("x-amz-server-side-encryption-context", context))
        if self.bucket_key:
            fields.append(("x-amz-server-side-encryption-bucket-key-enabled", "true"))
        return fields

    def key_fields(self) -> Fields:
        """The fields of a read, a stat or a part: nothing but the customer's key, if there is one."""
        return self._customer_fields("x-amz-server-side-encryption-customer-")

    def source_fields(self) -> Fields:
        """The fields that open the source of a copy."""
        return self._customer_fields("x-amz-copy-source-server-side-encryption-customer-")

    def _customer_fields(self, prefix: str) -> Fields:
        if self.customer_key is None:
            return []
        raw = self._raw_key()
        digest = hashlib.md5(raw, usedforsecurity=False).digest()
        return [
            (f"{prefix}algorithm", "AES256"),
            (f"{prefix}key", base64.b64encode(raw).decode("ascii")),
            (f"{prefix}key-md5", base64.b64encode(digest).decode("ascii")),
        ]

    def _raw_key(self) -> bytes:
        text = "" if self.customer_key is None else self.customer_key.reveal()
        try:
            raw = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if len(raw) != 32:
            raise ConfigError("the customer key for sse-c is the Base64 of 32 random bytes")
        return raw


# ---- queries -------------------------------------------------------------------------------------------------------


def list_query(
    prefix: str,
    *,
    start_after: str | None = None,
    token: str | None = None,
    one_level: bool = False,
    max_keys: int | None = None,
) -> list[tuple[str, str]]:
    """The unencoded query of ListObjectsV2. After the first page, ``token`` alone says where it goes on."""
    query = [("list-type", "2"), ("encoding-type", "url")]
    if prefix:
        query.append(("prefix", prefix))
    if one_level:
        query.append(("delimiter", "/"))
    if token is not None:
        query.append(("continuation-token", token))
    elif start_after:
        query.append(("start-after", start_after))
    if max_keys is not None:
        query.append(("max-keys", str(max_keys)))
    return query


def versions_query(
    prefix: str, *, after_key: str | None = None, after_version: str | None = None
) -> list[tuple[str, str]]:
    """The unencoded query of ListObjectVersions. Both markers come from the page before."""
    return _marked_query("versions", prefix, (("key-marker", after_key), ("version-id-marker", after_version)))


def uploads_query(
    prefix: str, *, after_key: str | None = None, after_upload: str | None = None
) -> list[tuple[str, str]]:
    """The unencoded query of ListMultipartUploads. Both markers come from the page before."""
    return _marked_query("uploads", prefix, (("key-marker", after_key), ("upload-id-marker", after_upload)))


def _marked_query(what: str, prefix: str, markers: tuple[tuple[str, str | None], ...]) -> list[tuple[str, str]]:
    query = [(what, ""), ("encoding-type", "url")]
    if prefix:
        query.append(("prefix", prefix))
    return query + [(name, value) for name, value in markers if value]


_OVERRIDES: Final = frozenset(
    {"cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires"}
)


def response_query(response: Mapping[str, str]) -> list[tuple[str, str]]:
    """The unencoded query that makes a presigned GET answer with other fields than the object's own.

    Names are those of the fields, in any case, with ``-`` or ``_``. An unknown one is a `ConfigError`.
    """
    query: list[tuple[str, str]] = []
    for name, value in response.items():
        field = name.lower().replace("_", "-")
        if field not in _OVERRIDES:
            raise ConfigError(f"a link cannot set {name!r} in its answer; it can set {', '.join(sorted(_OVERRIDES))}")
        query.append((f"response-{field}", value))
    return query
