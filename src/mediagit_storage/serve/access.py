"""Who may do what. Pure functions over the head of a request."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, cast

from mediagit_storage.secrets import Secret
from mediagit_storage.serve.settings import ServeSettings

__all__ = [
    "CHALLENGE",
    "Gate",
    "embedding",
    "holds_token",
    "host_allowed",
    "is_foreign",
    "may_list",
    "may_read",
    "may_write",
]

#: What a refused client is told that it could send.
CHALLENGE: Final = 'Bearer realm="mgs", Basic realm="mgs"'
_OWN_SITE: Final = frozenset({"same-origin", "none"})


class Gate(NamedTuple):
    """The headers of a request that decide who is let in; an empty text for one that is not there."""

    authorization: str = ""
    host: str = ""
    origin: str = ""
    fetch_site: str = ""

    @classmethod
    def of(cls, scope: Mapping[str, object]) -> Gate:
        """From a scope of ASGI."""
        found = dict(cast("Iterable[tuple[bytes, bytes]]", scope["headers"]))
        return cls(
            found.get(b"authorization", b"").decode("latin-1"),
            found.get(b"host", b"").decode("latin-1"),
            found.get(b"origin", b"").decode("latin-1"),
            found.get(b"sec-fetch-site", b"").decode("latin-1"),
        )


def holds_token(token: Secret | None, gate: Gate) -> bool:
    """Whether the client has shown the token. Takes the same time for every wrong one of the same length."""
    scheme, _, value = gate.authorization.partition(" ")
    if token is None or not value:
        return False
    given = value.strip().encode("latin-1") if scheme.lower() == "bearer" else _password(scheme, value)
    return given is not None and hmac.compare_digest(given, token.reveal().encode())


def may_read(settings: ServeSettings, gate: Gate) -> bool:
    """Whether objects may be read without a signed link."""
    return settings.reads == "open" or holds_token(settings.token, gate)


def may_list(settings: ServeSettings, gate: Gate) -> bool:
    """Whether keys may be listed, and health and metrics be looked at."""
    return (settings.reads == "open" and settings.listing) or holds_token(settings.token, gate)


def may_write(settings: ServeSettings, gate: Gate) -> bool:
    """Whether objects may be put and deleted.

    A browser adds a password that it knows to what other sites send as well: what comes from there is refused.
    """
    return settings.writable and holds_token(settings.token, gate) and not is_foreign(settings, gate)


def is_foreign(settings: ServeSettings, gate: Gate) -> bool:
    """Whether a browser says that a page of another site, which is not among ``cors``, has made this request."""
    if gate.origin and gate.origin in settings.cors:
        return False
    if gate.fetch_site:
        # What no script can set, and right also where a proxy calls the gateway by another name.
        return gate.fetch_site.lower() not in _OWN_SITE
    return bool(gate.origin) and gate.origin.lower().partition("://")[2] != gate.host.lower()


def embedding(settings: ServeSettings, *, linked: bool) -> tuple[bytes, bytes]:
    """The header that says whose pages may show an object, or run it, without being able to read it.

    A picture tells a page of its size, and a script of what is in it, and a browser asks for them with the password that it
    knows. All may that have a link, or where all are meant to read; else those of this gateway, and where reads are open
    also others of this machine or domain.
    """
    freely = settings.reads == "open"
    everybody = linked or (freely and (settings.public or "*" in settings.cors))
    whose = b"cross-origin" if everybody else b"same-site" if freely else b"same-origin"
    return b"cross-origin-resource-policy", whose


def host_allowed(settings: ServeSettings, host: str) -> bool:
    """Whether the gateway may be called by this name: a page that lets its own name lead here is not answered."""
    if settings.hosts is None:
        return True
    name = host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]
    return name.lower().rstrip(".") in settings.hosts


def _password(scheme: str, value: str) -> bytes | None:
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return None
