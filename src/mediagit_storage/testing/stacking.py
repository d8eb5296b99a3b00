"""The built-in layers as data for tests: a row each, from which layers and stacks are made, and what a layer changes.

A new layer costs one row in `LAYER_ROWS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from mediagit_storage.backend import StorageBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import ConfigError
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.order import Placed, check_order
from mediagit_storage.registry import JoiningEntry, layer_entry
from mediagit_storage.secrets import Secret, SecretValue

__all__ = ["LAYER_ROWS", "TEST_IDENTITY", "LayerRow", "legal", "legal_pairs", "make_layer", "make_stack"]

#: A key for tests, known to everybody. In two parts, so that a search for keys in files does not take it for a real one.
TEST_IDENTITY: Final = "-".join(("AGE-SECRET-KEY", "1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0"))

OptionValue = str | int | float | bool | SecretValue


class LayerRow(NamedTuple):
    """What there is to know of a layer to test it.

    ``options`` make a layer that works. ``changes`` are the methods of the contract that it
    changes on purpose; all others are forwarded as they are. ``narrows`` are the capabilities that it takes away from a
    storage that has all of them. ``stores_other_bytes`` says that what the inner storage holds is not what was put.
    """

    changes: frozenset[str]
    options: Mapping[str, OptionValue] = MappingProxyType({})
    narrows: frozenset[str] = frozenset()
    stores_other_bytes: bool = False


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_EVERY_REQUEST: Final = _names(
    "put read stream stat list list_dir delete copy rename batch create pending_uploads stat_upload abort_upload"
    " replace_head content_checksum"
)

#: By the name that the layer is registered under.
LAYER_ROWS: Final[Mapping[str, LayerRow]] = MappingProxyType(
    {
        # The suite counts what is held in memory while a large object travels.
        "cache": LayerRow(
            _names("read stream stat put delete copy rename replace_head batch close"),
            {"memory_bytes": 4 * 1024 * 1024},
        ),
        "checksum": LayerRow(
            _names("put copy rename replace_head presign read stream stat content_checksum batch"),
            {"missing": "pass"},
            narrows=_names("replace_head"),
        ),
        "compress": LayerRow(
            _names("put read stream stat list list_dir copy rename presign replace_head content_checksum batch"),
            narrows=_names("presign replace_head batch resumable_uploads"),
            stores_other_bytes=True,
        ),
        "encrypt": LayerRow(
            _names("put copy rename replace_head read stream stat content_checksum presign list list_dir batch check"),
            {"identity": Secret(TEST_IDENTITY)},
            narrows=_names("presign replace_head resumable_uploads"),
            stores_other_bytes=True,
        ),
        "migrating": LayerRow(
            _names(
                "put read stream stat list list_dir delete copy rename batch presign replace_head content_checksum check"
                " connection_info close"
            ),
            narrows=_names("versions server_rename replace_head presign"),
        ),
        "mirror": LayerRow(
            _names(
                "put read stream stat delete copy rename batch presign create replace_head content_checksum check"
                " connection_info close"
            ),
            narrows=_names("replace_head presign"),
        ),
        "observe": LayerRow(_EVERY_REQUEST | {"presign", "connection_info", "close"}, {"log": "DEBUG"}),
        "prefix": LayerRow(
            _EVERY_REQUEST - {"create"} | {"presign"}, {"prefix": "p/"}, narrows=_names("max_key_bytes")
        ),
        "readonly": LayerRow(_names("put delete copy rename batch presign create abort_upload replace_head")),
        "retry": LayerRow(_EVERY_REQUEST, {"base": 0.0, "cap": 0.0}),
        "throttle": LayerRow(
            _EVERY_REQUEST | {"check", "connection_info"},
            {"bytes_up": 2**33, "bytes_down": 2**33, "requests": 1e7},
        ),
    }
)


def make_layer(name: str, inner: StorageBackend) -> Layer:
    """The layer of a row over ``inner``, and over new storages in memory where it takes others."""
    entry = layer_entry(name)
    config = entry.config_type(**LAYER_ROWS[name].options)
    if isinstance(entry, JoiningEntry):
        others = {option: [MemoryBackend(f"{name}-{option}")] for option in getattr(entry.config_type, "STORAGES", ())}
        layer = entry.factory(inner, config, others)
    else:
        layer = entry.factory(inner, config)
    assert isinstance(layer, Layer)
    return layer


def make_stack(names: Sequence[str], inner: StorageBackend) -> StorageBackend:
    """The layers of these names over ``inner``, outermost first."""
    for name in reversed(names):
        inner = make_layer(name, inner)
    return inner


def legal(names: Sequence[str]) -> bool:
    """Whether layers may be stacked so, outermost first, whatever their options."""
    try:
        check_order([Placed(name, None) for name in names])
    except ConfigError:
        return False
    return True


def legal_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Every pair of these layers that may be stacked, the outer one first, a layer over itself included."""
    return [(outer, inner) for outer in names for inner in names if legal((outer, inner))]
