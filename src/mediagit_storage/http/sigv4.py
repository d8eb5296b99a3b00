"""AWS Signature Version 4, in the form that S3 and its kin take: one encoding of the path, nothing normalised.

No clock and no socket: the caller says what time it is. What is signed is exactly what is sent, so path and query
come in as they go over the wire (`mediagit_storage.http.encoding`).

Source of the algorithm: "Authenticating Requests (AWS Signature Version 4)" in the Amazon S3 API reference.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from mediagit_storage.errors import ConfigError
from mediagit_storage.http.encoding import encode_query
from mediagit_storage.http.request import Lines, checked_line
from mediagit_storage.secrets import Secret

__all__ = ["EMPTY_SHA256", "MAX_PRESIGN_SECONDS", "UNSIGNED", "Credentials", "Signer"]

#: What stands for the hash of a body that the signature does not cover: TLS or a checksum header protects it.
UNSIGNED: Final = "UNSIGNED-PAYLOAD"

#: The hash of an empty body.
EMPTY_SHA256: Final = hashlib.sha256().hexdigest()

#: The longest life of a signed link, in seconds: seven days.
MAX_PRESIGN_SECONDS: Final = 7 * 24 * 3600

#: Fields that proxies or the transport change on the way: a signature that covered them would break.
_UNSIGNED_FIELDS: Final = frozenset(
    {"accept-encoding", "authorization", "connection", "expect", "transfer-encoding", "user-agent", "x-amzn-trace-id"}
)

#: How many sets of fields are remembered: metadata can have any names, so they must not pile up.
_MOST_KNOWN: Final = 16

_NO_FIELD: Final = ("", "")
#: Stands for a value that comes later; no field can hold it.
_PLACE: Final = "\0"
#: A value that any field can hold.
_PLAIN: Final = "x"

#: A hash of nothing, to be copied: OpenSSL looks for the algorithm whenever one is made.
_EMPTY: Final = hashlib.sha256()
_BLOCK: Final = 64
_INNER_PAD: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD: Final = bytes(byte ^ 0x5C for byte in range(256))


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who signs: an access key with its secret, and the token that belongs to temporary ones."""

    access_key_id: str
    secret_access_key: Secret
    session_token: Secret | None = None

    def __post_init__(self) -> None:
        token = self.session_token
        for name, text in (
            ("access key id", self.access_key_id),
            ("secret access key", self.secret_access_key.reveal()),
            ("session token", "x" if token is None else token.reveal()),
        ):
            if not text or not text.isascii() or not text.isprintable() or text != text.strip():
                raise ConfigError(f"the {name} is empty, or holds blanks or other characters that no key has")


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...
    def hexdigest(self) -> str: ...
    def copy(self) -> _Hash: ...


@dataclass(slots=True)
class _Known:
    """What the signature of requests with one set of fields needs, but for method, path, query and the last value."""

    #: The canonical request from its header fields on: up to the value of the last field given, and behind that.
    before: str
    after: str
    #: Whether that value is covered.
    covers: bool
    #: The field's value up to the signature, and the other fields to add.
    authorization: str
    added: list[tuple[str, str]]
    #: The lines of all fields but the last one given, and how the line of that one begins, once they were asked for.
    lines: Lines | None = None
    opening: str = ""


class _Template(NamedTuple):
    """All of a signature that stays the same for a second."""

    second: int
    date: str
    inner: _Hash
    outer: _Hash
    #: The field's value up to the list of names.
    authorization: str
    #: By payload, the name of the last field, and all fields before it: the last one of a put is its checksum.
    known: dict[tuple[str | tuple[str, str], ...], _Known]


