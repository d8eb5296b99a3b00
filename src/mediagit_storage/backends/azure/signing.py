"""Signatures of Azure Storage: Shared Key for requests, and shared access signatures (SAS) for links. Pure functions.

Sources: "Authorize with Shared Key", "Create a service SAS" and "Create a user delegation SAS" of Microsoft's REST
reference for Azure Storage, each for the service version `VERSION`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from mediagit_storage.errors import ConfigError
from mediagit_storage.http.encoding import encode_value, percent_decode
from mediagit_storage.secrets import Secret

__all__ = [
    "VERSION",
    "DelegationKey",
    "Grant",
    "KeySigner",
    "account_key",
    "format_time",
    "service_sas",
    "string_to_sign",
    "user_delegation_sas",
]

#: The service version that requests and links are made for. Signatures and answers change with it, so it is pinned.
VERSION: Final = "2024-08-04"

#: The standard fields that are signed, in this order, after the method.
_STANDARD: Final = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)
_NOTHING_STANDARD: Final = "\n" * len(_STANDARD)
_INDEX: Final = {name: place for place, name in enumerate(_STANDARD)}
#: The service sorts by its own collation, where ``_`` comes before digits and letters.
_COLLATION: Final = str.maketrans({"_": "!"})


class DelegationKey(NamedTuple):
    """What Get User Delegation Key answers: a key that signs links in the name of a user, until ``expires``."""

    object_id: str
    tenant_id: str
    start: str
    expires: str
    service: str
    version: str
    value: Secret


class Grant(NamedTuple):
    """What a link allows: ``permissions`` in the documented order (``racwd``), between two times, one blob or container.

    ``key`` None is the container itself. ``response`` holds the parameters that override fields of answers
    (``rscc``, ``rscd``, ``rsce``, ``rscl``, ``rsct``).
    """

    permissions: str
    expires: datetime
    account: str
    container: str
    key: str | None
    https_only: bool
    scope: str | None = None
    start: datetime | None = None
    response: Mapping[str, str] = {}


def account_key(text: str) -> bytes:
    """The bytes of an account key. Raises `ConfigError`, without the key, for what is no Base64."""
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ConfigError("an account key is the Base64 text that the portal shows under 'Access keys'")
    return key


def string_to_sign(
    account: str, method: str, path: str, query: str, fields: Iterable[tuple[str, str]], *, length: int | None
) -> str:
    """What the Shared Key signature covers. ``path`` and ``query`` are encoded, names of ``fields`` in lower case.

    ``length`` is that of the body; None and 0 count as empty.
    """
    standard: list[str] | None = None
    special: list[tuple[str, str]] = []
    for name, value in fields:
        if name.startswith("x-ms-"):
            special.append((name, value))
        elif name in _INDEX:
            if standard is None:
                standard = [""] * len(_STANDARD)
            standard[_INDEX[name]] = value
    if length:
        if standard is None:
            standard = [""] * len(_STANDARD)
        standard[_INDEX["content-length"]] = str(length)
    special.sort(key=_collated)
    head = _NOTHING_STANDARD if standard is None else "\n".join(standard) + "\n"
    named = "".join([f"{name}:{value}\n" for name, value in special])
    return f"{method}\n{head}{named}/{account}{path}{_canonical_query(query) if query else ''}"


def _collated(field: tuple[str, str]) -> str:
    return field[0].translate(_COLLATION)


def _canonical_query(query: str) -> str:
    values: dict[str, list[str]] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        values.setdefault(percent_decode(name).lower(), []).append(percent_decode(value))
    return "".join([f"\n{name}:{','.join(sorted(found))}" for name, found in sorted(values.items())])


class KeySigner:
    """Signs with one account key. Thread-safe; the key's hash state is made once."""

    def __init__(self, account: str, key: Secret) -> None:
        self.account = account
        self.key = key
        self._state = hmac.new(account_key(key.reveal()), digestmod=hashlib.sha256)
        self._lead = f"SharedKey {account}:"

    def digest(self, text: str) -> str:
        """The Base64 of the text's HMAC-SHA256."""
        state = self._state.copy()
        state.update(text.encode("utf-8", "surrogateescape"))
        return base64.b64encode(state.digest()).decode("ascii")

    def authorization(
        self, method: str, path: str, query: str, fields: Sequence[tuple[str, str]], *, length: int | None
    ) -> str:
        """The value of ``Authorization`` for a request."""
        return self._lead + self.digest(string_to_sign(self.account, method, path, query, fields, length=length))

    def __repr__(self) -> str:
        return f"<KeySigner {self.account}>"


# ---- links ---------------------------------------------------------------------------------------------------------

_RESPONSE: Final = ("rscc", "rscd", "rsce", "rscl", "rsct")


def format_time(moment: datetime) -> str:
    """An aware time as links carry it: ``2026-11-21T08:49:37Z``, rounded down to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def service_sas(grant: Grant, digest: Callable[[str], str]) -> str:
    """The query of a link signed with an account key (`KeySigner.digest`)."""
    common = _common(grant)
    text = "\n".join(
        [
            grant.permissions,
            common.get("st", ""),
            common["se"],
            _resource(grant),
            "",  # no stored access policy
            *_tail(common),
            *[grant.response.get(name, "") for name in _RESPONSE],
        ]
    )
    return _query({**common, **grant.response, "sig": digest(text)})


def user_delegation_sas(grant: Grant, key: DelegationKey) -> str:
    """The query of a link signed with a user delegation key: it works as long as the key and the user's roles do."""
    common = _common(grant)
    signer = {
        "skoid": key.object_id,
        "sktid": key.tenant_id,
        "skt": key.start,
        "ske": key.expires,
        "sks": key.service,
        "skv": key.version,
    }
    text = "\n".join(
        [
            grant.permissions,
            common.get("st", ""),
            common["se"],
            _resource(grant),
            *signer.values(),
            "",  # preauthorized agent
            "",  # agent
            "",  # correlation id
            *_tail(common),
            *[grant.response.get(name, "") for name in _RESPONSE],
        ]
    )
    raw = hmac.new(account_key(key.value.reveal()), text.encode("utf-8", "surrogateescape"), hashlib.sha256).digest()
    signature = base64.b64encode(raw).decode("ascii")
    return _query({**common, **signer, **grant.response, "sig": signature})


def _common(grant: Grant) -> dict[str, str]:
    return {
        "sv": VERSION,
        **({} if grant.start is None else {"st": format_time(grant.start)}),
        "se": format_time(grant.expires),
        "sr": "c" if grant.key is None else "b",
        "sp": grant.permissions,
        **({"spr": "https"} if grant.https_only else {}),
        **({} if grant.scope is None else {"ses": grant.scope}),
    }


def _resource(grant: Grant) -> str:
    place = f"/blob/{grant.account}/{grant.container}"
    return place if grant.key is None else f"{place}/{grant.key}"


def _tail(common: Mapping[str, str]) -> list[str]:
    # Between the key and the overrides: addresses, protocol, version, resource, snapshot time, encryption scope.
    return ["", common.get("spr", ""), common["sv"], common["sr"], "", common.get("ses", "")]


def _query(parameters: Mapping[str, str]) -> str:
    return "&".join(f"{name}={encode_value(value)}" for name, value in parameters.items())
