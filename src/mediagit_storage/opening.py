"""`open_storage`: from what a user names a storage by to a `Storage`.

An explicit argument beats the URL, the URL beats the profile, the profile beats the environment.
"""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, get_args

from mediagit_storage.backend import StorageBackend
from mediagit_storage.config import Profile, Profiles, load_profiles
from mediagit_storage.errors import ConfigError
from mediagit_storage.keys import KeyRules
from mediagit_storage.layers.order import Placed, check_order
from mediagit_storage.options import Given, OptionValue, Origin, build_config, from_environment, given
from mediagit_storage.registry import JoiningEntry, LayerEntry, backend_entry, layer_entry, url_key, url_options
from mediagit_storage.secrets import Secret
from mediagit_storage.settings import StorageURL
from mediagit_storage.storage import Storage
from mediagit_storage.types import ConnectionInfo
from mediagit_storage.url import LOCAL_FOLDERS, Folders, Target, parse_url, profile_part, split_target

if TYPE_CHECKING:
    from mediagit_storage.aio import AsyncStorage

__all__ = [
    "LayerSpec",
    "LiteralSecretWarning",
    "Unopened",
    "locate",
    "open_async",
    "open_layers",
    "open_storage",
    "try_profile",
    "warn_of_literal",
]

#: A layer by its name, or by its name and options: ``{"layer": "prefix", "prefix": "a/"}``.
LayerSpec: TypeAlias = str | Mapping[str, OptionValue]


class LiteralSecretWarning(UserWarning):
    """A profile holds a secret itself instead of the place where it is kept."""


class Unopened(NamedTuple):
    """A backend whose options are checked and that is not open: where it is, for people, and what opens it."""

    description: str
    opened: Callable[[], StorageBackend]


class _Layer(NamedTuple):
    name: str
    options: dict[str, Given]


class _Plan(NamedTuple):
    """What to open, before anything is: ``layers`` are outermost first, ``profile`` and ``file`` say whose they are.

    ``within`` are the names of the profiles that led here, the outermost first.
    """

    scheme: str
    options: dict[str, Given]
    layers: tuple[_Layer, ...] = ()
    profile: Profile | None = None
    file: Path | None = None
    within: tuple[str, ...] = ()

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
    around: Callable[[StorageBackend], StorageBackend] | None = None,
) -> Storage:
    """Open the storage that a URL, a path, a profile (``media:``) or a `ConnectionInfo` names.

    What follows the bucket in a URL, or the name of a profile, is a folder: its keys are led by it and a ``/``.
    ``options`` beat those of the URL, the profile and the environment; ``layers`` go outside of a profile's own, the
    outermost first. ``create`` makes the bucket or folder where it is missing. ``keys="raw"`` lets `Storage.put` write
    any key that the storage can hold. ``pickle_secrets`` allows a pickle to hold literal secrets, in the clear. ``around``
    puts a layer around every backend that is opened, those that layers name as well, inside of all other layers.

    Nothing is asked of the storage. Raises `ConfigError` for a name, option or layer that is wrong.
    """
    if keys not in get_args(KeyRules):
        raise ConfigError(f"keys is 'strict' or 'raw', not {keys!r}")
    opener = _Opener(environ, pickle_secrets=pickle_secrets, around=around)
    ready = opener.ready(_plan(target, environ), options or {}, layers)
    return Storage(ready.opened(create=create), keys=keys)


def open_async(
    target: str | os.PathLike[str] | ConnectionInfo,
    *,
    options: Mapping[str, OptionValue] | None = None,
    layers: Sequence[LayerSpec] = (),
    create: bool = False,
    keys: KeyRules = "strict",
    pickle_secrets: bool = False,
    environ: Mapping[str, str] | None = None,
    around: Callable[[StorageBackend], StorageBackend] | None = None,
) -> AsyncStorage:
    """Open a storage for tasks of asyncio or trio, with ``async with``.

    Like `open_storage` in everything else. Profiles are read here, and nothing is asked of the storage unless ``create``.
    """
    # Not imported by who only opens a `Storage`.
    from mediagit_storage.aio import AsyncStorage  # noqa: PLC0415

    store = open_storage(
        target,
        options=options,
        layers=layers,
        create=create,
        keys=keys,
        pickle_secrets=pickle_secrets,
        environ=environ,
        around=around,
    )
    return AsyncStorage(store)


def open_layers(
    name: str, over: Callable[[Unopened], StorageBackend], *, environ: Mapping[str, str] | None = None
) -> Storage:
    """The layers of the storage that a profile names, over what ``over`` makes in the place of each backend.

    For what asks the layers and not the storage: no backend is opened, so that nothing of it but its options has to be
    there, neither credentials nor a folder. Raises `ConfigError` like `open_storage`.
    """
    opener = _Opener(environ, pickle_secrets=False, around=None, over=over)
    return Storage(opener.ready(_plan(name, environ), {}, ()).opened())


