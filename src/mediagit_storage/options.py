"""How options from arguments, URLs, profiles and the environment become one checked configuration.

Every option remembers where it came from: text from a URL or the environment is converted, everything else has to
have the right type already; and a secret is never taken from a URL.
"""

from __future__ import annotations

import difflib
import operator
import os
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from enum import StrEnum
from typing import Final, Literal, NamedTuple, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from mediagit_storage.errors import ConfigError
from mediagit_storage.secrets import REDACTED, Secret, SecretRef, SecretValue
from mediagit_storage.settings import environment_values, is_secret
from mediagit_storage.types import JSON

__all__ = ["Given", "OptionValue", "Origin", "build_config", "from_environment", "given"]

#: What a caller may pass for an option.
OptionValue: TypeAlias = JSON | Secret | SecretRef

T = TypeVar("T")


class Origin(StrEnum):
    """Where an option came from."""

    ARGUMENT = "argument"
    URL = "url"
    PROFILE = "profile"
    PROFILE_URL = "profile's url"
    ENVIRONMENT = "environment"


class Given(NamedTuple):
    """One option's value and where it came from."""

    value: OptionValue
    origin: Origin


_URLS: Final = frozenset({Origin.URL, Origin.PROFILE_URL})
_TEXT: Final = frozenset({*_URLS, Origin.ENVIRONMENT})


def given(values: Mapping[str, OptionValue], origin: Origin) -> dict[str, Given]:
    """Mark options with their origin."""
    return {name: Given(value, origin) for name, value in values.items()}


def from_environment(
    config_type: type, options: Mapping[str, Given], environ: Mapping[str, str] | None
) -> dict[str, Given]:
    """What the environment adds to ``options``: those of ``config_type.ENVIRONMENT`` that nobody gave.

    A secret of the process's own environment stays a reference to its variable. One that yields to others
    (``config_type.ENVIRONMENT_YIELDS``) is left out where one of those is there. Secrets are withheld where the option
    that names the server (``config_type.HOST_OPTION``) came from a URL and is not what the environment says itself;
    a URL that then also names where credentials lie (``config_type.CREDENTIAL_OPTIONS``) is a `ConfigError`.
    """
    variables: Mapping[str, str] = getattr(config_type, "ENVIRONMENT", {})
    yields: Mapping[str, tuple[str, ...]] = getattr(config_type, "ENVIRONMENT_YIELDS", {})
    source = os.environ if environ is None else environ
    found = environment_values(config_type, environ)
    foreign = [
        host
        for host in getattr(config_type, "HOST_OPTIONS", (getattr(config_type, "HOST_OPTION", ""),))
        if _names_foreign(config_type, options.get(host), source.get(variables.get(host, "")))
    ]
    leading: Sequence[str] = getattr(config_type, "CREDENTIAL_OPTIONS", ())
    for name in leading:
        if foreign and name in options and options[name].origin is Origin.URL:
            raise ConfigError(
                f"{name} and {foreign[0]} cannot both come from a URL: a link from elsewhere could send this machine's"
                " credentials to its own host; write them into a profile, or give them as options"
            )
    added: dict[str, Given] = {}
    for name, value in found.items():
        withheld = foreign and (name in leading or not isinstance(value, str))
        other_way = any(each in options or each in added for each in yields.get(name, ()))
        if name not in options and not withheld and not other_way:
            added[name] = Given(value, Origin.ENVIRONMENT)
    return added


def _names_foreign(config_type: type, named: Given | None, own: str | None) -> bool:
    """Whether nothing but a URL names this server."""
    if named is None or named.origin is not Origin.URL:
        return False
    alike: Callable[[str, str], bool] = getattr(config_type, "same_host", operator.eq)
    return own is None or not isinstance(named.value, str) or not alike(named.value, own)


