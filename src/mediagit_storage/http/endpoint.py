"""The servers that options name: their URLs completed and checked. Pure functions."""

from __future__ import annotations

import ipaddress
import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from mediagit_storage.errors import ConfigError

__all__ = ["Endpoint", "endpoint_url", "is_label", "is_loopback", "parse_endpoint"]

_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?").fullmatch
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9._-]{0,252}[a-z0-9])?\.?").fullmatch
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


class Endpoint(NamedTuple):
    """A server. ``host`` is as the Host field carries it (lower case, a port only where it is not the default);
    ``base`` is the path that all others begin with, empty or ``/some/path``.
    """

    scheme: str
    host: str
    base: str

    @property
    def origin(self) -> str:
        """Scheme and host."""
        return f"{self.scheme}://{self.host}"


def endpoint_url(endpoint: str, *, allow_http: bool = False) -> str:
    """An endpoint with its scheme: http for this machine and where it is allowed, https for everything else."""
    if "://" in endpoint:
        return endpoint.rstrip("/")
    host = endpoint.rpartition(":")[0] if endpoint.rpartition(":")[2].isdigit() else endpoint
    plain = allow_http or is_loopback(host or endpoint)
    return f"{'http' if plain else 'https'}://{endpoint}".rstrip("/")


def parse_endpoint(endpoint: str, *, allow_http: bool = False) -> Endpoint:
    """The parts of a URL with a scheme. `ConfigError` for what is malformed, and for plain http to another machine."""
    # `urlsplit` would take line ends out and go on.
    if not endpoint.isascii() or not endpoint.isprintable() or " " in endpoint:
        raise ConfigError("an endpoint is a URL of printable ASCII without blanks")
    try:
        parts = urlsplit(endpoint)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise ConfigError("the endpoint is not a URL like https://host:port") from None
    if parts.scheme not in _DEFAULT_PORTS or not host:
        raise ConfigError("the endpoint is not a URL like https://host:port")
    if parts.username is not None or parts.password is not None:
        raise ConfigError("an endpoint carries no credentials; give them by themselves")
    if parts.query or parts.fragment or "?" in endpoint or "#" in endpoint:
        raise ConfigError("an endpoint has no query and no fragment")
    if ":" in host:
        host = f"[{_checked_ip(host)}]"
    elif not _HOST(host):
        raise ConfigError(f"{host!r} is not the name of a host")
    if parts.scheme == "http" and not allow_http and not is_loopback(host):
        raise ConfigError(f"plain http to {host} would show everything to the network; use https, or allow_http")
    base = parts.path.rstrip("/")
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", base) or "/../" in f"{base}/":
        raise ConfigError(f"the path {parts.path!r} cannot be part of an endpoint")
    shown = host if port in {None, _DEFAULT_PORTS[parts.scheme]} else f"{host}:{port}"
    return Endpoint(parts.scheme, shown, base)


def is_loopback(host: str) -> bool:
    """Whether a host (without its port) is this machine by its very name."""
    if host in {"localhost", "localhost."} or host.endswith((".localhost", ".localhost.")):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_label(name: str) -> bool:
    """Whether a region or an account can stand in the name of a host: letters, digits and inner hyphens."""
    return _LABEL(name) is not None


def _checked_ip(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise ConfigError(f"{text!r} is not an address") from None
