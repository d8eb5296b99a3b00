"""A layer forwards everything: a method added to the contract and forgotten here fails."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import pytest

from mediagit_storage.backend import BatchLimits, StorageBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.layers.base import Layer, closing_with
from mediagit_storage.types import ConnectionInfo

PUBLIC = sorted(name for name in vars(StorageBackend) if not name.startswith("_"))


@dataclass(frozen=True)
class NullConfig:
    """One option."""

    level: int = 1


class Null(Layer):
    """Changes nothing."""

    layer_name = "null"


class Recorder:
    """An inner storage that says what was called with what."""

    def __init__(self):
        self.calls: list[tuple[str, tuple, dict]] = []

    def __getattr__(self, name):
        def call(*args, **kwargs):
            self.calls.append((name, args, kwargs))
            return (name, "result")

        return call


def test_the_contract_has_members():
    assert {"put", "read", "stream", "batch", "close", "capabilities"} <= set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_member_is_overridden_with_the_same_signature(name):
    assert name in vars(Layer), f"Layer does not forward {name}"
    ours, theirs = vars(Layer)[name], vars(StorageBackend)[name]
    assert type(ours) is type(theirs)
    if not isinstance(theirs, property):
        assert inspect.signature(ours) == inspect.signature(theirs)


METHODS = [
    name for name in PUBLIC if not isinstance(vars(StorageBackend)[name], property) and name != "connection_info"
]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_forwards_its_arguments_and_result(name):
    inner = Recorder()
    layer = Null(inner, NullConfig())
    parameters = list(inspect.signature(getattr(StorageBackend, name)).parameters.values())[1:]
    args = [object() for each in parameters if each.kind is not inspect.Parameter.KEYWORD_ONLY]
    kwargs = {each.name: object() for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}
    result = getattr(layer, name)(*args, **kwargs)
    assert inner.calls == [(name, tuple(args), kwargs)]
    returns_nothing = inspect.signature(getattr(StorageBackend, name)).return_annotation in {None, "None"}
    assert result == (None if returns_nothing else (name, "result"))


@pytest.mark.parametrize("name", [name for name in PUBLIC if isinstance(vars(StorageBackend)[name], property)])
def test_every_property_is_the_inner_one(name):
    inner = MemoryBackend("x")
    assert getattr(Null(inner, NullConfig()), name) == getattr(inner, name)


def test_connection_info_has_the_outermost_layer_first():
    inner = MemoryBackend("x")
    stack = Null(Null(inner, NullConfig(2)), NullConfig())
    assert stack.connection_info() == ConnectionInfo(
        "memory", {"name": "x", "layers": [{"layer": "null"}, {"layer": "null", "level": 2}]}
    )
    assert "layers" not in inner.connection_info().config


def test_repr_shows_the_stack():
    stack = Null(Null(MemoryBackend("x"), NullConfig()), NullConfig())
    assert repr(stack) == "<Null over <Null over <MemoryBackend memory://x>>>"


def test_closing_what_is_mapped_closes_what_it_draws_from():
    closed: list[str] = []

    def numbers():
        try:
            yield from range(10)
        finally:
            closed.append("inner")

    inner = numbers()
    outer = closing_with(inner, (number * 2 for number in inner))
    assert next(outer) == 0
    outer.close()
    assert closed == ["inner"]
    assert list(closing_with(iter([1]), iter([2]))) == [2]


def test_a_layer_over_a_backend_without_batches_has_none():
    class Small(MemoryBackend):
        batch = StorageBackend.batch

    with pytest.raises(Exception, match="does not support batches"):
        list(Null(Small("x"), NullConfig()).batch(iter(()), BatchLimits()))
