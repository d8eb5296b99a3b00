"""Ranges of names: they cover every name exactly once, and are found by few questions."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mediagit_storage import Storage
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.keys import sort_key
from mediagit_storage.tools.key_ranges import EVERYTHING, KeyRange, Stretch, cut, divided, midpoint, sampled
from mediagit_storage.tools.plan import Found, Portion
from mediagit_storage.tools.sides import Side
from mediagit_storage.types import ObjectInfo

#: Characters around every place where orders of text differ: by bytes, by UTF-16, and those of names that are no UTF-8.
ODD = st.sampled_from("\x01 !/09AZaz~\x7f\x80éÿ\u0800\ud7ff\ue000\uf8ff｡\uffff\U00010000😀\U0010ffff\udc80\udcff")
NAMES = st.text(ODD | st.characters(codec="utf-8"), min_size=1, max_size=6)
RANGES = st.builds(KeyRange, st.none() | NAMES, st.none() | NAMES)


def asking(names):
    """What a listing would answer, and how often it was asked."""
    ordered = sorted(names, key=sort_key)
    keys = [sort_key(name) for name in ordered]
    asked = []

    def next_after(name):
        asked.append(name)
        index = bisect_right(keys, sort_key(name))
        return ordered[index] if index < len(ordered) else None

    return next_after, asked


@given(RANGES, st.lists(NAMES, max_size=8), NAMES)
def test_a_name_lies_in_one_part_exactly_if_it_lies_in_the_whole(within, bounds, name):
    parts = cut(within, bounds)
    assert sum(part.holds(name) for part in parts) == within.holds(name)
    for bound in bounds:
        assert sum(part.holds(bound) for part in parts) == within.holds(bound)


@given(NAMES, st.none() | NAMES)
def test_the_middle_lies_between_and_can_be_sent(low, high):
    middle = midpoint(low, high)
    assume(middle is not None)
    assert sort_key(low) <= sort_key(middle)
    assert high is None or sort_key(middle) < sort_key(high)


def test_the_middle_of_names_that_are_spread_evenly():
    assert midpoint("a", "c") == "b"
    assert midpoint("photos/2020", "photos/2028") == "photos/2024"
    assert midpoint("0", "f") in {"J", "K"}
    assert midpoint("a", "a") is None
    assert midpoint("b", "a") is None
    # Not every range has one that could be told a service.
    assert midpoint("a", "a\x01") in {None, "a"}


@given(st.sets(NAMES, min_size=1, max_size=40), st.integers(1, 12), NAMES)
def test_sampled_stretches_part_all_names_also_those_that_come_later(names, count, later):
    next_after, _ = asking(names)
    first = min(names, key=sort_key)
    stretches = sampled(EVERYTHING, count, next_after, first=first)
    assert 1 <= len(stretches) <= count
    ranges = [stretch.within for stretch in stretches]
    assert ranges[0].after is None
    assert ranges[-1].until is None
    assert all(one.until == other.after for one, other in pairwise(ranges))
    for name in {*names, later}:
        assert sum(each.holds(name) for each in ranges) == 1
    if len(ranges) > 1:
        assert all(any(each.holds(name) for name in names) for each in ranges), "none is empty"


@pytest.mark.parametrize("spelled", ["media/2026/shot-{:07}.exr", "{:032x}", "{:03}/frame", "日本/{:05}"])
def test_few_questions_find_ranges_however_much_names_have_in_common(spelled):
    next_after, asked = asking([spelled.format(number) for number in range(300)])
    stretches = sampled(EVERYTHING, 16, next_after, first=next_after(""))
    assert len(stretches) == 16
    assert len(asked) <= 16 * 12


def test_a_stretch_of_one_name_stays_whole():
    next_after, asked = asking(["only"])
    assert divided(Stretch(EVERYTHING, "only", None), next_after, 40) is None
    assert len(asked) <= 40


@given(st.sets(NAMES.filter(lambda name: name.isprintable() and "/" not in name and name not in {".", ".."}), max_size=20),
       st.lists(NAMES, max_size=4))  # fmt: skip
def test_sides_of_parts_list_together_what_the_whole_lists(names, bounds):
    with Storage(MemoryBackend()) as store:
        for name in names:
            store.put(f"folder/{name}", b"")
            store.put(f"other/{name}", b"")
        whole = [found.name for found in Side(store, "folder/").listed()]
        parts = [Side(store, "folder/", part) for part in cut(EVERYTHING, bounds)]
        assert [found.name for part in parts for found in part.listed()] == whole == sorted(names, key=sort_key)


def test_a_server_that_begins_at_the_beginning_whatever_it_is_told(monkeypatch):
    with Storage(MemoryBackend()) as store:
        for name in "abcd":
            store.put(f"in/{name}", b"")
        listed = store.list
        monkeypatch.setattr(store, "list", lambda prefix, start_after: listed(prefix))
        assert [found.name for found in Side(store, "in/", KeyRange("b", "c")).listed()] == ["c"]


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 10), st.integers(1, 30))
def test_portions_follow_each_other_to_the_end(sizes, names, size):
    items = [Found(f"{index:03}", ObjectInfo(f"{index:03}", each)) for index, each in enumerate(sizes)]
    seen, after = [], ""
    while True:
        portion = Portion(names, size)
        part = [*portion.of((each for each in items if each.name > after), lambda found: found.info.size)]
        assert len(part) <= names
        assert sum(found.info.size for found in part[:-1]) < size
        seen += part
        if portion.reached is None:
            break
        assert portion.reached == part[-1].name
        after = portion.reached
    assert seen == items
