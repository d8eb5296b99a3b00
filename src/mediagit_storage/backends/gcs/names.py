"""Where things are: paths of buckets and objects, versions and conditions as query parameters. Pure functions.

A key stands in a path as one segment, its slashes encoded, so that no key can be taken for another one.
"""

from __future__ import annotations

import re
from typing import Final

from mediagit_storage.errors import InvalidKeyError
from mediagit_storage.http.call import Query
from mediagit_storage.http.encoding import encode_value

__all__ = [
    "HOST",
    "JSON_BASE",
    "UPLOAD_BASE",
    "bucket_path",
    "check_written",
    "condition_query",
    "generation_of",
    "generation_value",
    "is_google",
    "object_path",
    "upload_path",
]

#: The service's own address.
HOST: Final = "https://storage.googleapis.com"
JSON_BASE: Final = "/storage/v1/b"
UPLOAD_BASE: Final = "/upload/storage/v1/b"

_GENERATION: Final = re.compile(r"[1-9][0-9]{0,18}").fullmatch
_LARGEST: Final = 2**63 - 1
#: A generation is a time in microseconds: none is so small. It stands for ETags that no object can have; 0 would mean
#: "there is no object".
_NOBODYS: Final = "1"
#: Reserved by the service, whoever asks.
_RESERVED: Final = ".well-known/acme-challenge/"
_GOOGLE: Final = re.compile(r"https://([a-z0-9-]+\.)*googleapis\.com").fullmatch


def is_google(origin: str) -> bool:
    """Whether an origin is Google's own, reached by TLS: only there go credentials that nobody named for it."""
    return _GOOGLE(origin.lower()) is not None


def bucket_path(bucket: str) -> str:
    """The path of a bucket."""
    return f"{JSON_BASE}/{encode_value(bucket)}"


def object_path(bucket: str, key: str) -> str:
    """The path of an object."""
    return f"{JSON_BASE}/{encode_value(bucket)}/o/{encode_value(key)}"


def upload_path(bucket: str) -> str:
    """The path that new objects are sent to."""
    return f"{UPLOAD_BASE}/{encode_value(bucket)}/o"


def check_written(key: str) -> None:
    """Raise `InvalidKeyError` for a key that the service does not take."""
    if "\r" in key or "\n" in key:
        raise InvalidKeyError("Google Cloud Storage takes no line ends in keys")
    if key in {".", ".."} or key.startswith(_RESERVED):
        raise InvalidKeyError("Google Cloud Storage reserves this key")


def generation_of(version: str) -> str | None:
    """The generation that a version names; None for what can be none."""
    return version if _GENERATION(version) and int(version) <= _LARGEST else None


def generation_value(etag: str) -> str:
    """The generation that a condition names: an ETag that can be no generation becomes one that nobody has."""
    return generation_of(etag) or _NOBODYS


def condition_query(*, if_absent: bool = False, if_match: str | None = None, if_none_match: str | None = None) -> Query:
    """Conditions as query parameters."""
    found: list[tuple[str, str]] = []
    if if_absent:
        found.append(("ifGenerationMatch", "0"))
    if if_match is not None:
        found.append(("ifGenerationMatch", generation_value(if_match)))
    if if_none_match is not None:
        found.append(("ifGenerationNotMatch", generation_value(if_none_match)))
    return found
