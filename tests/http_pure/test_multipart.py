"""Part arithmetic: every byte once, within every limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.errors import ConfigError, LimitExceededError
from mediagit_storage.http.multipart import (
    DEFAULT_BUFFER,
    DEFAULT_PART,
    GIB,
    MIB,
    TIB,
    GrowingParts,
    Part,
    PartLimits,
    PartPlan,
    StoredPart,
    missing_parts,
    parts_in_flight,
    plan_parts,
)

S3 = PartLimits()
SMALL = PartLimits(min_part=5, max_part=50, max_parts=10, max_object=400)


@given(st.integers(0, 5 * TIB), st.integers(5 * MIB, 5 * GIB))
def test_a_plan_keeps_every_limit(size, part_size):
    plan = plan_parts(size, S3, part_size=part_size)
    assert 1 <= plan.count <= S3.max_parts
    assert part_size <= plan.part_size <= S3.max_part
    last = plan.part(plan.count)
    assert last.offset + last.length == size
    assert last.length <= plan.part_size
    assert last.length > 0 or size == 0
    assert plan.part(1).offset == 0
    # No larger than it has to be.
    if plan.part_size > part_size:
        assert (plan.part_size - MIB) * S3.max_parts < size
        assert plan.part_size % MIB == 0
    assert plan == plan_parts(size, S3, part_size=part_size)


@given(st.integers(0, 500), st.integers(1, 60))
def test_parts_cover_every_byte_once(size, part_size):
    plan = PartPlan(size, part_size)
    covered = [byte for part in plan.parts() for byte in range(part.offset, part.offset + part.length)]
    assert covered == list(range(size))
    assert [part.number for part in plan.parts()] == list(range(1, plan.count + 1))
    assert {part.length for part in plan.parts()} <= {part_size, size % part_size, 0}


def test_the_usual_sizes():
    assert plan_parts(100_000_000, S3).count == 12
    assert plan_parts(80_000 * MIB, S3) == PartPlan(80_000 * MIB, 8 * MIB)
    assert plan_parts(80_000 * MIB + 1, S3).part_size == 9 * MIB
    assert plan_parts(5 * TIB, S3).part_size == 525 * MIB
    assert list(plan_parts(0, S3).parts()) == [Part(1, 0, 0)]


@pytest.mark.parametrize("size", [5 * TIB + 1, 100 * TIB])
def test_an_object_that_cannot_be_stored_is_refused(size):
    with pytest.raises(LimitExceededError, match="most that can be stored"):
        plan_parts(size, S3)


def test_parts_that_do_not_hold_the_object():
    with pytest.raises(LimitExceededError, match="do not hold it"):
        plan_parts(600, PartLimits(min_part=5, max_part=50, max_parts=10, max_object=1000), part_size=5)


@pytest.mark.parametrize("part_size", [0, -1, 4, 51])
def test_a_part_size_that_the_provider_does_not_take(part_size):
    for call in (lambda: plan_parts(10, SMALL, part_size=part_size), lambda: GrowingParts(SMALL, first=part_size)):
        with pytest.raises(ConfigError, match="part_size"):
            call()


def test_numbers_out_of_range():
    with pytest.raises(ValueError, match="negative"):
        plan_parts(-1, S3)
    for number in (0, 3):
        with pytest.raises(ValueError, match="parts 1 to 2"):
            PartPlan(10, 5).part(number)
    with pytest.raises(ValueError, match="counted from 1"):
        GrowingParts(S3).length(0)


# ---- streams of unknown length -------------------------------------------------------------------------------------


def test_a_stream_grows_within_its_memory():
    parts = GrowingParts(S3)
    lengths = [parts.length(number) for number in range(1, S3.max_parts + 1)]
    assert lengths == sorted(lengths)
    assert lengths[0] == lengths[999] == DEFAULT_PART
    assert lengths[1000] == 2 * DEFAULT_PART
    assert max(lengths) == DEFAULT_BUFFER
    assert sum(lengths) == parts.capacity > 450 * GIB
    with pytest.raises(LimitExceededError, match="declare its size"):
        parts.length(S3.max_parts + 1)


def test_a_stream_of_equal_parts_does_not_grow():
    parts = GrowingParts(PartLimits(equal=True))
    assert {parts.length(number) for number in (1, 1000, 1001, 10_000)} == {DEFAULT_PART}
    assert parts.capacity == 10_000 * DEFAULT_PART


@given(st.integers(5, 50), st.integers(1, 100), st.booleans(), st.integers(1, 3000))
def test_growth_keeps_the_limits(first, most, equal, max_parts):
    limits = PartLimits(min_part=5, max_part=50, max_parts=max_parts, max_object=10**9, equal=equal)
    parts = GrowingParts(limits, first=first, most=most)
    lengths = [parts.length(number) for number in range(1, max_parts + 1)]
    assert all(limits.min_part <= length <= limits.max_part for length in lengths)
    assert sum(lengths) == parts.capacity
    assert max(lengths) <= max(first, most)
    assert not equal or set(lengths) == {first}


# ---- resuming ------------------------------------------------------------------------------------------------------

STORED = st.builds(StoredPart, st.integers(-1, 12), st.integers(0, 12), st.sampled_from(["a", "b"]))


@given(st.integers(0, 100), st.integers(1, 12), st.lists(STORED, max_size=15))
def test_what_is_missing_and_what_is_kept_make_the_whole(size, part_size, stored):
    plan = PartPlan(size, part_size)
    kept, missing = missing_parts(plan, stored)
    numbers = [part.number for part in kept] + [part.number for part in missing]
    assert sorted(numbers) == list(range(1, plan.count + 1))
    assert [part.number for part in kept] == sorted(part.number for part in kept)
    assert all(plan.part(part.number).length == part.size for part in kept)
    assert all(part in stored for part in kept)


@given(st.integers(1, 100), st.integers(1, 12), st.data())
def test_only_proven_parts_are_kept(size, part_size, data):
    plan = PartPlan(size, part_size)
    etags = data.draw(st.lists(st.sampled_from(["a", "b"]), min_size=plan.count, max_size=plan.count))
    stored = [StoredPart(part.number, part.length, etag) for part, etag in zip(plan.parts(), etags, strict=True)]
    known = data.draw(st.dictionaries(st.integers(1, plan.count), st.sampled_from(["a", "b"])))
    kept, missing = missing_parts(plan, stored, known=known)
    assert {part.number: part.etag for part in kept} == {
        part.number: part.etag for part in stored if known.get(part.number) == part.etag
    }
    assert len(kept) + len(missing) == plan.count


def test_of_a_part_sent_twice_the_last_counts():
    plan = PartPlan(20, 10)
    assert missing_parts(plan, [StoredPart(1, 10, "old"), StoredPart(1, 10, "new")])[0] == [StoredPart(1, 10, "new")]
    assert missing_parts(plan, [StoredPart(1, 10, "old"), StoredPart(1, 9, "new")])[0] == []


@pytest.mark.parametrize(
    ("part_size", "concurrency", "expected"),
    [
        (8 * MIB, 8, 8),
        (8 * MIB, 100, 8),
        (16 * MIB, 8, 4),
        (64 * MIB, 8, 1),
        (5 * GIB, 8, 1),
        (8 * MIB, 0, 1),
        (0, 3, 3),
    ],
)
def test_parts_in_flight(part_size, concurrency, expected):
    assert parts_in_flight(part_size, concurrency=concurrency) == expected
