"""The order of layers: rules as data, held whenever a stack is built."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import ConfigError
from mediagit_storage.layers.base import Layer, find_layer, layers_of
from mediagit_storage.layers.order import LAYERS, RULES, NotBetween, Once, Outside, Placed, check_order
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.layers.readonly import ReadOnlyLayer
from mediagit_storage.opening import open_storage
from mediagit_storage.registry import layer_types
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers

#: As the process began: tests register layers of their own.
BUILT_IN = frozenset(layer_types())


@dataclass(frozen=True)
class Options:
    """What rules look at."""

    plaintext_on_disk: bool = False
    folder: str | None = "/cache"
    digest_in_clear: bool = False


def named(name: str, *rules: object) -> type[Layer]:
    """A layer that changes nothing and has this name."""

    class Named(Layer):
        layer_name = name
        order_rules = rules

        def __init__(self, inner, config=None):
            super().__init__(inner, config or Options())

    return Named


def stack(text: str, config: object = None) -> list[Placed]:
    return [Placed(name, config or Options()) for name in text.split(" > ")]


LEGAL = [
    "compress > encrypt",
    "compress > encrypt > checksum",
    "compress > checksum",
    "encrypt > checksum",
    "compress > encrypt > checksum > cache > throttle",
    "observe > throttle > mirror",
    "checksum > prefix",
    "compress > encrypt > cache",
    "cache > compress",
    "prefix > prefix > readonly > observe > observe",
    "observe > prefix > cache > throttle > retry",
    "compress > encrypt > retry > throttle",
    "unheard-of > encrypt > unheard-of > retry > unheard-of",
]
ILLEGAL = {
    "encrypt > compress": "compress goes outside of encrypt",
    "encrypt > observe > compress": "compress goes outside of encrypt",
    "compress > checksum > encrypt": "never between them",
    "compress > prefix > checksum > throttle > encrypt": "never between them",
    "cache > encrypt": "encrypt goes outside of cache",
    "cache > compress > encrypt": "unless cache says plaintext_on_disk",
    "retry > encrypt": "encrypt goes outside of retry",
    "retry > throttle > compress": "compress goes outside of retry",
    "checksum > encrypt": "unless checksum says digest_in_clear",
    "checksum > compress > encrypt": "encrypt goes outside of checksum",
    "cache > checksum": "checksum goes outside of cache",
    "migrating > cache": "cache goes outside of migrating",
    "throttle > checksum": "checksum goes outside of throttle",
    "retry > checksum": "checksum goes outside of retry",
    "retry > retry": "retry goes into a stack once",
    "compress > compress": "compress goes into a stack once",
}


@pytest.mark.parametrize("order", LEGAL)
def test_orders_that_are_fine(order):
    check_order(stack(order))


@covers(207)
@pytest.mark.parametrize("order", ILLEGAL)
def test_orders_that_are_not_say_which_one_is(order):
    with pytest.raises(ConfigError) as caught:
        check_order(stack(order))
    assert order in caught.value.message
    assert ILLEGAL[order] in caught.value.message
    assert "because" in caught.value.message


def test_a_digest_outside_of_encrypt_is_allowed_by_its_own_option():
    check_order(stack("checksum > compress > encrypt", Options(digest_in_clear=True)))


def test_a_cache_outside_of_encrypt_is_allowed_by_its_own_option_or_without_a_disk():
    check_order(stack("cache > encrypt", Options(plaintext_on_disk=True)))
    check_order(stack("cache > encrypt", Options(folder=None)))
    check_order([Placed("cache", None), *stack("encrypt")])


def test_the_table_knows_every_registered_layer_and_rules_name_no_others():
    known = {kind.name for kind in LAYERS}
    assert known >= BUILT_IN
    for rule in RULES:
        names = {getattr(rule, field) for field in ("outer", "inner", "layer") if hasattr(rule, field)}
        assert names <= known


def test_the_usual_order_of_all_layers_breaks_only_what_an_option_lifts():
    check_order([Placed(kind.name, Options(plaintext_on_disk=True)) for kind in LAYERS])


@pytest.mark.parametrize("order", ILLEGAL)
def test_a_stack_built_by_hand_is_checked(order):
    names = order.split(" > ")
    inner: Layer | MemoryBackend = MemoryBackend("x")
    # What two rules forbid is built as far as the first of them would let it.
    options = Options(digest_in_clear="between" in ILLEGAL[order])
    for name in names[:0:-1]:
        inner = named(name)(inner, options)
    with pytest.raises(ConfigError, match="cannot be stacked so"):
        named(names[0])(inner, options)


def test_with_layer_is_checked():
    store = Storage(named("compress")(MemoryBackend("x")))
    with pytest.raises(ConfigError, match="compress goes outside of encrypt"):
        store.with_layer(named("encrypt"))
    assert find_layer(store.with_layer(ReadOnlyLayer).backend, ReadOnlyLayer) is not None


def test_open_storage_is_checked_before_anything_is_opened():
    with pytest.raises(ConfigError, match="retry goes into a stack once"):
        open_storage("memory://x", layers=["retry", "readonly", "retry"])


def test_a_profile_is_named_with_its_line(tmp_path):
    profiles = tmp_path / "profiles.toml"
    layers = "".join(f"[[media.layers]]\nlayer = {json.dumps(name)}\n" for name in ("retry", "retry"))
    profiles.write_text(f'[media]\nurl = "memory://x"\n{layers}')
    with pytest.raises(ConfigError, match=r"profile 'media' in .*, line 1: the layers retry > retry"):
        open_storage("media:", environ={"MGS_CONFIG": str(profiles)})


def test_a_third_party_brings_rules_of_its_own():
    strict = named("strict", Outside("strict", "readonly", "it writes"))
    strict(ReadOnlyLayer(MemoryBackend("x")))
    with pytest.raises(ConfigError, match="strict goes outside of readonly, because it writes"):
        ReadOnlyLayer(PrefixLayer(strict(MemoryBackend("x")), "p/"))


@pytest.mark.parametrize(
    ("rule", "fine", "broken"),
    [
        (Outside("a", "b", ""), ["a > b", "a > a > b", "b", "a > x > b", ""], ["b > a", "b > x > a", "a > b > a"]),
        (NotBetween("c", "a", "b", ""), ["c > a > b", "b > a > c", "a > c > a", "c"], ["a > c > b", "b > x > c > a"]),
        (Once("a", ""), ["a", "b > b"], ["a > a", "a > b > a"]),
    ],
)
def test_each_kind_of_rule(rule, fine, broken):
    assert all(rule.holds(stack(order)) for order in fine)
    assert not any(rule.holds(stack(order)) for order in broken)


def test_the_layers_of_a_stack_are_found():
    inner = PrefixLayer(ReadOnlyLayer(MemoryBackend("x")), "p/")
    outer = PrefixLayer(inner, "q/")
    assert [layer.layer_name for layer in layers_of(outer)] == ["prefix", "prefix", "readonly"]
    assert find_layer(outer, PrefixLayer) is outer
    assert find_layer(outer, ReadOnlyLayer) is inner.inner
    assert find_layer(MemoryBackend("x"), ReadOnlyLayer) is None
