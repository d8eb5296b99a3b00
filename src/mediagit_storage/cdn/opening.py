"""`open_cdn`: the CDN that a profile names for its storage, which is not asked, nor opened without need."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mediagit_storage.cdn.delivery import CDN
from mediagit_storage.cdn.plugins import cdn_entry
from mediagit_storage.cdn.provider import Provider
from mediagit_storage.cdn.unopened import UnopenedBackend
from mediagit_storage.clock import SYSTEM_CLOCK, Clock
from mediagit_storage.config import Profile, load_profiles
from mediagit_storage.errors import ConfigError
from mediagit_storage.opening import open_layers, warn_of_literal
from mediagit_storage.options import Origin, build_config, from_environment, given
from mediagit_storage.secrets import Secret
from mediagit_storage.url import profile_part

__all__ = ["open_cdn", "provider_of"]

#: What of the table is not for the provider: who it is, and what is done to objects when they are stored.
_OWN = frozenset({"provider", "rules"})


def open_cdn(name: str, *, environ: Mapping[str, str] | None = None, clock: Clock = SYSTEM_CLOCK) -> CDN:
    """The CDN of a profile: ``open_cdn("media:")``, or with a folder as in `open_storage`. Close it.

    Makes no request. Of the storage only the layers are opened: its credentials are looked up for links that it signs
    itself (``origin``) and for nothing else. Raises `ConfigError` where the profile has no table ``cdn``, or a wrong one.
    """
    found = profile_part(name)
    if found is None:
        raise ConfigError(f"a CDN is named by a profile that has one, not by {name!r}: [NAME.cdn] in the profiles file")
    profiles = load_profiles(environ=environ)
    provider = provider_of(profiles.get(found[0]), profiles.path, environ=environ)
    try:
        store = open_layers(name, UnopenedBackend, environ=environ)
        return CDN(store, provider, owns_store=True, clock=clock)
    except BaseException:
        provider.close()
        raise


def provider_of(profile: Profile, file: Path, *, environ: Mapping[str, str] | None = None) -> Provider:
    """What the table ``cdn`` of a profile, written in ``file``, asks for. Makes no request."""
    line = f", line {profile.line}" if profile.line else ""
    place = f"profile {profile.name!r} in {file}{line}"
    if profile.cdn is None:
        raise ConfigError(f"{place} has no CDN: write a table [{profile.name}.cdn] with provider and base_url")
    try:
        named = str(profile.cdn["provider"])
        entry = cdn_entry(named)
        chosen = given({name: value for name, value in profile.cdn.items() if name not in _OWN}, Origin.PROFILE)
        chosen.update(from_environment(entry.config_type, chosen, environ))
        config = build_config(entry.config_type, chosen, f"the CDN {named!r}", elsewhere=sorted(_OWN))
    except ConfigError as error:
        raise ConfigError(f"{place}: {error.message}") from None
    for name, option in chosen.items():
        if option.origin is Origin.PROFILE and isinstance(getattr(config, name), Secret):
            warn_of_literal(f"cdn.{name}", place, file)
            break
    return entry.factory(config)
