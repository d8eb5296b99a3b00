"""A token scheme of this library's own, for servers that check links themselves: HMAC-SHA256 over path, times and address.

A signed URL is the plain one with these query parameters, in this order, those that do not apply left out::

    expires=SECONDS    until when it works, in seconds since the Unix epoch
    starts=SECONDS     from when on
    client=NETWORK     for whom: 192.0.2.0/24, 2001:db8::/32
    scope=PATH         it holds for every path that begins with this (an encoded path, encoded once more as a value)
    token=TOKEN        base64url without padding of the HMAC-SHA256, with the shared key, of the message

The message is UTF-8 text of five lines joined by LF, without one at the end: ``mgs-1``, then ``path:`` and the encoded
path of the URL or ``scope:`` and the scope, then expires, starts and client as they stand in the URL, empty where they
are left out. Scheme and host are not part of it: use another key for each site.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from mediagit_storage.cdn.config import CDNConfig
from mediagit_storage.cdn.provider import Grant, Provider
from mediagit_storage.errors import ConfigError, InvalidKeyError
from mediagit_storage.http.encoding import encode_value, percent_decode
from mediagit_storage.secrets import Secret, SecretValue, resolve_secret

__all__ = ["TokenCDN", "TokenConfig", "token_query", "verify_token"]

_VERSION: Final = "mgs-1"
_SHORTEST_KEY: Final = 16
_NAMES: Final = ("expires", "starts", "client", "scope", "token")
_SECONDS: Final = re.compile(r"0|[1-9][0-9]{0,14}").fullmatch
_VISIBLE: Final = re.compile(r"[!-~]*").fullmatch
#: A segment that servers fold, however it is spelled; some take what follows a ``;`` for parameters of the segment.
_FOLDED: Final = re.compile(r"(?:^|/|%2f|\\|%5c)(?:\.|%2e){1,2}(?:$|/|;|%2f|\\|%5c)", re.IGNORECASE).search


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenConfig(CDNConfig):
    """The options of `TokenCDN`: those of `CDNConfig`, and ``key``, a text of 16 bytes or more that the server knows, too."""

    key: SecretValue


class TokenCDN(Provider):
    """A server that checks links with `verify_token`, or with the same few lines in its own language."""

    name = "token"

    def __init__(self, config: TokenConfig) -> None:
        self._config = config
        self._shown = config.shown_at()
        self.base = self._shown
        self.max_expires = config.max_expires

    def sign(self, path: str, grant: Grant) -> str:
        """The URL with its token."""
        return f"{self._shown.url(path)}?{token_query(self._key(), _checked(path), grant)}"

    def sign_within(self, path: str, prefix: str, grant: Grant) -> str:
        """The URL with a token for all that begin with the prefix."""
        return f"{self._shown.url(path)}?{token_query(self._key(), _checked(path), grant, scope=prefix)}"

    def _key(self) -> Secret:
        key = resolve_secret(self._config.key)
        if len(key.reveal().encode()) < _SHORTEST_KEY:
            raise ConfigError(f"key has {_SHORTEST_KEY} bytes or more: make one with `openssl rand -base64 32`")
        return key


def _checked(path: str) -> str:
    if _FOLDED(path):
        # Only one between backslashes is left: `Base` refuses those between slashes.
        raise InvalidKeyError(
            "a key with the segment '.' or '..' between backslashes gets no link: some servers fold it"
        )
    return path


def token_query(key: Secret, path: str, grant: Grant, *, scope: str | None = None) -> str:
    """The query that allows an encoded ``path``, or every path that begins with ``scope``."""
    values = {
        "expires": str(grant.ends),
        "starts": "" if grant.starts is None else str(grant.starts),
        "client": "" if grant.client is None else str(grant.client),
        "scope": scope or "",
    }
    values["token"] = _token(key, path, values)
    return "&".join(f"{name}={encode_value(values[name])}" for name in _NAMES if values[name])


def verify_token(key: Secret, target: str, *, now: int, client: str | None = None) -> bool:
    """Whether ``target``, the path and query of a request exactly as they came in, is allowed by its token.

    ``now`` is in seconds since the Unix epoch, ``client`` the address of who asks (a link that is bound to addresses is
    refused without it). False for anything that `token_query` does not make: parameters that are missing, repeated,
    unknown, or in another order, and paths with ``.`` or ``..`` as a segment, in any spelling. Compares in constant time.
    """
    path, _, query = target.partition("?")
    values = _values(query) if target.isascii() else None
    if values is None or _FOLDED(path):
        return False
    expected = _token(key, path, values)
    if not hmac.compare_digest(expected.encode(), values["token"].encode("utf-8", "surrogateescape")):
        return False
    in_time = now < int(values["expires"]) and (not values["starts"] or now >= int(values["starts"]))
    return in_time and path.startswith(values["scope"]) and _is_within(client, values["client"])


def _values(query: str) -> Mapping[str, str] | None:
    """The parameters, empty where they are left out; None for a query that was not made here."""
    values = dict.fromkeys(_NAMES, "")
    last = -1
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        place = _NAMES.index(name) if name in _NAMES else -1
        if not equals or not value or place <= last:
            return None
        last, values[name] = place, percent_decode(value)
    times = values["expires"], values["starts"] or "0"
    well_formed = all(_SECONDS(each) for each in times) and all(_VISIBLE(each) for each in values.values())
    return values if well_formed and values["token"] else None


def _token(key: Secret, path: str, values: Mapping[str, str]) -> str:
    what = f"scope:{values['scope']}" if values["scope"] else f"path:{path}"
    message = "\n".join((_VERSION, what, values["expires"], values["starts"], values["client"]))
    mac = hmac.digest(key.reveal().encode(), message.encode("utf-8", "surrogateescape"), "sha256")
    return base64.urlsafe_b64encode(mac).decode("ascii").rstrip("=")


def _is_within(client: str | None, network: str) -> bool:
    if not network:
        return True
    if client is None:
        return False
    try:
        address = ip_address(client)
        # How a socket for both kinds tells of an IPv4 address: ::ffff:192.0.2.7.
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return (mapped or address) in ip_network(network)
    except ValueError:
        return False
