"""Every legal pair of layers, and some full stacks, keep the promises of the storage below them (121)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import ConfigError, PermissionDeniedError
from mediagit_storage.layers.order import LAYERS
from mediagit_storage.registry import layer_types
from mediagit_storage.storage import Storage
from mediagit_storage.testing.conformance.core import CORE
from mediagit_storage.testing.conformance.runner import check_names, run_check
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.layered_machine import QUICK, LayeredLocalMachine
from mediagit_storage.testing.stacking import LAYER_ROWS, legal, legal_pairs, make_stack
from mediagit_storage.types import Attributes, Folder

#: The registered layers, in the usual order of a stack.
NAMES = [kind.name for kind in LAYERS if kind.name in layer_types() and kind.name in LAYER_ROWS]
#: Those that can be written through.
WRITING = [name for name in NAMES if name != "readonly"]

#: Full stacks that people are told of, as far as their layers are there.
FULL = [
    stack
    for stack in (
        ("cache", "compress", "encrypt"),
        ("compress", "encrypt", "checksum", "retry"),
        ("observe", "throttle", "mirror"),
        ("checksum", "prefix"),
        ("observe", "prefix", "compress", "encrypt", "checksum", "cache", "throttle", "retry"),
    )
    if set(stack) <= set(NAMES)
]


def shown(stack: tuple[str, ...]) -> str:
    return "-over-".join(stack)


def failures(stack, checks, folder, open_inner=None):
    """The checks that a stack fails, over memory unless told otherwise."""
    found = {}
    for number, name in enumerate(checks):
        own = folder / str(number)
        own.mkdir()
        inner = open_inner or (lambda _folder: MemoryBackend("stacks"))
        try:
            error = run_check(
                name,
                lambda own=own, inner=inner: make_stack(stack, inner(own)),
                own,
                missing_bucket=lambda: make_stack(stack, MemoryBackend("missing", created=False)),
            )
        except pytest.skip.Exception:
            continue
        if error is not None:
            found[name] = error
    return found


def test_the_core_is_of_the_suite():
    assert set(check_names()) >= CORE


@covers(121)
@pytest.mark.parametrize("stack", legal_pairs(WRITING), ids=shown)
def test_every_legal_pair_passes_the_core_of_the_suite(stack, tmp_path):
    assert failures(stack, CORE, tmp_path) == {}


@covers(121)
@pytest.mark.parametrize("stack", FULL, ids=shown)
def test_full_stacks_pass_the_core_of_the_suite_over_a_folder(stack, tmp_path):
    # Local storage knows its missing root itself.
    assert failures(stack, CORE, tmp_path, lambda own: LocalBackend(own, durability="none")) == {}


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("stack", [*legal_pairs(WRITING), *FULL], ids=shown)
def test_every_legal_pair_passes_the_whole_suite(stack, tmp_path):
    assert failures(stack, check_names(), tmp_path) == {}


@covers(121)
@pytest.mark.parametrize("stack", [pair for pair in itertools.product(NAMES, NAMES) if not legal(pair)], ids=shown)
def test_every_other_pair_is_refused(stack):
    with pytest.raises(ConfigError, match="cannot be stacked so"):
        make_stack(stack, MemoryBackend("x"))


@covers(135)
@pytest.mark.parametrize("stack", [pair for pair in legal_pairs(NAMES) if "readonly" in pair], ids=shown)
def test_a_read_only_stack_reads_what_one_without_it_wrote_and_writes_nothing(stack):
    inner = MemoryBackend("x")
    writing = Storage(make_stack([name for name in stack if name != "readonly"], inner))
    objects = {"a": b"", "b/c": b"123", "b/d": bytes(range(256)) * 1000}
    kept = Attributes(content_type="image/png", metadata={"x": "y"})
    for key, data in objects.items():
        writing.put(key, data, attributes=kept)
    store = Storage(make_stack(stack, inner))
    assert [info.key for info in store.list()] == sorted(objects)
    assert [each.prefix if isinstance(each, Folder) else each.key for each in store.list_dir()] == ["a", "b/"]
    assert [each.value for each in store.get_many(objects)] == list(objects.values())
    assert store.get("b/d", offset=100, length=300_000) == objects["b/d"][100:]
    assert b"".join(store.stream("b/d")) == objects["b/d"]
    assert store.stat("b/d").size == 256_000
    assert store.stat("b/c").attributes == kept
    for change in (
        lambda: store.put("n", b"1"),
        lambda: store.delete("a"),
        lambda: store.copy("a", "n"),
        lambda: store.rename("a", "n"),
    ):
        with pytest.raises(PermissionDeniedError):
            change()
    assert [type(each.error) for each in store.delete_many(objects)] == [PermissionDeniedError] * 3
    assert [type(each.error) for each in store.put_many([("n", b"1")])] == [PermissionDeniedError]
    assert [info.key for info in writing.list()] == sorted(objects)


class StackMachine(LayeredLocalMachine):
    """Random calls through a stack over a folder, below which calls fail."""

    stack: tuple[str, ...] = ()

    def layered(self, inner):
        return make_stack(self.stack, inner)


def machine_of(names):
    return type("Machine", (StackMachine,), {"stack": names})


@covers(121)
@pytest.mark.parametrize("stack", FULL, ids=shown)
def test_full_stacks_do_what_the_model_does_over_faults(stack):
    run_state_machine_as_test(machine_of(stack), settings=settings(QUICK, max_examples=6))


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("stack", [*legal_pairs(WRITING), *FULL], ids=shown)
def test_every_legal_pair_does_what_the_model_does_over_faults(stack):
    run_state_machine_as_test(machine_of(stack), settings=settings(max_examples=50, stateful_step_count=40))
