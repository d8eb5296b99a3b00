"""What pages read of a storage: little, in order, and nothing twice; what they make of it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import ConnectionLostError, PermissionDeniedError
from mediagit_storage.serve.console.listing import found_page, listed_page, name_of, versions_of
from mediagit_storage.serve.console.previews import Kind, content_type_of, kind_of, text_of
from mediagit_storage.serve.console.seeing import Wanted, see
from mediagit_storage.storage import Storage
from mediagit_storage.types import Attributes, ByteRange, Folder, ObjectInfo


def filled(*keys: str) -> Storage:
    store = Storage(MemoryBackend(), keys="raw")
    for key in keys:
        store.put(key, b"x")
    return store


# ---- listings


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
def test_pages_of_a_folder_are_the_folder(limit):
    keys = ["a", "b/1", "b/2", "b0", "c//d", "c/", "é"]
    store = filled(*keys)
    seen, after = [], None
    while True:
        page = listed_page(store, "", after, limit)
        assert len(page.entries) <= limit
        seen += [name_of(entry) for entry in page.entries]
        after = page.after
        if after is None:
            break
    assert seen == ["a", "b/", "b0", "c/", "é"]


class Endless:
    """A storage with more keys than anybody has seen; it counts those that were asked for, and whether it was left."""

    def __init__(self) -> None:
        self.given = 0
        self.left = 0

    def _keys(self):
        try:
            for self.given in itertools.count(1):
                yield ObjectInfo(f"{self.given:09}", 1)
        finally:
            self.left += 1

    def list_dir(self, prefix, **_):
        return self._keys()

    def list(self, prefix, **_):
        return self._keys()


def test_a_page_of_a_folder_without_end_is_cheap():
    store = Endless()
    page = listed_page(store, "", None, 200)
    assert (len(page.entries), page.after, store.given, store.left) == (200, "000000200", 201, 1)


def test_a_search_ends_and_says_where():
    store = Endless()
    page = found_page(store, "", None, "no such name", now=lambda: 0.0, most=1000)
    assert (page.entries, page.after, page.looked, page.stopped, store.left) == ([], "000001000", 1000, True, 1)
    times = itertools.count(0.0, 0.5)
    page = found_page(store, "", None, "7", now=lambda: next(times), seconds=4.9)
    assert page.stopped
    assert page.looked == 10
    assert [name_of(each) for each in page.entries] == ["000000007"]
    full = found_page(store, "", None, "1", now=lambda: 0.0, limit=3)
    assert ([name_of(each) for each in full.entries], full.after, full.stopped) == (
        ["000000001", "000000010", "000000011"], "000000011", False,
    )  # fmt: skip


def test_a_search_looks_below_and_not_above():
    store = filled("dawn/x", "a/Dawn.png", "a/b/c/DAWN", "a/noon")
    page = found_page(store, "a/", None, "dawn", now=lambda: 0.0)
    assert [name_of(each) for each in page.entries] == ["a/Dawn.png", "a/b/c/DAWN"]
    assert (page.after, page.stopped) == (None, False)


def test_versions_of_one_key_only():
    backend = MemoryBackend()
    backend.create(versioning=True)
    store = Storage(backend)
    for key, data in (("a", b"1"), ("a", b"22"), ("ab", b"3"), ("a", b"333")):
        store.put(key, data)
    store.delete("a")
    infos, more = versions_of(store, "a", 10)
    assert [(each.deleted, each.size) for each in infos][1:] == [(False, 3), (False, 2), (False, 1)]
    assert infos[0].deleted
    assert not more
    assert versions_of(store, "a", 2)[1]


# ---- previews


@pytest.mark.parametrize(
    ("key", "said", "kind"),
    [
        ("a.png", None, Kind.PICTURE),
        ("a", "image/png", Kind.PICTURE),
        ("a.svg", None, Kind.PICTURE),
        ("a.tiff", None, Kind.OTHER),
        ("a.mp4", None, Kind.VIDEO),
        ("a.mp4", "application/octet-stream", Kind.VIDEO),
        ("a.wav", None, Kind.AUDIO),
        ("a.html", None, Kind.TEXT),
        ("a", "TEXT/HTML; charset=utf-8", Kind.TEXT),
        ("a.json", None, Kind.TEXT),
        ("a", "application/ld+json", Kind.TEXT),
        ("a.md", None, Kind.TEXT),
        ("a.csv", None, Kind.TEXT),
        ("a.pdf", None, Kind.DOCUMENT),
        ("a.tar.gz", None, Kind.ARCHIVE),
        ("LICENSE", None, Kind.OTHER),
        ("a.ts", None, Kind.TEXT),
    ],
)
def test_kinds(key, said, kind):
    assert kind_of(ObjectInfo(key, attributes=Attributes(content_type=said))) is kind


def test_what_is_stored_compressed_is_no_text():
    info = ObjectInfo("a.json", attributes=Attributes("application/json", content_encoding="gzip"))
    assert (kind_of(info), content_type_of(info)) == (Kind.OTHER, "application/json")


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), min_size=1), st.integers(0, 100))
def test_a_text_that_is_cut_has_no_broken_end(text, end):
    data = text.encode()
    cut = text_of(data[:end], cut=True, sure=True)
    assert cut is not None
    assert text.startswith(cut)
    assert len(data[:end]) - len(cut.encode()) < 4


@pytest.mark.parametrize(
    ("data", "sure", "text"),
    [
        (b"\xef\xbb\xbfhello", True, "hello"),
        (b"caf\xe9", True, "caf\ufffd"),
        (b"caf\xe9", False, None),
        (b"a\0b", True, None),
        (b"a\x01b", False, None),
        (b"\x1b[1mcolour\r\n\t", False, "\x1b[1mcolour\r\n\t"),
        (b"", True, ""),
    ],
)
def test_what_is_text(data, sure, text):
    assert text_of(data, cut=False, sure=sure) == text


def wanted(key: str, **more) -> Wanted:
    return Wanted(key, **{"version": None, "large": False, "versions": False, **more})


class Watched(MemoryBackend):
    """Writes down what is read of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[object] = []

    def stat(self, key, version=None):
        self.asked.append("stat")
        return super().stat(key, version)

    def read(self, key, options):
        self.asked.append(options.range)
        return super().read(key, options)


