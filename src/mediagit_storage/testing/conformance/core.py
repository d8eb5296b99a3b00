"""The core of the suite: what a stack or a variant of a storage passes each time, where another passes all of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["CORE", "is_beyond_core"]

#: Each way that bytes, sizes, attributes, conditions, listings and batches go; in memory well under a second together.
CORE: Final = frozenset(
    {
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
    }
)

_SUITE: Final = __name__.rpartition(".")[0]


def is_beyond_core(check: Callable[..., object]) -> bool:
    """Whether a test is a check of the suite and not of its core; what a class adds or writes anew is its own."""
    return check.__module__.startswith(_SUITE) and check.__name__ not in CORE
