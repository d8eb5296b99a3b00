"""How a transport is set up, and what that means for one origin: pure decisions over options and environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

from mediagit_storage.errors import ConfigError

__all__ = ["Route", "TransportOptions", "ca_file_for", "is_loopback", "origin_of", "route_for", "same_origin"]

_MIB: Final = 1024 * 1024
_LOOPBACK: Final = re.compile(r"localhost|[^:]*\.localhost|127(?:\.[0-9]{1,3}){3}|\[(?:::1|0:0:0:0:0:0:0:1)\]")
_ORIGIN: Final = re.compile(r"(https?)://(\[[^\]]*\]|[^:/?]+)(?::([0-9]+))?")


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """Time limits are seconds, None for no limit.

    ``idle_timeout`` bounds the time without a byte either way, ``total_timeout`` one buffered request from start to
    end (streams only know the idle limit). ``proxy`` is a URL, ``"environment"`` (HTTPS_PROXY, http_proxy, NO_PROXY) or
    None for none. ``ca_file`` replaces the CA bundle (else CURL_CA_BUNDLE, SSL_CERT_FILE, certifi's).
    ``verify=False`` accepts any certificate, with a warning. ``max_body`` bounds answers that are held in memory;
    ``allow_http`` permits plain http to hosts other than this machine. ``idle_connections`` is how many connections for
    single requests are kept for the next ones.
    """

    connect_timeout: float = 10.0
    idle_timeout: float | None = 60.0
    total_timeout: float | None = None
    proxy: str | Literal["environment"] | None = "environment"
    ca_file: str | None = None
    verify: bool = True
    allow_http: bool = False
    max_body: int = 1024 * _MIB
    user_agent: str = "mediagit-storage"
    idle_connections: int = 64

    def __post_init__(self) -> None:
        for name in ("connect_timeout", "idle_timeout", "total_timeout"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} is a number of seconds above 0, or None")
        if self.max_body < 0 or self.idle_connections < 0:
            raise ConfigError("max_body and idle_connections are not negative")
        if not re.fullmatch(r"[!-~]+( [!-~]+)*", self.user_agent):
            raise ConfigError("user_agent is printable ASCII")


class Route(NamedTuple):
    """The way to one origin: what libcurl needs to know beyond the request. Empty texts mean "none"."""

    origin: str
    secure: bool
    proxy: str
    no_proxy: str
    ca_file: str


def origin_of(url: str) -> str:
    """Scheme, host and port as the URL spells them: the text before path and query."""
    end = url.find("/", 8)
    return (url if end < 0 else url[:end]).partition("?")[0]


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine by its very spelling (IPv6 in brackets)."""
    return _LOOPBACK.fullmatch(host.lower()) is not None


def same_origin(one: str, other: str) -> bool:
    """Whether two URLs lead to the same scheme, host and port."""
    return _identity(one) == _identity(other)


def route_for(origin: str, options: TransportOptions, environ: Mapping[str, str]) -> Route:
    """The way to ``origin``. Raises `ConfigError` for plain http that is not allowed and a CA file that is not there."""
    scheme, host, _ = _identity(origin)
    secure = scheme == "https"
    if not secure and not options.allow_http and not is_loopback(host):
        raise ConfigError(f"{origin} is not encrypted; use https, or allow_http=True if the network is trusted")
    proxy, no_proxy = _proxy(scheme, options, environ)
    needs_ca = options.verify and (secure or proxy.startswith("https://"))
    return Route(origin, secure, proxy, no_proxy, ca_file_for(options, environ) if needs_ca else "")


def ca_file_for(options: TransportOptions, environ: Mapping[str, str]) -> str:
    """The file of CA certificates to trust. libcurl does not look at these variables by itself."""
    named = [
        ("ca_file", options.ca_file),
        ("CURL_CA_BUNDLE", environ.get("CURL_CA_BUNDLE")),
        ("SSL_CERT_FILE", environ.get("SSL_CERT_FILE")),
    ]
    for name, path in named:
        if path:
            if not Path(path).is_file():
                raise ConfigError(f"{name} names the file {path}, which is not there")
            return path
    # Importing it costs some milliseconds that those without https do not pay.
    import certifi  # noqa: PLC0415

    return certifi.where()


def _identity(url: str) -> tuple[str, str, int]:
    found = _ORIGIN.match(url.lower())
    if found is None:
        raise ConfigError("not an http or https URL")
    scheme, host, port = found.groups()
    return scheme, host, int(port) if port else (443 if scheme == "https" else 80)


def _proxy(scheme: str, options: TransportOptions, environ: Mapping[str, str]) -> tuple[str, str]:
    if options.proxy is None:
        return "", ""
    if options.proxy != "environment":
        return options.proxy, ""
    # HTTP_PROXY in capitals can be set by a web server from a request's "Proxy:" header: only the small one counts.
    names = ("https_proxy", "HTTPS_PROXY") if scheme == "https" else ("http_proxy",)
    found = next((environ[name] for name in (*names, "all_proxy", "ALL_PROXY") if environ.get(name)), "")
    return found, environ.get("no_proxy") or environ.get("NO_PROXY") or "" if found else ""
