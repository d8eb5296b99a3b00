"""`open_storage`: from what a user names a storage by to a `Storage`.

An explicit argument beats the URL, the URL beats the profile, the profile beats the environment.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias, get_args

from mediagit_storage.backend import StorageBackend
from mediagit_storage.config import Profile, Profiles, load_profiles
from mediagit_storage.errors import ConfigError
from mediagit_storage.keys import KeyRules
from mediagit_storage.layers.order import Placed, check_order
from mediagit_storage.options import Given, OptionValue, Origin, build_config, from_environment, given
from mediagit_storage.registry import backend_entry, layer_entry, url_key, url_options
from mediagit_storage.secrets import Secret
from mediagit_storage.settings import StorageURL
from mediagit_storage.storage import Storage
from mediagit_storage.types import ConnectionInfo
from mediagit_storage.url import LOCAL_FOLDERS, Folders, Target, parse_url, profile_part, split_target

__all__ = ["LayerSpec", "LiteralSecretWarning", "locate", "open_storage"]

#: A layer by its name, or by its name and options: ``{"layer": "prefix", "prefix": "a/"}``.
LayerSpec: TypeAlias = str | Mapping[str, OptionValue]


class LiteralSecretWarning(UserWarning):
    """A profile holds a secret itself instead of the place where it is kept."""


class _Layer(NamedTuple):
    name: str
    options: dict[str, Given]


class _Plan(NamedTuple):
    """What to open, before anything is: ``layers`` are outermost first, ``profile`` and ``file`` say whose they are."""

    scheme: str
    options: dict[str, Given]
    layers: tuple[_Layer, ...] = ()
    profile: Profile | None = None
    file: Path | None = None

    @property
    def place(self) -> str:
        """The profile and where it is written, for messages."""
        if self.profile is None:
            return ""
        line = f", line {self.profile.line}" if self.profile.line else ""
        return f"profile {self.profile.name!r} in {self.file}{line}"


def open_storage(
    target: str | os.PathLike[str] | ConnectionInfo,
    *,
    options: Mapping[str, OptionValue] | None = None,
    layers: Sequence[LayerSpec] = (),
    create: bool = False,
    keys: KeyRules = "strict",
    pickle_secrets: bool = False,
    environ: Mapping[str, str] | None = None,
) -> Storage:
    """Open the storage that a URL, a path, a profile (``media:``) or a `ConnectionInfo` names.

    What follows the bucket in a URL, or the name of a profile, is a folder: its keys are led by it and a ``/``.
    ``options`` beat those of the URL, the profile and the environment; ``layers`` go outside of a profile's own, the
    outermost first. ``create`` makes the bucket or folder where it is missing. ``keys="raw"`` lets `Storage.put` write
    any key that the storage can hold. ``pickle_secrets`` allows a pickle to hold literal secrets, in the clear.

    Nothing is asked of the storage. Raises `ConfigError` for a name, option or layer that is wrong.
    """
    if keys not in get_args(KeyRules):
        raise ConfigError(f"keys is 'strict' or 'raw', not {keys!r}")
    plan = _plan(target, environ)
    backend = backend_entry(plan.scheme)
    chosen = {**plan.options, **given(options or {}, Origin.ARGUMENT)}
    chosen.update(from_environment(backend.config_type, chosen, environ))
    stack = (*(_layer(each, Origin.ARGUMENT) for each in layers), *plan.layers)
    with _located(plan):
        config = _built(backend.config_type, chosen, f"the {plan.scheme} storage", plan, pickle_secrets=pickle_secrets)
        wrappers: list[Callable[[StorageBackend], StorageBackend]] = []
        placed: list[Placed] = []
        for name, given_options in reversed(stack):
            layer = layer_entry(name)
            about = f"the layer {name!r}"
            layer_config = _built(layer.config_type, given_options, about, plan, pickle_secrets=pickle_secrets)
            wrappers.append(partial(_wrapped, layer.factory, layer_config))
            placed.insert(0, Placed(name, layer_config))
        check_order(placed)
    try:
        made = backend.factory(config)
    except ConfigError as error:
        withheld = _withheld(backend.config_type, chosen, environ)
        if not withheld:
            raise
        raise ConfigError(
            f"{error.message} ({' and '.join(withheld)} are set, and kept from what only a URL names: use a profile)"
        ) from None
    return Storage(_assembled(made, wrappers, create=create), keys=keys)


def locate(text: str, *, environ: Mapping[str, str] | None = None, folders: Folders = LOCAL_FOLDERS) -> Target:
    """What a command line's argument means: the storage that `open_storage` takes, and the key in it."""
    profiles = load_profiles(environ=environ).by_name if profile_part(text) else {}
    return split_target(text, profiles, folders=folders, key_of=url_key)


