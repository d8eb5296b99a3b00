"""Every registered layer by reflection: each method and each capability is forwarded, or changed on purpose (120).

What a layer changes on purpose is its row in `mediagit_storage.testing.stacking`. A method or capability that is added to
the contract is forwarded by `Layer`; layers that store other bytes have to take a stand on each.
"""

from __future__ import annotations

import inspect
from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest

from mediagit_storage.backend import StorageBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.capabilities import ALL_ATTRIBUTES, Capabilities
from mediagit_storage.errors import ConfigError, UnsupportedError
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.order import LAYERS
from mediagit_storage.registry import layer_types
from mediagit_storage.source import BytesSource
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.stacking import LAYER_ROWS, make_layer
from mediagit_storage.types import (
    CopyOptions,
    DeleteOptions,
    ListOptions,
    PendingUpload,
    PresignOptions,
    PutOptions,
    ReadOptions,
)

PUBLIC = {name for name in vars(StorageBackend) if not name.startswith("_")}
METHODS = sorted(name for name in PUBLIC if inspect.isfunction(vars(StorageBackend)[name]))
#: As the process began: tests register layers of their own.
BUILT_IN = frozenset(layer_types())
NAMES = sorted(BUILT_IN & set(LAYER_ROWS))

#: What the methods of the contract have to do with the bytes of objects.
#: These show bytes or sizes: who stores other bytes changes each.
OF_BYTES = {"put", "read", "stream", "stat", "list", "list_dir", "content_checksum"}
#: These carry bytes where a capability says so: who stores other bytes changes them or turns the capability off.
OF_BYTES_IF = {"batch": "batch", "presign": "presign", "replace_head": "replace_head"}
#: These never see them.
FREE_OF_BYTES = {
    "abort_upload", "check", "close", "connection_info", "copy", "create", "delete", "pending_uploads", "rename",
    "stat_upload",
}  # fmt: skip
#: Capabilities that name a method of the contract.
GATES = {**OF_BYTES_IF, "server_copy": "copy", "server_rename": "rename", "pending_uploads": "pending_uploads"}

UPLOAD = PendingUpload("k", "id", datetime(2020, 1, 1, tzinfo=UTC))
ARGUMENTS: dict[str, tuple[tuple, dict]] = {
    "put": (("k", BytesSource(b"1"), PutOptions()), {}),
    "read": (("k", ReadOptions()), {}),
    "stream": (("k", ReadOptions()), {}),
    "stat": (("k", None), {}),
    "list": (("k", ListOptions()), {}),
    "list_dir": (("k", ListOptions()), {}),
    "delete": (("k", DeleteOptions()), {}),
    "connection_info": ((), {}),
    "copy": (("k", "t", CopyOptions()), {}),
    "rename": (("k", "t"), {"if_absent": False}),
    "batch": ((iter(()), object()), {}),
    "presign": (("k", PresignOptions()), {}),
    "create": ((), {"versioning": True}),
    "pending_uploads": (("k",), {}),
    "stat_upload": ((UPLOAD,), {}),
    "abort_upload": ((UPLOAD,), {}),
    "replace_head": (("k", b"", 0), {"if_match": "e"}),
    "content_checksum": (("k", ReadOptions()), {}),
    "check": ((), {}),
    "close": ((), {}),
}


def all_on() -> Capabilities:
    """Every flag there is, also those that are added later."""
    values: dict[str, object] = {}
    for field in fields(Capabilities):
        default = getattr(Capabilities(), field.name)
        values[field.name] = True if isinstance(default, bool) else default
    return Capabilities(
        **{
            **values,
            "attributes": ALL_ATTRIBUTES,
            "presign": frozenset({"GET", "PUT", "DELETE"}),
            "max_object_size": 10**12,
        }
    )


def all_off() -> Capabilities:
    values = {each.name: False for each in fields(Capabilities) if isinstance(getattr(Capabilities(), each.name), bool)}
    return replace(Capabilities(), **values, max_object_size=1000)


class Recorder(MemoryBackend):
    """An inner storage with given capabilities that writes down what it is asked; nothing is done."""

    def __init__(self, capabilities):
        super().__init__("recorder")
        self.given = capabilities
        self.calls: list[tuple[str, tuple, dict]] = []

    @property
    def capabilities(self):
        return self.given


def _recorded(name):
    def method(self, *args, **kwargs):
        self.calls.append((name, args, kwargs))
        return (name, "result")

    return method


