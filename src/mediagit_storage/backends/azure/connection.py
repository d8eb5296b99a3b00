"""Connection strings and SAS tokens of Azure Storage: what they say, checked. Pure functions, no I/O.

No message shows a value, since most of them are secrets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from mediagit_storage.errors import ConfigError
from mediagit_storage.http.encoding import percent_decode
from mediagit_storage.secrets import Secret

__all__ = [
    "EMULATOR_ACCOUNT",
    "EMULATOR_ENDPOINT",
    "EMULATOR_KEY",
    "ConnectionString",
    "SasToken",
    "parse_connection_string",
    "parse_sas",
]

#: The account of every emulator, with the key that Microsoft publishes for it: it protects nothing.
EMULATOR_ACCOUNT: Final = "devstoreaccount1"
EMULATOR_KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
EMULATOR_ENDPOINT: Final = f"http://127.0.0.1:10000/{EMULATOR_ACCOUNT}"

#: Every field that a connection string of Azure Storage may have, in lower case, and as Microsoft writes it.
_FIELDS: Final[Mapping[str, str]] = {
    name.lower(): name
    for name in (
        "DefaultEndpointsProtocol",
        "AccountName",
        "AccountKey",
        "SharedAccessSignature",
        "EndpointSuffix",
        "UseDevelopmentStorage",
        "DevelopmentStorageProxyUri",
        *(
            f"{service}{place}Endpoint"
            for service in ("Blob", "Queue", "Table", "File", "Dfs")
            for place in ("", "Secondary")
        ),
    )
}


class ConnectionString(NamedTuple):
    """What a connection string says about blobs. At most one of ``key`` and ``sas`` is set; neither is anonymous."""

    account: str | None
    key: Secret | None
    sas: Secret | None
    #: The address of the account's blobs, perhaps with a path; None for the provider's own host.
    endpoint: str | None
    suffix: str | None
    protocol: str


def parse_connection_string(text: str) -> ConnectionString:
    """Read ``Name=value;Name=value``; names count without regard to case.

    Raises `ConfigError` for a field that is unknown, given twice, or without a value, for contradictions, and for a
    string that names no place at all.
    """
    fields = _fields(text)
    protocol = fields.get("defaultendpointsprotocol", "https").lower()
    if protocol not in {"http", "https"}:
        raise ConfigError("DefaultEndpointsProtocol of the connection string is http or https")
    if "usedevelopmentstorage" in fields:
        return _development(fields)
    if "developmentstorageproxyuri" in fields:
        raise ConfigError("DevelopmentStorageProxyUri of the connection string belongs to UseDevelopmentStorage=true")
    account, endpoint = fields.get("accountname"), fields.get("blobendpoint")
    if account is None and endpoint is None:
        raise ConfigError("the connection string needs AccountName or BlobEndpoint")
    key, sas = fields.get("accountkey"), fields.get("sharedaccesssignature")
    if key is not None and sas is not None:
        raise ConfigError("the connection string has AccountKey and SharedAccessSignature: keep one of them")
    if key is not None and account is None:
        raise ConfigError("the connection string has AccountKey without AccountName")
    return ConnectionString(
        account,
        None if key is None else Secret(key),
        None if sas is None else Secret(sas),
        endpoint,
        fields.get("endpointsuffix"),
        protocol,
    )


def _fields(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(";"):
        if not part.strip():
            continue
        name, equals, value = part.partition("=")
        name = name.strip()
        known = _FIELDS.get(name.lower())
        # What is not known may be a secret that lost its name.
        if not equals or known is None:
            shown = f" {name!r}" if equals and name.isalnum() and len(name) < 40 else ""
            raise ConfigError(f"the connection string has a field{shown} that Azure Storage does not know")
        if known.lower() in found:
            raise ConfigError(f"the connection string has {known} twice")
        if not value.strip():
            raise ConfigError(f"{known} of the connection string is empty")
        found[known.lower()] = value.strip()
    if not found:
        raise ConfigError("the connection string is empty")
    return found


def _development(fields: Mapping[str, str]) -> ConnectionString:
    if fields["usedevelopmentstorage"].lower() != "true":
        raise ConfigError("UseDevelopmentStorage of the connection string can only be true")
    others = set(fields) - {"usedevelopmentstorage", "developmentstorageproxyuri"}
    if others:
        raise ConfigError(f"UseDevelopmentStorage=true stands alone, without {_FIELDS[min(others)]}")
    proxy = fields.get("developmentstorageproxyuri")
    endpoint = f"{proxy.rstrip('/')}:10000/{EMULATOR_ACCOUNT}" if proxy else EMULATOR_ENDPOINT
    return ConnectionString(EMULATOR_ACCOUNT, Secret(EMULATOR_KEY), None, endpoint, None, "http")


# ---- shared access signatures --------------------------------------------------------------------------------------

_TIMES: Final = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d")
_PARAMETER: Final = re.compile(r"[A-Za-z]{1,8}")


class SasToken(NamedTuple):
    """A shared access signature: ``query`` is what goes into URLs, encoded and without ``?``.

    ``endpoint`` and ``container`` come from the URL that it may have been given as.
    """

    query: Secret
    start: datetime | None = None
    expires: datetime | None = None
    permissions: str = ""
    https_only: bool = False
    endpoint: str | None = None
    container: str | None = None

    def complaint(self, now: datetime) -> str | None:
        """What is wrong with its times at a moment, with what to do; None when they are fine."""
        if self.expires is not None and now >= self.expires:
            return f"the SAS token expired at {self.expires:%Y-%m-%d %H:%M:%S} UTC; ask for a new one"
        if self.start is not None and now < self.start:
            return f"the SAS token is not valid before {self.start:%Y-%m-%d %H:%M:%S} UTC; wait, or ask for another one"
        return None


def parse_sas(text: str) -> SasToken:
    """Read a token (``sv=...&sig=...``, with or without ``?``) or the URL of an account or container that ends with one.

    Raises `ConfigError` for what has no signature, holds a parameter twice, or cannot be put into a URL.
    """
    endpoint = container = None
    query = text.strip()
    if "://" in query:
        endpoint, container, query = _split_url(query)
    query = query.removeprefix("?").strip("&")
    if not query.isascii() or not query.isprintable() or any(mark in query for mark in ' #?"<>\\^`{|}'):
        raise ConfigError("a SAS token is the encoded text that the portal shows, without blanks")
    found: dict[str, str] = {}
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        if not equals or not _PARAMETER.fullmatch(name):
            raise ConfigError("a SAS token is a row of name=value, joined by &, such as sv=...&sp=...&sig=...")
        if name.lower() in found:
            raise ConfigError(f"the SAS token has {name} twice")
        found[name.lower()] = percent_decode(value)
    if not found.get("sig"):
        raise ConfigError("the SAS token has no signature (sig=...)")
    return SasToken(
        Secret(query),
        _time(found.get("st")),
        _time(found.get("se")),
        found.get("sp", ""),
        found.get("spr", "").lower() == "https",
        endpoint,
        container,
    )


def _split_url(url: str) -> tuple[str, str | None, str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError("the URL with the SAS token is not a URL") from None
    segments = [each for each in parts.path.split("/") if each]
    # On hosts that are an address the account comes first.
    own = 1 if _is_address(parts.hostname or "") else 0
    if len(segments) > own + 1:
        raise ConfigError("the SAS URL is one blob's; open the container or the account with its own")
    base = "".join(f"/{each}" for each in segments[:own])
    container = segments[own] if len(segments) > own else None
    return f"{parts.scheme}://{parts.netloc}{base}", container, parts.query


def _is_address(host: str) -> bool:
    return host == "localhost" or re.fullmatch(r"[0-9.]+|.*:.*", host) is not None


def _time(text: str | None) -> datetime | None:
    """A time of a token; None where there is none, or none that this library understands."""
    # Parts of a second come in up to seven digits, and do not matter.
    plain = (text or "").removesuffix("Z").partition(".")[0]
    for form in _TIMES:
        try:
            return datetime.strptime(plain, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None
