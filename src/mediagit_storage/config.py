"""Profiles: named storages in a TOML file of the user's.

::

    [media]
    url = "s3://media-bucket/projects"
    region = "eu-west-1"
    secret_access_key = { env = "MEDIA_SECRET" }
    [[media.layers]]                                # outermost first
    layer = "readonly"
    [media.cdn]                                     # who delivers it (`mediagit_storage.cdn`)
    provider = "cloudfront"

The file is ``profiles.toml`` in the user's configuration folder, or the one that ``MGS_CONFIG`` names. Reading it
imports no backend: what a profile's options mean is checked when it is opened.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from mediagit_storage.errors import ConfigError
from mediagit_storage.types import JSON
from mediagit_storage.url import SCHEMES

__all__ = [
    "CONFIG_VARIABLE",
    "Profile",
    "Profiles",
    "check_profile_name",
    "load_profiles",
    "parse_profiles",
    "profiles_path",
]

#: The environment variable that names another profiles file.
CONFIG_VARIABLE: Final = "MGS_CONFIG"

#: Far more than anybody writes: a device that never ends is no profiles file.
_LONGEST_FILE: Final = 1024 * 1024

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]+")
#: What of a profile is not an option of its storage.
_OWN: Final = frozenset({"url", "layers", "cdn"})


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile: the URL or path it opens, its options, its layers, outermost first, and the line it starts at.

    ``cdn`` is the table about the CDN in front of it, None without one. ``repr`` shows no option's value: one of them may be a secret.
    """

    name: str
    url: str
    options: Mapping[str, JSON] = field(default_factory=dict, repr=False)
    layers: tuple[Mapping[str, JSON], ...] = field(default=(), repr=False)
    line: int | None = field(default=None, compare=False)
    cdn: Mapping[str, JSON] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Profiles:
    """The profiles of one file. A file that does not exist holds none."""

    path: Path
    by_name: Mapping[str, Profile]

    def get(self, name: str) -> Profile:
        """One profile. An unknown name is a `ConfigError` that lists the known ones."""
        if name not in self.by_name:
            known = ", ".join(sorted(self.by_name)) or "none yet"
            raise ConfigError(
                f"there is no profile {name!r} in {self.path} (known: {known}); for a file of that name write ./{name}:"
            )
        return self.by_name[name]


def profiles_path(environ: Mapping[str, str] | None = None) -> Path:
    """Where the profiles are: ``MGS_CONFIG``, else ``profiles.toml`` in the user's configuration folder."""
    named = (os.environ if environ is None else environ).get(CONFIG_VARIABLE)
    if named:
        return Path(os.path.expanduser(named))  # noqa: PTH111  # Path fails where there is no such user
    # Only asked for where no file was named; importing it costs more than reading the file.
    import platformdirs  # noqa: PLC0415

    return Path(platformdirs.user_config_dir("mediagit-storage", appauthor=False)) / "profiles.toml"


def load_profiles(path: Path | None = None, *, environ: Mapping[str, str] | None = None) -> Profiles:
    """The profiles of the file at ``path``, by default `profiles_path`.

    Raises `ConfigError`, naming the file, the line and the profile, for a file that cannot be read or is not what the
    module says. A file that does not exist is no error, unless ``MGS_CONFIG`` names it.
    """
    named = (os.environ if environ is None else environ).get(CONFIG_VARIABLE)
    place = profiles_path(environ) if path is None else path
    try:
        with place.open("rb") as file:
            raw = file.read(_LONGEST_FILE + 1)
        if len(raw) > _LONGEST_FILE:
            raise ConfigError(f"the profiles file {place} has more than {_LONGEST_FILE:,} bytes")
        text = raw.decode("utf-8")
    except FileNotFoundError:
        if path is None and named:
            raise ConfigError(f"the profiles file {place}, which {CONFIG_VARIABLE} names, does not exist") from None
        text = ""
    except UnicodeDecodeError:
        raise ConfigError(f"the profiles file {place} is not UTF-8") from None
    except OSError as error:
        raise ConfigError(f"the profiles file {place} cannot be read: {error.strerror}") from None
    return Profiles(place, MappingProxyType(parse_profiles(text, place)))


def parse_profiles(text: str, place: Path) -> dict[str, Profile]:
    """The profiles in the text of a file; ``place`` names it in errors."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the profiles file {place} is not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"the profiles file {place} is not TOML: it is nested too deeply") from None
    return {name: _profile(name, table, text, place) for name, table in document.items()}


def check_profile_name(name: str) -> None:
    """Refuse a name that could not be told from a URL, a path or a drive letter."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot be the name of a profile: two or more of A-Z a-z 0-9 _ . - (no . or - in front)"
        )
    if name.lower() in SCHEMES:
        raise ConfigError(f"{name!r} cannot be the name of a profile: it is a URL scheme")


def _profile(name: str, table: object, text: str, place: Path) -> Profile:
    line = _line_of(text, name)
    try:
        check_profile_name(name)
        return _checked_profile(name, table, line)
    except ConfigError as error:
        where = f"{place}, line {line}" if line else str(place)
        raise ConfigError(f"profile {name!r} in {where}: {error.message}") from None


def _checked_profile(name: str, table: object, line: int | None) -> Profile:
    if not isinstance(table, dict):
        raise ConfigError(f"a profile is a table, [{name}]")
    url, layers = table.get("url"), table.get("layers", [])
    if not isinstance(url, str) or not url:
        raise ConfigError("a profile needs url, a text: a storage URL or a path")
    if not isinstance(layers, list) or not all(isinstance(each, dict) for each in layers):
        raise ConfigError(f"layers are written as tables, [[{name}.layers]]")
    for number, each in enumerate(layers, 1):
        if not isinstance(each.get("layer"), str):
            raise ConfigError(f'layer {number} needs layer, a text: layer = "readonly"')
    options = {option: _json(option, value) for option, value in table.items() if option not in _OWN}
    stack = tuple({option: _json(option, value) for option, value in each.items()} for each in layers)
    return Profile(name, url, options, stack, line, _checked_cdn(name, table.get("cdn")))


def _checked_cdn(name: str, table: object) -> Mapping[str, JSON] | None:
    if table is None:
        return None
    if not isinstance(table, dict) or not isinstance(table.get("provider"), str):
        raise ConfigError(f'a CDN is written as a table, [{name}.cdn], with provider, a text: provider = "cloudfront"')
    rules = table.get("rules", [])
    if not isinstance(rules, list) or not all(isinstance(each, dict) for each in rules):
        raise ConfigError(f"rules of a CDN are written as tables, [[{name}.cdn.rules]]")
    return {option: _json(option, value) for option, value in table.items()}


def _line_of(text: str, name: str) -> int | None:
    """The line of a profile's table header, for error messages; None where it is written in another way."""
    header = re.compile(rf"\s*\[\s*[\"']?{re.escape(name)}[\"']?\s*\]")
    return next((number for number, line in enumerate(text.splitlines(), 1) if header.match(line)), None)


def _json(option: str, value: object) -> JSON:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [_json(option, item) for item in value]
    if isinstance(value, dict):
        return {str(key): _json(option, item) for key, item in value.items()}
    raise ConfigError(f"the option {option!r} is a {type(value).__name__}; write it as a text or a number")
