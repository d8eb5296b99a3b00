"""Which schemes and layers there are, and how text, JSON or the environment become their options.

The built-in ones are imported when they are first asked for, so opening a folder loads no other backend. Others join
by `register_backend` and `register_layer`, or by an entry point of the group ``mediagit_storage.backends`` or
``mediagit_storage.layers``: its name is the scheme or layer, its object a function without parameters that registers
it. An entry point is loaded only when its name is asked for.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeAlias, TypeVar, cast

from mediagit_storage.backend import StorageBackend
from mediagit_storage.errors import ConfigError
from mediagit_storage.settings import StorageURL, UrlConfig, bucket_url
from mediagit_storage.types import JSON

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

__all__ = [
    "BACKEND_GROUP",
    "LAYER_GROUP",
    "BackendEntry",
    "JoiningEntry",
    "LayerEntry",
    "Others",
    "Registry",
    "backend_entry",
    "backend_types",
    "layer_entry",
    "layer_types",
    "register_backend",
    "register_layer",
    "resolve",
    "url_key",
    "url_options",
]

#: The entry-point groups of plug-ins.
BACKEND_GROUP: Final = "mediagit_storage.backends"
LAYER_GROUP: Final = "mediagit_storage.layers"

_NAME: Final = re.compile(r"[a-z][a-z0-9+.-]+")

#: Factories as they are kept, their configuration's own type forgotten.
OpenBackend: TypeAlias = Callable[[object], StorageBackend]
WrapBackend: TypeAlias = Callable[[StorageBackend, object], StorageBackend]

#: Further storages that a layer is over, open, by the option that names them. The layer closes them.
Others: TypeAlias = Mapping[str, Sequence[StorageBackend]]
JoinBackends: TypeAlias = Callable[[StorageBackend, object, Others], StorageBackend]

C = TypeVar("C")
E = TypeVar("E")


class BackendEntry(NamedTuple):
    """A registered backend: ``factory`` opens it with an instance of ``config_type``."""

    factory: OpenBackend
    config_type: type
    url_config: UrlConfig | None


class LayerEntry(NamedTuple):
    """A registered layer: ``factory`` wraps a backend as an instance of ``config_type`` says."""

    factory: WrapBackend
    config_type: type


class JoiningEntry(NamedTuple):
    """A built-in layer over several storages: ``config_type.STORAGES`` says which options name the others (`settings`)."""

    factory: JoinBackends
    config_type: type


class Registry(Generic[E]):
    """Names and what they stand for, filled by built-ins, calls and entry points of ``group``."""

    def __init__(self, what: str, group: str, built_in: Mapping[str, Callable[[], E]]) -> None:
        self._what = what
        self._group = group
        self._built_in = built_in
        self._entries: dict[str, E] = {}

    def add(self, name: str, entry: E) -> None:
        """Make a name known. The same entry again is fine; another one for a known name is a `ConfigError`."""
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{name!r} cannot be the name of a {self._what}: lower-case letters, digits, + . and -")
        if name in self._built_in or self._entries.get(name, entry) != entry:
            raise ConfigError(f"a {self._what} named {name!r} is registered already")
        self._entries[name] = entry

    def find(self, name: str) -> E:
        """What a name stands for; its plug-in is loaded if it has to be."""
        if name not in self._entries and name in self._built_in:
            self._entries[name] = self._built_in[name]()
        if name not in self._entries:
            self._load_plugin(name)
        if name not in self._entries:
            known = ", ".join(self.names())
            close = difflib.get_close_matches(name, self.names(), 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ConfigError(f"unknown {self._what} {name!r} (known: {known}){hint}")
        return self._entries[name]

    def names(self) -> tuple[str, ...]:
        """All names, those of installed plug-ins included, sorted. Loads nothing."""
        return tuple(sorted({*self._built_in, *self._entries, *(point.name for point in self._plugins())}))

    def _plugins(self) -> EntryPoints:
        # Imported where it is needed: it takes longer than the rest of this module.
        from importlib.metadata import entry_points  # noqa: PLC0415

        return entry_points(group=self._group)

    def _load_plugin(self, name: str) -> None:
        for point in self._plugins():
            if point.name != name:
                continue
            try:
                point.load()()
            except Exception as error:
                raise ConfigError(
                    f"the plug-in {point.value!r} for the {self._what} {name!r} cannot be loaded: "
                    f"{type(error).__name__}: {error}"
                ) from error
            if name not in self._entries:
                raise ConfigError(f"the plug-in {point.value!r} did not register the {self._what} {name!r}")
            return


def resolve(place: str) -> object:
    """What ``module:name`` stands for, imported now."""
    module, _, name = place.partition(":")
    return attrgetter(name)(importlib.import_module(module))


def _file_url(url: StorageURL) -> tuple[dict[str, JSON], str]:
    return {"path": url.path}, ""


def _server_url(url: StorageURL) -> tuple[dict[str, JSON], str]:
    """``minio://HOST:PORT/BUCKET/prefix``; without a host the environment or a profile names the server."""
    bucket, _, prefix = url.path.removeprefix("/").partition("/")
    options: dict[str, JSON] = {"bucket": bucket} if bucket else {}
    if url.host:
        options["endpoint"] = url.host if url.port is None else f"{url.host}:{url.port}"
    return options, prefix


