"""What a backend or layer says about its own options: how they come from a URL, and how they are exported.

A configuration is a frozen dataclass whose fields are JSON-like (text, numbers, booleans, lists, mappings) or secrets
(`SecretValue`). It may carry two class variables for `open_storage`:

- ``ENVIRONMENT: ClassVar[Mapping[str, str]]``, option to environment variable, asked for options that nobody gave;
- ``HOST_OPTION: ClassVar[str]``, the option that names the server: secrets of the environment are withheld when
  that server was named by nothing but a URL, so that a link from elsewhere cannot send them to its own host.
  ``HOST_OPTIONS`` names several; ``same_host(one, other)``, a static method, tells if two spellings name one server.
- ``ENVIRONMENT_YIELDS: ClassVar[Mapping[str, tuple[str, ...]]]``, option to other options: it is not taken from the
  environment where one of those was given, or was taken from the environment before it.
- ``CREDENTIAL_OPTIONS: ClassVar[Sequence[str]]``, options that are no secrets themselves and lead to them (the path of
  a file of credentials): withheld like secrets.

The configuration of a built-in layer may carry ``STORAGES: ClassVar[Sequence[str]]``, the names of options that are no
fields: each names another storage, or several in a list, by a URL, a path, a profile (``"backup:"``) or the JSON of its
connection info. `open_storage` opens them and hands them to the layer's factory (`registry.JoiningEntry`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from enum import Enum
from typing import TypeAlias, TypeVar, get_args, get_type_hints

from mediagit_storage.errors import ConfigError
from mediagit_storage.secrets import REDACTED, Secret, SecretRef, SecretValue
from mediagit_storage.types import JSON

__all__ = [
    "StorageURL",
    "UrlConfig",
    "as_secret",
    "bucket_url",
    "config_from_env",
    "environment_values",
    "export_config",
    "is_secret",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StorageURL:
    """A parsed storage URL. ``path`` is decoded and keeps its leading ``/``; ``query`` holds the options as text.

    ``repr`` leaves the values of the options out: somebody may have put a secret there, which is refused later.
    """

    scheme: str
    host: str = ""
    port: int | None = None
    path: str = ""
    query: Mapping[str, str] = field(default_factory=dict, repr=False)


#: Turns a URL into options and the prefix of keys that follows them in the path (which ends the path, verbatim).
UrlConfig: TypeAlias = Callable[[StorageURL], tuple[dict[str, JSON], str]]


def bucket_url(option: str) -> UrlConfig:
    """The mapping of ``scheme://NAME/prefix``: the host is ``option``, and the path after its first ``/`` the prefix."""

    def convert(url: StorageURL) -> tuple[dict[str, JSON], str]:
        return {option: url.host} if url.host else {}, url.path.removeprefix("/")

    return convert


def is_secret(hint: object) -> bool:
    """Whether a type is that of an option that holds a secret, or perhaps none."""
    return hint is Secret or Secret in get_args(hint)


def as_secret(value: str | SecretValue | None) -> SecretValue | None:
    """A secret that a constructor takes as plain text, too."""
    return Secret(value) if isinstance(value, str) else value


def environment_values(config_type: type, environ: Mapping[str, str] | None) -> dict[str, str | SecretValue]:
    """What the variables of ``config_type.ENVIRONMENT`` say, empty ones left out; None means this process's own.

    A secret of the process's environment stays a reference to its variable.
    """
    source = os.environ if environ is None else environ
    hints = get_type_hints(config_type)
    variables: Mapping[str, str] = getattr(config_type, "ENVIRONMENT", {})
    found: dict[str, str | SecretValue] = {}
    for name, variable in variables.items():
        text = source.get(variable)
        if text and is_secret(hints[name]):
            found[name] = SecretRef(env=variable) if source is os.environ else Secret(text)
        elif text:
            found[name] = text
    return found


def config_from_env(config_type: type[T], environ: Mapping[str, str] | None, place: str, named: str | None) -> T:
    """The configuration that the environment gives. ``place`` is the option that has to be known ("bucket"), ``named``
    its value where the caller says it. Raises `ConfigError` where nobody does.
    """
    found: dict[str, object] = {**environment_values(config_type, environ)}
    if named:
        found[place] = named
    if place not in found:
        variable = getattr(config_type, "ENVIRONMENT", {}).get(place)
        raise ConfigError(f"name the {place}" + (f", or set {variable}" if variable else ""))
    return config_type(**found)


def export_config(config: object) -> dict[str, JSON]:
    """The options that differ from their defaults, as JSON, without secrets.

    A secret that is a reference stays one (``{"env": ...}`` or ``{"file": ...}``). A literal one becomes ``"***"``:
    opening again then says which secret has to be given anew.
    """
    return {
        each.name: _to_json(each.name, getattr(config, each.name)) for each in _fields(config) if _differs(config, each)
    }


def _fields(config: object) -> list[Field[object]]:
    if not is_dataclass(config) or isinstance(config, type):
        raise TypeError(f"a configuration is an instance of a dataclass, not {type(config).__name__}")
    return [each for each in fields(config) if each.init]


def _differs(config: object, each: Field[object]) -> bool:
    value = getattr(config, each.name)
    if each.default is not MISSING:
        return bool(value != each.default)
    if each.default_factory is not MISSING:
        return bool(value != each.default_factory())
    return True


def _to_json(name: str, value: object) -> JSON:
    plain: object = value.value if isinstance(value, Enum) else value
    if plain is None or isinstance(plain, bool | int | float | str):
        return plain
    if isinstance(plain, Secret | SecretRef):
        return REDACTED if isinstance(plain, Secret) else {**plain.as_config()}
    if isinstance(plain, Mapping):
        return {str(key): _to_json(name, item) for key, item in plain.items()}
    if isinstance(plain, list | tuple):
        return [_to_json(name, item) for item in plain]
    raise TypeError(f"option {name!r} holds a {type(value).__name__}, which cannot be exported as JSON")
