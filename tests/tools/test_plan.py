"""The plan of a sync against a naive oracle, and its rules one by one."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from itertools import count, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.errors import StorageError
from mediagit_storage.testing.covers import covers
from mediagit_storage.tools.filters import Filter, Filters
from mediagit_storage.tools.plan import Action, DeletionLimit, Found, Pair, SyncRules, listed_checksum, merge, plan
from mediagit_storage.types import Checksum, ObjectInfo

NOW = datetime(2026, 11, 1, tzinfo=UTC)
MD5 = "5d41402abc4b2a76b9719d911017c592"


def listing(objects: dict[str, ObjectInfo]) -> list[Found]:
    return [Found(name, objects[name]) for name in sorted(objects, key=os.fsencode)]


def one(source: ObjectInfo | None, target: ObjectInfo | None, rules: SyncRules | None = None) -> tuple[Action, str]:
    (step,) = plan([Pair("a/key.png", source, target)], rules or SyncRules())
    return step.action, step.reason


#: With the surrogates that bytes are spelled with which are no UTF-8: such names come from local files.
letters = st.characters(exclude_categories=["Cs"]) | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
names = st.text(letters, min_size=1, max_size=4).filter(
    lambda text: os.fsencode(text).decode("utf-8", "surrogateescape") == text
)
infos = st.builds(
    ObjectInfo,
    key=st.just("k"),
    size=st.integers(0, 2) | st.none(),
    etag=st.sampled_from([MD5, "0" * 32, "other", None]),
    modified=st.sampled_from([NOW - timedelta(days=9), NOW, None]),
)
sides = st.dictionaries(names, infos, max_size=8)


@given(source=sides, target=sides, delete=st.booleans(), size_only=st.booleans(), old=st.booleans())
def test_every_name_is_decided_once_as_the_oracle_says(source, target, delete, size_only, old):
    rules = SyncRules(
        Filters([Filter(include=False, pattern="b*")]),
        newest=NOW - timedelta(days=1) if old else None,
        delete=delete,
        size_only=size_only,
    )
    steps = list(plan(merge(listing(source), listing(target)), rules))
    assert [step.pair.name for step in steps] == sorted({*source, *target}, key=os.fsencode)
    for step in steps:
        name = step.pair.name
        ours, theirs = source.get(name), target.get(name)
        assert (step.pair.source, step.pair.target) == (ours, theirs)
        assert step.action is oracle(name, ours, theirs, rules)


def oracle(name: str, ours: ObjectInfo | None, theirs: ObjectInfo | None, rules: SyncRules) -> Action:
    known = ours or theirs
    young = rules.newest is not None and (known.modified is None or known.modified > rules.newest)
    if young or name.rpartition("/")[2].startswith("b"):
        return Action.LEAVE
    if ours is None:
        return Action.DELETE if rules.delete else Action.LEAVE
    if theirs is None:
        return Action.COPY
    sized = None not in {ours.size, theirs.size}
    if sized and ours.size != theirs.size:
        return Action.COPY
    if rules.size_only:
        return Action.EQUAL if sized else Action.COPY
    same = ours.etag == theirs.etag and ours.etag in {MD5, "0" * 32}
    return Action.EQUAL if sized and (ours.size == 0 or same) else Action.COMPARE


@given(st.lists(names, min_size=2, max_size=6))
def test_a_listing_that_does_not_grow_is_refused(found):
    side = [Found(name, ObjectInfo(name)) for name in found]
    if found == sorted(set(found), key=os.fsencode):
        assert len(list(merge(side, []))) == len(found)
    else:
        for pairs in (merge(side, []), merge([], side)):
            with pytest.raises(StorageError, match="out of order"):
                list(pairs)


def test_names_are_in_the_order_of_their_bytes():
    found = [Found(name, ObjectInfo(name)) for name in ("a", "\udcc4.jpg", "日本.jpg")]
    assert [pair.name for pair in merge(found, found)] == ["a", "\udcc4.jpg", "日本.jpg"]


def test_only_as_much_is_read_as_is_asked_for():
    endless = (Found(f"{number:09}", ObjectInfo("k", 1)) for number in count())
    assert len(list(islice(plan(merge(endless, []), SyncRules()), 5))) == 5
    assert next(endless).name == "000000005"


@covers(227)
def test_nothing_is_decided_by_time():
    old, new = ObjectInfo("k", 5, modified=NOW - timedelta(days=9)), ObjectInfo("k", 5, modified=NOW)
    for source, target in ((old, new), (new, old), (old, old)):
        assert one(source, target)[0] is Action.COMPARE


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (ObjectInfo("k", 5), None, (Action.COPY, "missing")),
        (ObjectInfo("k", 5), ObjectInfo("k", 6), (Action.COPY, "size")),
        (ObjectInfo("k", 0, etag="x"), ObjectInfo("k", 0, etag="y"), (Action.EQUAL, "size")),
        (ObjectInfo("k", 5, etag=MD5), ObjectInfo("k", 5, etag=f'"{MD5}"'), (Action.EQUAL, "checksum")),
        (ObjectInfo("k", 5, etag=MD5), ObjectInfo("k", 5, etag="0" * 32), (Action.COMPARE, "unknown")),
        (ObjectInfo("k", None, 5, etag=MD5), ObjectInfo("k", 5, etag=MD5), (Action.COMPARE, "unknown")),
        (None, ObjectInfo("k", 5), (Action.LEAVE, "extra")),
    ],
)  # fmt: skip
def test_the_decision(source, target, expected):
    assert one(source, target) == expected


def test_contents_are_compared_whatever_a_service_tells():
    same = ObjectInfo("k", 5, etag=MD5)
    assert one(same, same, SyncRules(contents=True))[0] is Action.COMPARE


def test_an_object_of_unknown_age_is_of_none():
    assert one(ObjectInfo("k", 5), None, SyncRules(oldest=NOW)) == (Action.LEAVE, "age")


@pytest.mark.parametrize(
    ("info", "digest"),
    [
        (ObjectInfo("k", 5, etag=MD5), MD5),
        (ObjectInfo("k", 5, 5, etag=f'"{MD5}"'), MD5),
        (ObjectInfo("k", 5, 9, etag=MD5), None),
        (ObjectInfo("k", 5, etag=f"{MD5}-2"), None),
        (ObjectInfo("k", 5, etag=MD5.upper()), None),
        (ObjectInfo("k", 5), None),
    ],
)  # fmt: skip
def test_the_digest_in_a_listing(info, digest):
    assert listed_checksum(info) == (None if digest is None else Checksum("md5", bytes.fromhex(digest)))


@pytest.mark.parametrize(
    ("objects", "extra", "total", "allowed"),
    [(None, 5, 10, True), (None, 6, 10, False), (None, 1, 1, False), (0, 1, 100, False), (7, 7, 7, True), (7, 8, 100, False)],
)  # fmt: skip
def test_how_much_may_be_deleted(objects, extra, total, allowed):
    assert DeletionLimit(objects).allows(extra, total) is allowed