def try_profile(profile: Profile, *, environ: Mapping[str, str] | None = None) -> None:
    """Open a storage as a profile will that is not written down yet, and close it again.

    Nothing is asked of the storage. Raises `ConfigError` like `open_storage`; the message names no file.
    """
    opener = _Opener(environ, pickle_secrets=False, around=None)
    opener.ready(_plan_of_what_it_says(profile), {}, ()).opened().close()


class _Ready(NamedTuple):
    """A storage that can be opened: everything is checked, and nothing is open. ``wrappers`` are innermost first."""

    backend: Callable[[], StorageBackend]
    wrappers: Sequence[Callable[[StorageBackend], StorageBackend]]

    def opened(self, *, create: bool = False) -> StorageBackend:
        """Open it; what is open already is closed again where that fails."""
        stacked = self.backend()
        try:
            for wrap in self.wrappers:
                stacked = wrap(stacked)
            if create:
                stacked.create()
        except BaseException:
            stacked.close()
            raise
        return stacked


class _Opener:
    """What is the same for a storage and for the others that its layers name."""

    def __init__(
        self,
        environ: Mapping[str, str] | None,
        *,
        pickle_secrets: bool,
        around: Callable[[StorageBackend], StorageBackend] | None,
        over: Callable[[Unopened], StorageBackend] | None = None,
    ) -> None:
        self._environ = environ
        self._pickle_secrets = pickle_secrets
        self._around = around
        self._over = over

    def ready(self, plan: _Plan, options: Mapping[str, OptionValue], layers: Sequence[LayerSpec]) -> _Ready:
        """Check everything there is to a storage and its layers, those of the storages that these name as well."""
        backend = backend_entry(plan.scheme)
        chosen = {**plan.options, **given(options, Origin.ARGUMENT)}
        chosen.update(from_environment(backend.config_type, chosen, self._environ))
        stack = (*(_layer(each, Origin.ARGUMENT) for each in layers), *plan.layers)
        with _located(plan):
            config = self._built(backend.config_type, chosen, f"the {plan.scheme} storage", plan)
            wrappers: list[Callable[[StorageBackend], StorageBackend]] = []
            placed: list[Placed] = []
            for layer in reversed(stack):
                layer_config, wrap = self._wrapper(layer, plan)
                wrappers.append(wrap)
                placed.insert(0, Placed(layer.name, layer_config))
            check_order(placed)

        def opened() -> StorageBackend:
            try:
                return backend.factory(config)
            except ConfigError as error:
                withheld = _withheld(backend.config_type, chosen, self._environ)
                if not withheld:
                    raise
                raise ConfigError(
                    f"{error.message} ({' and '.join(withheld)} are set, and kept from what only a URL names:"
                    " use a profile)"
                ) from None

        around, over = self._around, self._over
        backend_of = opened if over is None else partial(over, Unopened(_described(plan), opened))
        return _Ready(backend_of, wrappers if around is None else [around, *wrappers])

    def _wrapper(self, layer: _Layer, plan: _Plan) -> tuple[object, Callable[[StorageBackend], StorageBackend]]:
        entry, about = layer_entry(layer.name), f"the layer {layer.name!r}"
        if not isinstance(entry, JoiningEntry):
            config = self._built(entry.config_type, layer.options, about, plan)
            return config, partial(_wrapped, entry, config)
        naming: Sequence[str] = getattr(entry.config_type, "STORAGES", ())
        own = {name: option for name, option in layer.options.items() if name not in naming}
        config = self._built(entry.config_type, own, about, plan, naming)
        others = {
            name: [
                self._other(each, layer.options[name].origin, plan, about) for each in _names(layer.options.get(name))
            ]
            for name in naming
        }
        return config, partial(_joined, entry, config, others)

    def _other(self, name: OptionValue, origin: Origin, plan: _Plan, about: str) -> _Ready:
        """A storage that a layer names. What it says itself about credentials counts as much as who says it."""
        try:
            other = _plan_of_other(name, origin, plan, self._environ)
        except TypeError:
            raise ConfigError(
                f'{about} names other storages by a URL, a path, a profile ("backup:") or their connection info'
            ) from None
        return self.ready(other, {}, ())

    def _built(
        self, config_type: type, options: Mapping[str, Given], about: str, plan: _Plan, more: Sequence[str] = ()
    ) -> object:
        config: object = build_config(config_type, options, about, pickle_secrets=self._pickle_secrets, elsewhere=more)
        literal = [
            name
            for name, option in options.items()
            if option.origin is Origin.PROFILE and isinstance(getattr(config, name), Secret)
        ]
        if literal and plan.file is not None:
            warn_of_literal(literal[0], plan.place, plan.file)
        return config


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