def test_a_preview_reads_no_more_than_it_shows():
    backend = Watched()
    store = Storage(backend)
    store.put("long.txt", b"line\n" * 200_000)
    store.put("film.mp4", b"x" * 1_000_000)
    store.put("unknown", b"x" * 1_000_000)
    seen = see(store, wanted("long.txt"))
    assert seen.text is not None
    assert len(seen.text) == 256 * 1024
    for key in ("film.mp4", "unknown"):
        assert see(store, wanted(key)).text is None
    assert backend.asked == ["stat", ByteRange(None, 256 * 1024), "stat", "stat"]


class Moody(MemoryBackend):
    """Tells of objects, and does not give them out."""

    def read(self, key, options):
        raise ConnectionLostError("connect to 10.1.2.3:9000: refused")

    def list(self, prefix, options):
        raise PermissionDeniedError("arn:aws:iam::1234:user/me may not ListBucketVersions")


def test_what_cannot_be_read_is_told_beside_what_is_known():
    store = Storage(Moody())
    store.put("a.txt", b"text")
    seen = see(store, wanted("a.txt", versions=True))
    assert seen.info.size == 4
    assert seen.problem is not None
    assert seen.problem.startswith("The storage cannot be reached.")
    assert seen.versions is not None
    assert seen.versions.problem is not None
    for text in (seen.problem, seen.versions.problem):
        assert "10.1.2.3" not in text
        assert "arn:" not in text


def test_entries_have_names():
    assert [name_of(each) for each in (Folder("a/"), ObjectInfo("a/b"))] == ["a/", "a/b"]
