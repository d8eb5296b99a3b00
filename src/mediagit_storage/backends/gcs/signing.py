"""Signed links, version 4: "V4 signing process with your own program" of the guides of Cloud Storage. No I/O.

The signature is RSA with SHA-256, made by whoever holds the service account's key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from mediagit_storage.errors import ConfigError
from mediagit_storage.http.call import Fields, Query
from mediagit_storage.http.encoding import encode_path, encode_query, encode_value

__all__ = ["MAX_EXPIRY", "canonical_request", "link_path", "response_query", "signed_query"]

#: How long a link lives at most, in seconds.
MAX_EXPIRY: Final = 7 * 24 * 3600
_ALGORITHM: Final = "GOOG4-RSA-SHA256"
_ANSWERS: Final = {
    "content-type": "response-content-type",
    "content-disposition": "response-content-disposition",
    "content-language": "response-content-language",
    "content-encoding": "response-content-encoding",
    "cache-control": "response-cache-control",
    "expires": "response-expires",
}


def link_path(bucket: str, key: str) -> str:
    """The path of an object in a link: slashes of the key stay."""
    return f"/{encode_value(bucket)}/{encode_path(key)}"


def response_query(response: Mapping[str, str]) -> Query:
    """Query parameters that set fields of the answer. Raises `ConfigError` for one that cannot be set."""
    unknown = sorted(name for name in response if name.lower() not in _ANSWERS)
    if unknown:
        raise ConfigError(f"a link cannot set {unknown[0]!r} of its answer; it can set {', '.join(sorted(_ANSWERS))}")
    return [(_ANSWERS[name.lower()], value) for name, value in response.items()]


def canonical_request(method: str, path: str, query: str, fields: Fields) -> str:
    """What is signed of a request, before it is hashed."""
    ordered = sorted((name.lower(), " ".join(value.split())) for name, value in fields)
    lines = "".join(f"{name}:{value}\n" for name, value in ordered)
    return "\n".join((method, path, query, lines, ";".join(name for name, _ in ordered), "UNSIGNED-PAYLOAD"))


def signed_query(
    method: str,
    path: str,
    query: Query,
    fields: Fields,
    *,
    email: str,
    sign: Callable[[bytes], bytes],
    expires: int,
    now: int,
) -> str:
    """The query of a link: ``fields`` (``host`` among them) have to be sent by who uses it. ``now`` is in seconds."""
    if not 0 < expires <= MAX_EXPIRY:
        raise ConfigError("a link lives for more than no time and at most seven days")
    moment = datetime.fromtimestamp(now, UTC)
    stamp = f"{moment:%Y%m%dT%H%M%SZ}"
    place = f"{moment:%Y%m%d}/auto/storage/goog4_request"
    names = ";".join(sorted(name.lower() for name, _ in fields))
    own = [
        ("X-Goog-Algorithm", _ALGORITHM),
        ("X-Goog-Credential", f"{email}/{place}"),
        ("X-Goog-Date", stamp),
        ("X-Goog-Expires", str(expires)),
        ("X-Goog-SignedHeaders", names),
    ]
    text = encode_query([*query, *own])
    digest = hashlib.sha256(canonical_request(method, path, text, fields).encode()).hexdigest()
    signature = sign("\n".join((_ALGORITHM, stamp, place, digest)).encode()).hex()
    return f"{text}&X-Goog-Signature={signature}"
