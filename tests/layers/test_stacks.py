"""Every legal pair of layers, and some full stacks, keep the promises of the storage below them (121)."""

from __future__ import annotations

import itertools

import pytest

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import ConfigError, PermissionDeniedError
from mediagit_storage.layers.order import LAYERS
from mediagit_storage.registry import layer_types
from mediagit_storage.storage import Storage
from mediagit_storage.testing.conformance.runner import check_names, run_check
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.stacking import LAYER_ROWS, legal, legal_pairs, make_stack
from mediagit_storage.types import Attributes, Folder

#: The registered layers, in the usual order of a stack.
NAMES = [kind.name for kind in LAYERS if kind.name in layer_types() and kind.name in LAYER_ROWS]
#: Those that can be written through.
WRITING = [name for name in NAMES if name != "readonly"]

#: The core of the suite: each way bytes, sizes, conditions, listings and batches go, in well under a second together.
CORE = (
    "test_a_cancelled_scope_makes_no_io",
    "test_a_copy_is_the_same_and_the_source_stays",
    "test_a_create_only_copy",
    "test_a_delete_on_condition",
    "test_a_deleted_object_is_gone_for_every_call",
    "test_a_failing_source_stores_nothing",
    "test_a_missing_bucket_is_told_from_a_missing_key",
    "test_a_part_tells_where_it_starts_and_how_large_the_object_is",
    "test_a_pickle_leads_to_the_same_objects_or_is_refused",
    "test_a_refused_create_has_no_side_effect",
    "test_a_rename_moves_everything",
    "test_a_stream_is_of_one_version",
    "test_a_wrong_declared_checksum_stores_nothing",
    "test_all_attributes_make_the_round_trip",
    "test_an_empty_object_is_an_object",
    "test_awkward_keys_come_back_exactly",
    "test_connection_info_is_json",
    "test_create_only_batches",
    "test_create_only_meets_an_object",
    "test_deleting_many",
    "test_every_item_is_answered_in_order",
    "test_every_kind_of_source",
    "test_many_ranges_at_once",
    "test_one_level",
    "test_reading_a_missing_key_is_not_found",
    "test_reads_on_condition",
    "test_start_after_is_exclusive",
    "test_stat_list_and_put_tell_the_same",
    "test_the_edges_of_a_small_object",
    "test_what_cannot_be_kept_is_refused",
)

#: Full stacks that people are told of, as far as their layers are there.
FULL = [
    stack
    for stack in (
        ("cache", "compress", "encrypt"),
        ("compress", "encrypt", "checksum", "retry"),
        ("observe", "throttle", "prefix"),
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
    assert set(CORE) <= set(check_names())


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