def build_config(
    config_type: type[T],
    options: Mapping[str, Given],
    subject: str,
    *,
    pickle_secrets: bool = False,
    elsewhere: Sequence[str] = (),
) -> T:
    """The configuration that ``options`` make; ``subject`` ("the file storage") names it in errors.

    ``pickle_secrets`` lets its literal secrets be pickled. ``elsewhere`` are options that the caller deals with itself.

    Raises `ConfigError` for an unknown option (listing the known ones), a missing one and one of a wrong type. No
    message holds a value.
    """
    known = {each.name: each for each in fields(config_type) if each.init}  # type: ignore[arg-type]  # a dataclass
    for name in options:
        if name not in known:
            raise ConfigError(_unknown_message(name, [*known, *elsewhere], subject))
    missing = [
        name
        for name, each in known.items()
        if name not in options and each.default is MISSING and each.default_factory is MISSING
    ]
    if missing:
        raise ConfigError(f"{subject} needs the option {missing[0]!r}")
    hints = get_type_hints(config_type)
    values = {name: _convert(name, each, hints[name], subject) for name, each in options.items()}
    if pickle_secrets:
        values.update({k: Secret(v.reveal(), picklable=True) for k, v in values.items() if isinstance(v, Secret)})
    return config_type(**values)


def _unknown_message(name: str, known: list[str], subject: str) -> str:
    close = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{subject} has no option {name!r} (known: {', '.join(known) or 'none'}){hint}"


def _convert(name: str, option: Given, hint: object, subject: str) -> object:
    if is_secret(hint):
        return _secret(name, option, subject)
    value, origin = option
    if isinstance(value, Secret | SecretRef):
        raise ConfigError(f"the option {name!r} of {subject} is not a secret: give it as it is")
    if type(value) in _members(hint):
        return value
    # Imported where it is needed: it takes longer than everything else together.
    import msgspec  # noqa: PLC0415

    lax = origin in _TEXT and str not in _members(hint)
    try:
        return msgspec.convert(value, hint, strict=not lax)
    except msgspec.ValidationError:
        raise ConfigError(
            f"the option {name!r} of {subject} is {_expected(hint)}, not {_described(value, text=origin in _TEXT)}"
        ) from None


def _secret(name: str, option: Given, subject: str) -> SecretValue | None:
    value, origin = option
    if origin in _URLS:
        raise ConfigError(
            f"a URL never carries credentials: give the option {name!r} of {subject} in a profile or the environment"
        )
    if value is None or isinstance(value, Secret | SecretRef):
        return value
    if value == REDACTED:
        raise ConfigError(
            f"the secret {name!r} of {subject} was given literally and so was not exported: pass it as an option, or"
            ' keep it where { env = "NAME" } or { file = "PATH" } can name it'
        )
    if isinstance(value, str) and value:
        return Secret(value)
    if isinstance(value, dict) and len(value) == 1:
        place, where = next(iter(value.items()))
        if place in {"env", "file"} and isinstance(where, str) and where:
            return SecretRef(env=where) if place == "env" else SecretRef(file=where)
    raise ConfigError(
        f'the secret {name!r} of {subject} is {{ env = "NAME" }}, {{ file = "PATH" }} or a text that is not empty'
    )


def _members(hint: object) -> tuple[object, ...]:
    return get_args(hint) if get_origin(hint) in {Union, types.UnionType} else (hint,)


_TYPE_NAMES: Final[Mapping[object, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    type(None): "nothing",
}


def _expected(hint: object) -> str:
    names: list[str] = []
    for member in _members(hint):
        if get_origin(member) is Literal:
            names += [repr(value) for value in get_args(member)]
        elif member is not type(None):
            names.append(_TYPE_NAMES.get(member) or str(getattr(member, "__name__", member)))
    return " or ".join(names)


def _described(value: JSON, *, text: bool) -> str:
    if text or isinstance(value, str):
        return "this text"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a table"
    return _TYPE_NAMES[type(value)]