class Signer:
    """Signs requests to one host. Thread-safe; new credentials or another region need a new signer.

    The work that is the same for a whole second is done once in it, and the key is derived once a day, so that a
    plain request costs two or three microseconds.
    """

    def __init__(self, credentials: Credentials, *, region: str, host: str, service: str = "s3") -> None:
        self._credentials = credentials
        self._region = region
        self._host = host
        self._service = service
        token = credentials.session_token
        self._token = None if token is None else token.reveal()
        self._template = self._build(0)

    def __repr__(self) -> str:
        return f"<Signer {self._credentials.access_key_id} {self._region} {self._host}>"

    def sign(
        self,
        method: str,
        path: str,
        query: str = "",
        headers: Sequence[tuple[str, str]] = (),
        *,
        payload: str = UNSIGNED,
        now: int,
    ) -> list[tuple[str, str]]:
        """The header fields to add so that the request is signed. ``now`` is in seconds since the Unix epoch.

        ``path`` and ``query`` are encoded (`encode_path`, `encode_query`) and sent as they are here. ``headers`` are
        the other fields that will be sent, each name once: all are covered but those that proxies change. ``payload``
        is the hex SHA-256 of the body, or `UNSIGNED`.
        """
        known, signature = self._signed(f"{method}\n{path}\n{query}\n", headers, payload, now)
        return [*known.added, ("Authorization", known.authorization + signature)]

    def lines(
        self,
        method: str,
        path: str,
        query: str = "",
        headers: Sequence[tuple[str, str]] = (),
        *,
        payload: str = UNSIGNED,
        now: int,
    ) -> Lines:
        """All fields of the signed request, ``headers`` among them, ready to be sent; else like `sign`.

        Of requests that differ by their last field only, that is all that has to be spelled and checked again.
        """
        known, signature = self._signed(f"{method}\n{path}\n{query}\n", headers, payload, now)
        if known.lines is None:
            # In this order: other threads take the lines for a sign that both are there.
            known.opening = checked_line(headers[-1][0], _PLAIN).removesuffix(_PLAIN) if headers else ""
            known.lines = Lines.of([*headers[:-1], *known.added])
        signed = f"Authorization: {known.authorization}{signature}"
        if not headers:
            return Lines((*known.lines, signed))
        name, value = headers[-1]
        # The name was looked at with the first of these requests; a digest, unlike other values, has no blanks.
        plain = value and value.isascii() and value.isprintable() and " " not in value
        return Lines((*known.lines, known.opening + value if plain else checked_line(name, value), signed))

    def presign(
        self,
        method: str,
        path: str,
        query: Iterable[tuple[str, str]] = (),
        headers: Sequence[tuple[str, str]] = (),
        *,
        expires: int,
        now: int,
    ) -> str:
        """The whole encoded query of a link that does one thing for ``expires`` seconds, at most seven days.

        ``query`` comes unencoded. Whoever uses the link has to send ``headers`` as they are here. The body is not
        covered. Raises `ConfigError` for a life out of range.
        """
        if not 1 <= expires <= MAX_PRESIGN_SECONDS:
            raise ConfigError(f"a signed link lives 1 to {MAX_PRESIGN_SECONDS:,} seconds (seven days), not {expires:,}")
        date, scope = self._date_and_scope(now)
        fields, names = _canonical([*headers, ("host", self._host)])
        pairs = [
            *query,
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", f"{self._credentials.access_key_id}/{scope}"),
            ("X-Amz-Date", date),
            ("X-Amz-Expires", str(expires)),
            ("X-Amz-SignedHeaders", names),
        ]
        if self._token is not None:
            pairs.append(("X-Amz-Security-Token", self._token))
        signed = encode_query(pairs)
        canonical = f"{method}\n{path}\n{signed}\n{fields}\n{names}\n{UNSIGNED}"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}"
        signature = hmac.digest(self._key(date[:8]), text.encode(), "sha256").hex()
        return f"{signed}&X-Amz-Signature={signature}"

    # ---- the parts

    def _signed(self, first: str, headers: Sequence[tuple[str, str]], payload: str, now: int) -> tuple[_Known, str]:
        """What requests with these fields have in common, and the signature of the one that begins with ``first``."""
        template = self._template
        if template.second != now:
            self._template = template = self._build(now)
        name, value = headers[-1] if headers else _NO_FIELD
        known = template.known.get((payload, name, *headers[:-1]))
        if known is None:
            known = self._prepare(template, headers[:-1], name, payload)
        covered = " ".join(value.split()) if known.covers else ""
        text = f"{first}{known.before}{covered}{known.after}"
        digest, inner = _EMPTY.copy(), template.inner.copy()
        digest.update(text.encode())
        inner.update(digest.hexdigest().encode())
        outer = template.outer.copy()
        outer.update(inner.digest())
        return known, outer.hexdigest()

    def _prepare(self, template: _Template, headers: Sequence[tuple[str, str]], last: str, payload: str) -> _Known:
        """All but the value of the field ``last``, which changes the most."""
        added = [("x-amz-content-sha256", payload), ("x-amz-date", template.date)]
        if self._token is not None:
            added.append(("x-amz-security-token", self._token))
        changing = [(last, _PLACE)] if last else []
        fields, names = _canonical([*headers, *changing, *added, ("host", self._host)])
        before, place, after = fields.partition(_PLACE)
        authorization = f"{template.authorization}{names}, Signature="
        known = _Known(before, f"{after}\n{names}\n{payload}", place == _PLACE, authorization, added)
        if len(template.known) >= _MOST_KNOWN:
            template.known.clear()
        template.known[(payload, last, *headers)] = known
        return known

    def _date_and_scope(self, now: int) -> tuple[str, str]:
        date = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
        return date, f"{date[:8]}/{self._region}/{self._service}/aws4_request"

    def _build(self, now: int) -> _Template:
        date, scope = self._date_and_scope(now)
        inner, outer = _keyed_states(self._key(date[:8]))
        inner.update(f"AWS4-HMAC-SHA256\n{date}\n{scope}\n".encode())
        authorization = f"AWS4-HMAC-SHA256 Credential={self._credentials.access_key_id}/{scope}, SignedHeaders="
        return _Template(now, date, inner, outer, authorization, {})

    def _key(self, day: str) -> bytes:
        key = f"AWS4{self._credentials.secret_access_key.reveal()}".encode()
        for part in (day, self._region, self._service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        return key


def _canonical(headers: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """The canonical header lines, with the empty line that ends them, and the list of their names."""
    lowered = sorted((name.lower(), " ".join(value.split())) for name, value in headers)
    signed = [(name, value) for name, value in lowered if name not in _UNSIGNED_FIELDS]
    return "".join(f"{name}:{value}\n" for name, value in signed), ";".join(name for name, _ in signed)


def _keyed_states(key: bytes) -> tuple[_Hash, _Hash]:
    """The two SHA-256 states of an HMAC that have taken in the key (32 bytes, RFC 2104)."""
    padded = key.ljust(_BLOCK, b"\0")
    return hashlib.sha256(padded.translate(_INNER_PAD)), hashlib.sha256(padded.translate(_OUTER_PAD))
