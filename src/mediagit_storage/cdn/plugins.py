"""Which CDNs there are. Others join by `register_cdn`, or by an entry point of the group ``mediagit_storage.cdns``: its
name is the provider's, its object a function without parameters that registers it. None is imported before it is named.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar, cast

from mediagit_storage.cdn.config import OriginConfig
from mediagit_storage.cdn.provider import Provider
from mediagit_storage.registry import Registry, resolve

__all__ = ["CDN_GROUP", "CDNEntry", "cdn_entry", "cdn_types", "register_cdn"]

#: The entry-point group of plug-ins.
CDN_GROUP: Final = "mediagit_storage.cdns"

C = TypeVar("C", bound=OriginConfig)


class CDNEntry(NamedTuple):
    """A registered CDN: ``factory`` makes its provider out of an instance of ``config_type``."""

    factory: Callable[[OriginConfig], Provider]
    config_type: type[OriginConfig]


def _built_in(module: str, provider: str, config: str) -> Callable[[], CDNEntry]:
    def entry() -> CDNEntry:
        place = f"mediagit_storage.cdn.{module}"
        return CDNEntry(
            cast("Callable[[OriginConfig], Provider]", resolve(f"{place}:{provider}")),
            cast("type[OriginConfig]", resolve(f"{place}:{config}")),
        )

    return entry


_cdns: Final = Registry[CDNEntry](
    "CDN",
    CDN_GROUP,
    {
        "cloudflare": _built_in("cloudflare", "Cloudflare", "CloudflareConfig"),
        "cloudfront": _built_in("cloudfront", "CloudFront", "CloudFrontConfig"),
        "fastly": _built_in("fastly", "Fastly", "FastlyConfig"),
        "google": _built_in("google", "GoogleCDN", "GoogleCDNConfig"),
        "nginx": _built_in("nginx", "NginxCDN", "NginxConfig"),
        "origin": _built_in("origin", "Origin", "OriginConfig"),
        "token": _built_in("tokens", "TokenCDN", "TokenConfig"),
    },
)


def register_cdn(name: str, factory: Callable[[C], Provider], config_type: type[C]) -> None:
    """Make a CDN known to profiles. ``factory`` makes its provider with an instance of ``config_type``, a frozen dataclass
    made from `OriginConfig` or `CDNConfig` (see `settings` for what it may carry). A name that another one has is a
    `ConfigError`; the same registration again does nothing.
    """
    _cdns.add(name, CDNEntry(cast("Callable[[OriginConfig], Provider]", factory), config_type))


def cdn_types() -> tuple[str, ...]:
    """The CDNs that a profile can name, those of plug-ins included, sorted. Imports none of them."""
    return _cdns.names()


def cdn_entry(name: str) -> CDNEntry:
    """What is registered under a name. An unknown one is a `ConfigError` that lists the known ones."""
    return _cdns.find(name)
