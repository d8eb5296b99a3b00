"""`mgs cache`: what the folders of caches hold is shown, and thrown away when that is asked for."""

from __future__ import annotations

import os

import pytest

from mediagit_storage import open_storage
from mediagit_storage.journal import lock_file


@pytest.fixture
def folder(tmp_path, mgs):
    """The folder of the profile ``media``'s cache, with one object in it that was found there once."""
    (tmp_path / "objects").mkdir()
    place = tmp_path / "cache"
    layer = f"cache,folder={place},memory_bytes=0,validate=immutable"
    assert mgs("profile", "add", "media", tmp_path / "objects", "--layer", layer).code == 0
    assert mgs("profile", "add", "plain", tmp_path / "objects").code == 0
    assert mgs("put", "-", "media:a", stdin=b"x" * 3000).code == 0
    for _ in range(2):
        assert mgs("cat", "media:a").raw == b"x" * 3000
    return place


@pytest.mark.parametrize("how", [[], ["media:"], ["--folder", "FOLDER"], ["media:", "--folder", "FOLDER"]])
def test_stats(mgs, folder, how):
    arguments = [str(folder) if each == "FOLDER" else each for each in how]
    [record] = mgs("cache", "stats", *arguments, "--json").records
    assert record["folder"] == str(folder)
    assert (record["entries"], record["evictions"], record["heals"]) == (2, 0, 0)
    assert record["bytes"] > 3000
    assert record["hits"] > 0
    head, line = mgs("cache", "stats", *arguments).lines
    assert head.split() == ["bytes", "files", "found", "evicted", "healed", "folder"]
    assert line.endswith(str(folder))


def test_clear(mgs, folder):
    dry = mgs("cache", "clear", "--dry-run")
    assert "would remove 2 files" in dry.err
    assert mgs("cache", "stats", "--json").records[0]["entries"] == 2
    assert "removed 2 files" in mgs("cache", "clear").err
    [record] = mgs("cache", "stats", "--json").records
    assert (record["entries"], record["bytes"], record["hits"]) == (0, 0, 0)
    assert mgs("cat", "media:a").raw == b"x" * 3000


def test_clear_as_json(mgs, folder):
    [record] = mgs("cache", "clear", "media:", "--json").records
    assert record["entries"] == 2


def test_a_cache_that_nobody_used_is_empty(mgs, folder):
    assert mgs("cache", "clear").code == 0
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
    assert mgs("cache", "stats", "media:", "--json").records[0]["entries"] == 0
    assert mgs("cache", "clear", "media:").code == 0
    assert not folder.exists()


def test_what_is_no_cache_is_refused(mgs, folder, tmp_path):
    for arguments in (["plain:"], ["--folder", tmp_path]):
        for name in ("stats", "clear"):
            result = mgs("cache", name, *arguments)
            assert result.code == 2
            assert "cache" in result.err
    assert (tmp_path / "objects" / "a").exists()


def test_without_any_cache(mgs):
    result = mgs("cache", "stats")
    assert (result.code, result.out) == (0, "")
    assert "no profile has a cache" in result.err


def test_a_cache_that_is_being_written_all_the_time(mgs, folder):
    lock = lock_file(folder / "usage")
    try:
        assert mgs("cache", "clear").code == 5
    finally:
        os.close(lock)
    with open_storage(folder.parent / "objects") as store:
        assert store.exists("a")
