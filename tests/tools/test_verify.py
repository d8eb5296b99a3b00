"""What `verify` finds: every kind of damage, and nothing in what is in order."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from blake3 import blake3

import mediagit_storage as mgs
from mediagit_storage import Attributes, Storage
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.cli.main import run
from mediagit_storage.errors import (
    BucketNotFoundError,
    ConfigError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from mediagit_storage.layers.checksum import ChecksumLayer
from mediagit_storage.testing.covers import covers
from mediagit_storage.tools.filters import Filter, Filters
from mediagit_storage.tools.manifest import ManifestEntry, entries_of, manifest_lines, read_manifest
from mediagit_storage.tools.plan import SyncRules
from mediagit_storage.tools.sides import Side
from mediagit_storage.tools.verify import (
    End,
    Problem,
    VerifyRules,
    keeps_digests,
    verify_against,
    verify_copy,
    verify_store,
)

DATA = {"a": b"1", "b/c": b"", "b/d": b"d" * 3000, "large": os.urandom((1 << 20) + 7), "ü/x y": b"u"}
RULES = VerifyRules(SyncRules())


def filled(prefix: str = "") -> Storage:
    store = Storage(MemoryBackend())
    for key, content in DATA.items():
        store.put(prefix + key, content)
    return store


def problems(results) -> dict[str, Problem]:
    return {each.name: each.problem for each in results if each.problem is not None}


@pytest.fixture
def manifest(tmp_path):
    """Writes the manifest of a folder into a file."""

    def write(side: Side):
        path = tmp_path / "manifest"
        path.write_text("".join(manifest_lines(entries_of(side))))
        return path

    return write


# ---- one store


def test_what_is_in_order_is_read_and_counted():
    results = list(verify_store(Side(filled("in/"), "in/"), RULES))
    assert {each.name: each.size for each in results} == {key: len(data) for key, data in DATA.items()}
    assert problems(results) == {}


@covers(234)
@pytest.mark.parametrize("flipped", [0, 1500, 2999])
def test_one_flipped_bit_of_the_same_size_and_time_is_found(tmp_path, flipped):
    with mgs.open_storage(tmp_path / "s", create=True, layers=[{"layer": "checksum"}]) as store:
        for key, data in DATA.items():
            store.put(key, data)
        path = tmp_path / "s" / "b/d"
        before = path.stat()
        damaged = bytearray(path.read_bytes())
        damaged[flipped] ^= 1
        path.write_bytes(damaged)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        (found,) = [each for each in verify_store(Side(store), RULES) if each.problem]
    assert (found.name, found.problem) == ("b/d", Problem.DAMAGED)
    assert isinstance(found.error, IntegrityError)


@covers(234)
def test_what_no_key_opens_is_told_from_what_is_damaged(tmp_path, identity_files):
    ours, theirs = identity_files
    with mgs.open_storage(
        tmp_path / "s", create=True, layers=[{"layer": "encrypt", "identity_file": str(ours)}]
    ) as store:
        store.put("ours", b"1" * 500)
        store.put("short", b"2" * 500)
    with mgs.open_storage(tmp_path / "s", layers=[{"layer": "encrypt", "identity_file": str(theirs)}]) as store:
        store.put("theirs", b"3")
    os.truncate(tmp_path / "s" / "short", 300)
    with mgs.open_storage(tmp_path / "s", layers=[{"layer": "encrypt", "identity_file": str(ours)}]) as store:
        found = problems(verify_store(Side(store), RULES))
    assert found == {"theirs": Problem.UNDECRYPTABLE, "short": found["short"]}
    assert found["short"] in {Problem.DAMAGED, Problem.UNDECRYPTABLE}


@pytest.fixture
def identity_files(tmp_path):
    paths = tmp_path / "ours.key", tmp_path / "theirs.key"
    for path in paths:
        assert run(["keys", "generate", str(path)]) == 0
    return paths


def test_what_cannot_be_read_is_not_said_to_be_damaged():
    class Down(MemoryBackend):
        def stream(self, key, options):
            if key == "a":
                raise UnavailableError("the line is down")
            return super().stream(key, options)

    store = Storage(Down())
    for key, data in DATA.items():
        store.put(key, data)
    assert problems(verify_store(Side(store), RULES)) == {"a": Problem.UNREADABLE}


def test_a_folder_that_is_not_there_is_an_error():
    with pytest.raises(NotFoundError):
        list(verify_store(Side(filled(), "nowhere/"), RULES))


def test_where_digests_are_kept():
    plain = Storage(MemoryBackend())
    assert not keeps_digests(plain)
    assert keeps_digests(plain.with_layer(ChecksumLayer))
    assert not keeps_digests(plain.with_prefix("p/"))


# ---- two stores


@covers(234)
@pytest.mark.parametrize("quick", [False, True])
def test_everything_that_is_otherwise_in_a_copy_is_found(quick):
    source, target = filled(), filled("to/")
    source.put("typed", b"t", attributes=Attributes(content_type="text/x"))
    target.put("to/typed", b"t", attributes=Attributes(content_type="text/y"))
    source.put("lost", b"l")
    target.put("to/more", b"m")
    target.put("to/a", b"2")
    target.put("to/b/d", b"d" * 2999)
    found = problems(verify_copy(Side(source), Side(target, "to/"), VerifyRules(SyncRules(), quick=quick)))
    assert found == {
        "a": Problem.CONTENT,
        "b/d": Problem.SIZE,
        "lost": Problem.MISSING,
        "more": Problem.EXTRA,
        "typed": Problem.ATTRIBUTES,
    }
    without = VerifyRules(SyncRules(), attributes=False, quick=quick)
    assert "typed" not in problems(verify_copy(Side(source), Side(target, "to/"), without))


def test_filters_leave_out_on_both_sides():
    source, target = filled(), filled()
    target.put("b/more", b"m")
    target.put("a", b"2")
    rules = VerifyRules(SyncRules(Filters([Filter(include=False, pattern="b/")])))
    assert problems(verify_copy(Side(source), Side(target), rules)) == {"a": Problem.CONTENT}


def failing(key: str, error: Exception) -> Storage:
    class Broken(MemoryBackend):
        def stream(self, asked, options):
            if asked == key:
                raise error
            return super().stream(asked, options)

    store = Storage(Broken())
    for name, data in DATA.items():
        store.put(name, data)
    return store


@pytest.mark.parametrize(
    ("end", "error", "problem"),
    [
        (End.SOURCE, NotFoundError("gone"), Problem.EXTRA),
        (End.COPY, NotFoundError("gone"), Problem.MISSING),
        (End.SOURCE, UnavailableError("down"), Problem.UNREADABLE),
        (End.COPY, IntegrityError("other bytes"), Problem.DAMAGED),
    ],
)
def test_an_error_is_told_with_the_side_it_came_from(end, error, problem):
    broken = failing("b/d", error)
    both = (broken, filled()) if end is End.SOURCE else (filled(), broken)
    (found,) = [each for each in verify_copy(*map(Side, both), RULES) if each.problem]
    assert (found.name, found.problem, found.side) == ("b/d", problem, end)
    assert found.detail == f"the {end}: {error.message}"
    assert (found.error.key, found.error.store) == ("b/d", broken.description)


def test_a_bucket_that_goes_away_is_no_missing_object():
    gone = failing("b/d", BucketNotFoundError("no bucket"))
    for run_of in (
        lambda: verify_store(Side(gone), RULES),
        lambda: verify_copy(Side(filled()), Side(gone), RULES),
        lambda: verify_copy(Side(gone), Side(filled()), RULES),
    ):
        with pytest.raises(BucketNotFoundError):
            list(run_of())


def test_a_digest_of_an_older_object_is_not_believed():
    class Changed(MemoryBackend):
        @property
        def capabilities(self):
            return replace(super().capabilities, parallel_reads=True)

        def content_checksum(self, key, options):
            raise PreconditionError("it was written anew")

    target = Storage(Changed())
    for key, data in DATA.items():
        target.put(key, data)
    rules = VerifyRules(SyncRules(), quick=True)
    assert problems(verify_copy(Side(filled()), Side(target), rules)) == {}


# ---- a manifest


def test_equal_stores_have_the_same_manifest(tmp_path):
    with mgs.open_storage(tmp_path / "s", create=True) as store:
        for key in reversed(DATA):
            store.put(key, DATA[key])
        here = [*manifest_lines(entries_of(Side(store)))]
    assert here == [*manifest_lines(entries_of(Side(filled("x/"), "x/")))]
    assert len(here) == len(DATA) + 2


@covers(234)
def test_everything_that_is_otherwise_than_listed_is_found(manifest):
    store = filled()
    path = manifest(Side(store))
    assert problems(verify_against(Side(store), read_manifest(path), RULES)) == {}
    store.put("a", b"2")
    store.put("b/d", b"d" * 2999)
    store.put("more", b"m")
    store.delete("large")
    assert problems(verify_against(Side(store), read_manifest(path), RULES)) == {
        "a": Problem.CONTENT,
        "b/d": Problem.SIZE,
        "large": Problem.MISSING,
        "more": Problem.EXTRA,
    }


def test_ages_leave_out_what_the_store_has(manifest):
    store = filled()
    path = manifest(Side(store))
    store.put("a", b"2")
    store.put("more", b"m")
    store.delete("large")
    for rules in (
        SyncRules(newest=datetime(2001, 1, 1, tzinfo=UTC)),
        SyncRules(oldest=datetime(3001, 1, 1, tzinfo=UTC)),
    ):
        found = verify_against(Side(store), read_manifest(path), VerifyRules(rules))
        assert problems(found) == {"large": Problem.MISSING}


def test_a_manifest_that_was_cut_anywhere_is_refused(manifest):
    path = manifest(Side(filled()))
    text = path.read_bytes()
    for end in range(len(text) - 1):
        path.write_bytes(text[:end])
        with pytest.raises((ConfigError, IntegrityError)):
            read_manifest(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[:2] + lines[3:],
        lambda lines: [*lines, lines[2]],
        lambda lines: [lines[0].replace("1", "2"), *lines[1:]],
        lambda lines: [lines[0], lines[1].replace('"size":', '"size":-'), *lines[2:]],
        lambda lines: [*lines[:2], "[1]\n", *lines[3:]],
        lambda lines: [*lines[:2], "é\n", *lines[3:]],
        lambda lines: [lines[0], lines[1].replace('"a"', '"\\ud800"'), *lines[2:]],
        lambda lines: lines[1:],
    ],
)
def test_a_manifest_that_was_changed_is_refused(manifest, change):
    path = manifest(Side(filled()))
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))
    with pytest.raises((ConfigError, IntegrityError)):
        read_manifest(path)


def test_the_fields_of_a_line(manifest):
    expected = ManifestEntry("a", 1, blake3(b"1").hexdigest())
    assert next(read_manifest(manifest(Side(filled())))) == expected
