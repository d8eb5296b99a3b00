"""Counting by folder: against a naive count, and in constant memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.keys import sort_key
from mediagit_storage.tools.usage import Usage, count_usage
from mediagit_storage.types import ObjectInfo

segments = st.sampled_from(["a", "b", "a-", "", "é"])
keys = st.lists(segments, min_size=1, max_size=5).map("/".join).filter(bool)


@given(st.dictionaries(keys, st.none() | st.integers(0, 9), max_size=40), st.integers(0, 4))
def test_folders_are_counted_as_a_naive_count_does(objects, depth):
    infos = [ObjectInfo(key, objects[key]) for key in sorted(objects, key=sort_key)]
    folders = {
        folder: Usage(folder)
        for key in objects
        for folder in [key[:end] for end in range(1, len(key) + 1) if key[end - 1] == "/"][:depth]
    }
    for info in infos:
        for folder, usage in folders.items():
            if info.key.startswith(folder):
                usage.add(info)
    *inner, total = count_usage(infos, "", depth)
    assert sorted(inner, key=lambda each: each.folder) == [folders[name] for name in sorted(folders)]
    assert total == Usage(
        "", len(objects), sum(size or 0 for size in objects.values()), sum(size is None for size in objects.values())
    )


def test_depth_counts_from_the_folder_that_is_asked_for():
    infos = [ObjectInfo(key, 1) for key in ("x", "x/a/b/1", "x/a/2", "x/c/3")]
    found = [(each.folder, each.objects) for each in count_usage(infos, "x", 1)]
    assert found == [("x/a/", 2), ("x/c/", 1), ("x", 4)]
    assert [each.folder for each in count_usage(infos[1:], "x/", 2)] == ["x/a/b/", "x/a/", "x/c/", "x/"]


def many(count: int) -> Iterator[ObjectInfo]:
    """A thousand objects a folder, a thousand folders a folder."""
    return (
        ObjectInfo(f"{number // 1_000_000:03}/{number // 1000 % 1000:03}/{number % 1000:03}", number)
        for number in range(count)
    )


def peak(count: int) -> int:
    """Bytes that counting so many takes at most."""
    tracemalloc.start()
    try:
        *_, total = count_usage(many(count), "", 1)
        assert total.objects == count
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_objects():
    assert peak(100_000) < 100_000