for each in METHODS:
    if each != "connection_info":
        setattr(Recorder, each, _recorded(each))


@pytest.fixture(params=NAMES)
def row(request):
    return LAYER_ROWS[request.param]


@pytest.fixture
def make(request, row):
    name = request.node.callspec.params["row"]
    return lambda capabilities: make_layer(name, Recorder(capabilities))


def overridden(layer: Layer) -> set[str]:
    """The methods that a class, or one between it and `Layer`, has of its own."""
    classes = type(layer).__mro__
    between = classes[: classes.index(Layer)]
    return {name for each in between for name in vars(each) if name in PUBLIC and name in METHODS}


def test_every_registered_layer_has_a_row():
    assert set(LAYER_ROWS) >= BUILT_IN, "write a row into testing/stacking.py"
    assert set(LAYER_ROWS) <= {kind.name for kind in LAYERS}


def test_every_method_is_sorted_by_what_it_has_to_do_with_bytes():
    assert set(METHODS) == OF_BYTES | set(OF_BYTES_IF) | FREE_OF_BYTES
    assert set(METHODS) == set(ARGUMENTS)


@covers(120)
def test_a_layer_changes_what_its_row_says_and_nothing_else(make, row):
    layer = make(all_on())
    assert overridden(layer) == set(row.changes)
    for name in row.changes - {"connection_info"}:
        ours, theirs = getattr(type(layer), name), getattr(StorageBackend, name)
        assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)


@covers(120)
def test_all_else_is_forwarded_with_its_arguments_and_result(make, row):
    for name in sorted(set(METHODS) - row.changes - {"connection_info"}):
        layer = make(all_on())
        before = len(layer.inner.calls)
        args, kwargs = ARGUMENTS[name]
        result = getattr(layer, name)(*args, **kwargs)
        assert layer.inner.calls[before:] == [(name, args, kwargs)], name
        assert result in {(name, "result"), None}


def test_the_layer_tells_how_to_make_it_again(make, row, request):
    info = make(all_on()).connection_info()
    assert info.config["layers"][0]["layer"] == request.node.callspec.params["row"]


def test_a_layer_that_stores_other_bytes_takes_a_stand_on_each_method(make, row):
    if not row.stores_other_bytes:
        assert "GET" in make(all_on()).capabilities.presign
        return
    assert row.changes >= OF_BYTES
    capabilities = make(all_on()).capabilities
    for method, flag in OF_BYTES_IF.items():
        assert method in row.changes or not getattr(capabilities, flag), method
    assert capabilities.presign <= {"DELETE"}, "a link would show the stored bytes"
    assert not capabilities.resumable_uploads, "what is resumed are the bytes of the source"


@covers(120)
def test_capabilities_are_narrowed_as_the_row_says(make, row):
    given = all_on()
    capabilities = make(given).capabilities
    changed = {
        each.name for each in fields(Capabilities) if getattr(capabilities, each.name) != getattr(given, each.name)
    }
    # Whatever grows or shrinks bytes may have another bound of its own.
    assert changed - {"max_object_size"} == set(row.narrows)


@covers(120)
@pytest.mark.parametrize("flag", [each.name for each in fields(Capabilities)])
def test_no_layer_promises_what_the_storage_below_it_cannot_do(make, row, flag):
    """Each flag alone is off below: it is off above as well."""
    off = getattr(all_off(), flag)
    given = replace(all_on(), **{flag: off})
    try:
        above = getattr(make(given).capabilities, flag)
    except ConfigError:
        # It cannot work without, and says so at once.
        return
    if isinstance(off, int | frozenset):
        assert above <= off, flag
    else:
        assert above is None or above == off


def test_what_a_layer_took_away_is_refused_and_not_forwarded(make, row):
    for flag, method in GATES.items():
        if flag not in row.narrows or flag == "batch":
            continue
        layer = make(all_on())
        before = len(layer.inner.calls)
        args, kwargs = ARGUMENTS[method]
        if flag == "presign":
            args = ("k", PresignOptions(min(all_on().presign - layer.capabilities.presign)))
        with pytest.raises(UnsupportedError):
            getattr(layer, method)(*args, **kwargs)
        assert layer.inner.calls[before:] == [], method


def test_closing_closes_what_is_below(make):
    layer = make(all_on())
    layer.close()
    assert [name for name, _, _ in layer.inner.calls if name == "close"] == ["close"]