def _described(plan: _Plan) -> str:
    """Where a storage is, as far as its URL says."""
    places = (str(each.value) for each in plan.options.values() if each.origin in {Origin.URL, Origin.PROFILE_URL})
    place = next(places, "")
    return place if "://" in place else f"{plan.scheme}://{place}"


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


def _plan_of_other(name: OptionValue, origin: Origin, outer: _Plan, environ: Mapping[str, str] | None) -> _Plan:
    """What a layer of ``outer`` names. In a profile it is the user's own word, and elsewhere an argument like any."""
    if isinstance(name, Mapping):
        if origin is Origin.PROFILE:
            raise ConfigError("a storage with options of its own is named by a profile of its own")
        return _plan_of_info(ConnectionInfo.from_json(name))._replace(within=outer.within)
    if not isinstance(name, str):
        raise TypeError
    if named := profile_part(name):
        return _plan_of_profile(load_profiles(environ=environ), *named, outer.within)
    url = parse_url(name)
    if origin is Origin.PROFILE:
        _check_profile_path(url)
    plan = _plan_of_url(url, Origin.PROFILE_URL if origin is Origin.PROFILE else Origin.URL)
    return plan._replace(profile=outer.profile, file=outer.file, within=outer.within)


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


def _plan_of_profile(profiles: Profiles, name: str, folder: str, within: tuple[str, ...] = ()) -> _Plan:
    if name in within:
        raise ConfigError(f"profiles must not lead back to themselves: {' > '.join((*within, name))}")
    profile = profiles.get(name)
    with _located(_Plan("", {}, (), profile, profiles.path)):
        plan = _plan_of_what_it_says(profile)
    # The folder goes outside, so that the profile's layers see the same keys however deep the caller starts.
    layers = (*_folder_layers(folder), *plan.layers)
    return _Plan(plan.scheme, plan.options, layers, profile, profiles.path, (*within, name))


def _plan_of_what_it_says(profile: Profile) -> _Plan:
    url = parse_url(profile.url)
    _check_profile_path(url)
    plan = _plan_of_url(url, Origin.PROFILE_URL)
    own = tuple(_layer(each, Origin.PROFILE) for each in profile.layers)
    return _Plan(plan.scheme, {**given(profile.options, Origin.PROFILE), **plan.options}, (*own, *plan.layers))


def _check_profile_path(url: StorageURL) -> None:
    if url.scheme == "file" and not url.path.startswith("/"):
        raise ConfigError("the path of a profile starts with / or ~")


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


def warn_of_literal(name: str, place: str, file: Path) -> None:
    """Warn that a profile holds the secret ``name`` itself; ``place`` says where it is written."""
    readable = file.stat().st_mode & 0o077
    warnings.warn(
        f"{place} holds the secret {name!r} itself; better keep it where"
        ' { env = "NAME" } or { file = "PATH" } can name it'
        + (", or at least take the file from others: chmod 600" if readable else ""),
        LiteralSecretWarning,
        stacklevel=_levels_within(__file__),
    )


def _levels_within(file: str) -> int:
    """How far above whoever asks for this the code is that called this module: a warning is about that."""
    levels, frame = 0, inspect.currentframe()
    while frame is not None and frame.f_code.co_filename == file:
        levels, frame = levels + 1, frame.f_back
    return levels


def _names(option: Given | None) -> Sequence[OptionValue]:
    if option is None:
        return ()
    return option.value if isinstance(option.value, list | tuple) else [option.value]


def _wrapped(entry: LayerEntry, config: object, inner: StorageBackend) -> StorageBackend:
    return entry.factory(inner, config)


def _joined(
    entry: JoiningEntry, config: object, others: Mapping[str, Sequence[_Ready]], inner: StorageBackend
) -> StorageBackend:
    """The layer over ``inner`` and the others, which are opened only now and closed where one of them fails."""
    with ExitStack() as failing:
        opened: dict[str, list[StorageBackend]] = {name: [] for name in others}
        for name, each in ((name, each) for name, list_of in others.items() for each in list_of):
            opened[name].append(each.opened())
            failing.callback(opened[name][-1].close)
        joined = entry.factory(inner, config, opened)
        failing.pop_all()
    return joined


@contextmanager
def _located(plan: _Plan) -> Iterator[None]:
    """Lead what goes wrong inside by the profile and its file."""
    try:
        yield
    except ConfigError as error:
        if plan.profile is None:
            raise
        raise ConfigError(f"{plan.place}: {error.message}") from None
