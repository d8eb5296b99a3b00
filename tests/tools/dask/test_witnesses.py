"""Whether who looks later sees the same storage: some objects tell, as long as one of them is there."""

from __future__ import annotations

import pytest

from mediagit_storage import Storage
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.tools.dask.witnesses import ElsewhereError, check_seen, missing, sides_seen, witnesses_of
from mediagit_storage.tools.sides import Side


@pytest.fixture
def side():
    with Storage(MemoryBackend()) as store:
        for number in range(7):
            store.put(f"in/{number}", b"%d" % number)
        yield Side(store, "in/")


def test_one_of_them_is_enough(side):
    seen = witnesses_of([side])
    assert [each.key for each in seen] == [f"in/{number}" for number in range(5)]
    check_seen([side], seen, "here")
    for each in seen[1:]:
        side.store.delete(each.key)
    assert not missing([side], seen)
    side.store.put("in/0", b"another")
    assert missing([side], seen), "what went meanwhile is no sign of another storage: who started looks first"
    assert [each.key for each in witnesses_of([side])] == ["in/0", "in/5", "in/6"]


def test_another_storage_is_told_and_an_empty_one_has_no_witness(side):
    with Storage(MemoryBackend()) as other:
        sides = [side, Side(other)]
        seen = witnesses_of(sides)
        assert sides_seen(seen) == {0}
        check_seen(sides, seen, "here")
        with pytest.raises(ElsewhereError, match="not empty"):
            check_seen([side, side], seen, "there")
        with pytest.raises(ElsewhereError, match="worker there"):
            check_seen([Side(other), side], seen, "there")
        for each in seen:
            # The same bytes under the same names: a replica has them later.
            other.put(each.key, side.store.get(each.key))
        assert {other.stat(each.key).etag for each in seen} == {each.etag for each in seen}
        with pytest.raises(ElsewhereError):
            check_seen([Side(other), Side(Storage(MemoryBackend()))], seen, "there")