def _web_url(scheme: str) -> UrlConfig:
    """``dav://HOST:PORT/folder``; without a host the environment names the server, and the folder on it to begin at."""

    def convert(url: StorageURL) -> tuple[dict[str, JSON], str]:
        place = url.host if url.port is None else f"{url.host}:{url.port}"
        return {"url": f"{scheme}://{place}"} if url.host else {}, url.path.removeprefix("/")

    return convert


def _backend(factory: str, config_type: str, url_config: UrlConfig) -> Callable[[], BackendEntry]:
    return lambda: BackendEntry(
        cast("Callable[[object], StorageBackend]", resolve(factory)), cast("type", resolve(config_type)), url_config
    )


def _layer(factory: str, config_type: str) -> Callable[[], LayerEntry]:
    return lambda: LayerEntry(
        cast("Callable[[StorageBackend, object], StorageBackend]", resolve(factory)),
        cast("type", resolve(config_type)),
    )


def _joining(factory: str, config_type: str) -> Callable[[], JoiningEntry]:
    return lambda: JoiningEntry(
        cast("Callable[[StorageBackend, object, Others], StorageBackend]", resolve(factory)),
        cast("type", resolve(config_type)),
    )


_LOCAL: Final = "mediagit_storage.backends.local"
_MEMORY: Final = "mediagit_storage.backends.memory"
_S3: Final = "mediagit_storage.backends.s3"
_WEBDAV: Final = "mediagit_storage.backends.webdav"
_AZURE: Final = "mediagit_storage.backends.azure"
_GCS: Final = "mediagit_storage.backends.gcs"