def _withheld(config_type: type, options: Mapping[str, Given], environ: Mapping[str, str] | None) -> Sequence[str]:
    """The variables of the environment that would have been used, had not a URL alone named the server."""
    trusted = {name: option._replace(origin=Origin.ARGUMENT) for name, option in options.items()}
    more = from_environment(config_type, trusted, environ).keys() - options.keys()
    variables: Mapping[str, str] = getattr(config_type, "ENVIRONMENT", {})
    return sorted(variables[name] for name in more)


def _plan(target: str | os.PathLike[str] | ConnectionInfo, environ: Mapping[str, str] | None) -> _Plan:
    if isinstance(target, ConnectionInfo):
        return _plan_of_info(target)
    if isinstance(target, os.PathLike):
        return _plan_of_url(StorageURL("file", path=os.fspath(target)), Origin.ARGUMENT)
    if not isinstance(target, str):
        raise TypeError(f"a storage is named by a str, a path or a ConnectionInfo, not {type(target).__name__}")
    if named := profile_part(target):
        return _plan_of_profile(load_profiles(environ=environ), *named)
    return _plan_of_url(parse_url(target), Origin.URL)


def _plan_of_info(info: ConnectionInfo) -> _Plan:
    layers = info.config.get("layers", [])
    if not isinstance(layers, list) or not all(isinstance(each, dict) for each in layers):
        raise ConfigError("the layers of connection info are a list of tables")
    options = {name: value for name, value in info.config.items() if name != "layers"}
    stack = tuple(_layer(each, Origin.ARGUMENT) for each in layers if isinstance(each, dict))
    return _Plan(info.type, given(options, Origin.ARGUMENT), stack)


def _plan_of_url(url: StorageURL, origin: Origin) -> _Plan:
    options, prefix = url_options(url)
    for name in options:
        if name in url.query:
            raise ConfigError(f"the option {name!r} is given twice in the URL: in its path or host, and by name")
    return _Plan(url.scheme, given({**options, **url.query}, origin), _folder_layers(prefix))


def _plan_of_profile(profiles: Profiles, name: str, folder: str) -> _Plan:
    profile = profiles.get(name)
    with _located(_Plan("", {}, (), profile, profiles.path)):
        url = parse_url(profile.url)
        if url.scheme == "file" and not url.path.startswith("/"):
            raise ConfigError("the path of a profile starts with / or ~")
        plan = _plan_of_url(url, Origin.PROFILE_URL)
        own = tuple(_layer(each, Origin.PROFILE) for each in profile.layers)
    # The folder goes outside, so that the profile's layers see the same keys however deep the caller starts.
    layers = (*_folder_layers(folder), *own, *plan.layers)
    return _Plan(
        plan.scheme, {**given(profile.options, Origin.PROFILE), **plan.options}, layers, profile, profiles.path
    )


def _folder_layers(folder: str) -> tuple[_Layer, ...]:
    if not folder:
        return ()
    prefix = folder if folder.endswith("/") else f"{folder}/"
    return (_Layer("prefix", given({"prefix": prefix}, Origin.ARGUMENT)),)


def _layer(spec: LayerSpec, origin: Origin) -> _Layer:
    if isinstance(spec, str):
        return _Layer(spec, {})
    name = spec.get("layer")
    if not isinstance(name, str):
        raise ConfigError('a layer is its name, or a table with it: {"layer": "readonly"}')
    return _Layer(name, given({option: value for option, value in spec.items() if option != "layer"}, origin))


def _built(config_type: type, options: Mapping[str, Given], about: str, plan: _Plan, *, pickle_secrets: bool) -> object:
    config: object = build_config(config_type, options, about, pickle_secrets=pickle_secrets)
    literal = [
        name
        for name, option in options.items()
        if option.origin is Origin.PROFILE and isinstance(getattr(config, name), Secret)
    ]
    if literal and plan.file is not None:
        readable = plan.file.stat().st_mode & 0o077
        warnings.warn(
            f"{plan.place} holds the secret {literal[0]!r} itself; better keep it where"
            ' { env = "NAME" } or { file = "PATH" } can name it'
            + (", or at least take the file from others: chmod 600" if readable else ""),
            LiteralSecretWarning,
            stacklevel=3,
        )
    return config


def _wrapped(
    factory: Callable[[StorageBackend, object], StorageBackend], config: object, inner: StorageBackend
) -> StorageBackend:
    return factory(inner, config)


def _assembled(
    backend: StorageBackend, wrappers: Sequence[Callable[[StorageBackend], StorageBackend]], *, create: bool
) -> StorageBackend:
    stacked = backend
    try:
        for wrap in wrappers:
            stacked = wrap(stacked)
        if create:
            stacked.create()
    except BaseException:
        backend.close()
        raise
    return stacked


@contextmanager
def _located(plan: _Plan) -> Iterator[None]:
    """Lead what goes wrong inside by the profile and its file."""
    try:
        yield
    except ConfigError as error:
        if plan.profile is None:
            raise
        raise ConfigError(f"{plan.place}: {error.message}") from None
