"""Parts of what is sorted on disk: of references, and of what a sync remembers."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.keys import sort_key
from mediagit_storage.tools.key_ranges import EVERYTHING, KeyRange
from mediagit_storage.tools.references import function_references, sorted_names
from mediagit_storage.tools.remembered import Remembered
from mediagit_storage.tools.sorted_lines import lines_between

NAMES = st.text(st.characters(codec="utf-8") | st.sampled_from('ab/\n"\\｡😀'), min_size=1, max_size=5)
RANGES = st.builds(KeyRange, st.none() | NAMES, st.none() | NAMES)


@given(st.sets(NAMES, max_size=30), RANGES, st.integers(1, 40))
def test_a_part_of_sorted_names_is_what_a_search_would_find(names, within, most):
    expected = [name for name in sorted(names, key=sort_key) if within.holds(name)]
    with sorted_names([function_references(lambda: names)]) as kept:
        found, part = kept.between(within, most)
        assert [*kept] == sorted(names, key=sort_key), "reading all of them is as it was"
    assert found == expected[:most]
    assert part == (within if len(expected) <= most else KeyRange(within.after, found[-1]))


def test_records_may_be_longer_than_what_is_read_at_once():
    names = [letter * 100_000 for letter in "abcde"]
    with tempfile.TemporaryFile("w+", encoding="ascii") as file:
        file.writelines(json.dumps([name, 1]) + "\n" for name in names)
        found, part = lines_between(file, KeyRange(names[1], names[3]), 10)
    assert [line[0] for line in found] == names[2:4]
    assert part == KeyRange(names[1], names[3])


@given(st.sets(NAMES, max_size=30), RANGES, st.integers(1, 40))
def test_what_is_remembered_of_a_range(names, within, most):
    with tempfile.TemporaryDirectory() as folder, Remembered(Path(folder), ("a", "b")) as memory:
        for name in names:
            memory.add(name, sort_key(name))
        found, part = memory.proofs(within, most)
    expected = [sort_key(name) for name in sorted(names, key=sort_key) if within.holds(name)]
    assert found == expected[:most]
    assert part == (within if len(expected) <= most else KeyRange(within.after, found[-1].decode()))


def test_names_that_are_no_text_never_lead_backwards(tmp_path):
    names = [f"\udc80{number}" for number in range(9)] + ["a", "z"]
    with Remembered(tmp_path, ("a", "b")) as memory:
        for name in names:
            memory.add(name, sort_key(name))
        after = None
        for _ in range(20):
            within = KeyRange(after)
            _, part = memory.proofs(within, 2)
            assert part == within or within.holds(part.until)
            after = part.until
            if after is None:
                break
        else:
            pytest.fail("no end")


def test_without_a_memory_nothing_is_known():
    with Remembered(None, ("", "")) as memory:
        assert memory.proofs(EVERYTHING, 5) == ([], EVERYTHING)