_backends: Final = Registry[BackendEntry](
    "scheme",
    BACKEND_GROUP,
    {
        "file": _backend(f"{_LOCAL}:LocalBackend.from_config", f"{_LOCAL}:LocalConfig", _file_url),
        "memory": _backend(f"{_MEMORY}:MemoryBackend.from_config", f"{_MEMORY}:MemoryConfig", bucket_url("name")),
        "s3": _backend(f"{_S3}:S3Backend.from_config", f"{_S3}:S3Config", bucket_url("bucket")),
        "minio": _backend(f"{_S3}:MinIOBackend.from_config", f"{_S3}:MinIOConfig", _server_url),
        "b2": _backend(f"{_S3}:B2Backend.from_config", f"{_S3}:B2Config", bucket_url("bucket")),
        "spaces": _backend(f"{_S3}:SpacesBackend.from_config", f"{_S3}:SpacesConfig", bucket_url("bucket")),
        "az": _backend(f"{_AZURE}:AzureBackend.from_config", f"{_AZURE}:AzureConfig", bucket_url("container")),
        "gs": _backend(f"{_GCS}:GCSBackend.from_config", f"{_GCS}:GCSConfig", bucket_url("bucket")),
        "dav": _backend(f"{_WEBDAV}:WebDAVBackend.from_config", f"{_WEBDAV}:WebDAVConfig", _web_url("http")),
        "davs": _backend(f"{_WEBDAV}:WebDAVBackend.from_config", f"{_WEBDAV}:WebDAVConfig", _web_url("https")),
    },
)
_layers: Final = Registry[LayerEntry | JoiningEntry](
    "layer",
    LAYER_GROUP,
    {
        "cache": _layer("mediagit_storage.layers.cache:CacheLayer", "mediagit_storage.layers.cache:CacheConfig"),
        "checksum": _layer(
            "mediagit_storage.layers.checksum:ChecksumLayer", "mediagit_storage.layers.checksum:ChecksumConfig"
        ),
        "compress": _layer(
            "mediagit_storage.layers.compress:CompressLayer", "mediagit_storage.layers.compress:CompressConfig"
        ),
        "migrating": _joining(
            "mediagit_storage.layers.migrating:MigratingLayer.from_config",
            "mediagit_storage.layers.migrating:MigratingConfig",
        ),
        "mirror": _joining(
            "mediagit_storage.layers.mirror:MirrorLayer.from_config", "mediagit_storage.layers.mirror:MirrorConfig"
        ),
        "observe": _layer(
            "mediagit_storage.layers.observe:ObserveLayer.from_config", "mediagit_storage.layers.observe:ObserveConfig"
        ),
        "encrypt": _layer(
            "mediagit_storage.layers.encrypt:EncryptLayer.from_config", "mediagit_storage.layers.encrypt:EncryptConfig"
        ),
        "prefix": _layer(
            "mediagit_storage.layers.prefix:PrefixLayer.from_config", "mediagit_storage.layers.prefix:PrefixConfig"
        ),
        "retry": _layer("mediagit_storage.layers.retry:RetryLayer", "mediagit_storage.layers.retry:RetryPolicy"),
        "throttle": _layer("mediagit_storage.layers.throttle:ThrottleLayer", "mediagit_storage.layers.throttle:Limits"),
        "readonly": _layer(
            "mediagit_storage.layers.readonly:ReadOnlyLayer",
            "mediagit_storage.layers.readonly:ReadOnlyConfig",
        ),
    },
)


def register_backend(
    scheme: str,
    factory: Callable[[C], StorageBackend],
    config_type: type[C],
    *,
    url_config: UrlConfig | None = None,
) -> None:
    """Make ``scheme`` known to `open_storage`, URLs, profiles and `ConnectionInfo`.

    ``factory`` opens the backend with an instance of ``config_type``, a frozen dataclass (see `settings` for what it
    may carry). ``url_config`` turns a URL into options; without it there is no URL of this scheme. A scheme that
    another backend has is a `ConfigError`; the same registration again does nothing.
    """
    _backends.add(scheme, BackendEntry(cast("Callable[[object], StorageBackend]", factory), config_type, url_config))


def register_layer(name: str, factory: Callable[[StorageBackend, C], StorageBackend], config_type: type[C]) -> None:
    """Make a layer known to profiles, `open_storage` and `ConnectionInfo`; rules as for `register_backend`."""
    _layers.add(name, LayerEntry(cast("Callable[[StorageBackend, object], StorageBackend]", factory), config_type))


def backend_types() -> tuple[str, ...]:
    """The schemes that can be opened, those of plug-ins included, sorted. Imports none of them."""
    return _backends.names()


def layer_types() -> tuple[str, ...]:
    """The layers that can be stacked, sorted. Imports none of them."""
    return _layers.names()


def backend_entry(scheme: str) -> BackendEntry:
    """What is registered for a scheme. An unknown one is a `ConfigError` that lists the known ones."""
    return _backends.find(scheme)


def layer_entry(name: str) -> LayerEntry | JoiningEntry:
    """What is registered for a layer. An unknown one is a `ConfigError` that lists the known ones."""
    return _layers.find(name)


def url_options(url: StorageURL) -> tuple[dict[str, JSON], str]:
    """The options that the path and host of a URL give, and the key or prefix in it."""
    convert = backend_entry(url.scheme).url_config
    if convert is None:
        raise ConfigError(f"a storage of the scheme {url.scheme!r} has no URL; open it by a ConnectionInfo")
    return convert(url)


def url_key(url: StorageURL) -> str:
    """The key in a URL: the ``key_of`` that `split_target` takes for every registered scheme."""
    return url_options(url)[1]
