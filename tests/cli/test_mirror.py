"""`mgs mirror`: what replicas have missed is shown, and put right from the primary."""

from __future__ import annotations

import pytest


@pytest.fixture
def folders(tmp_path, mgs):
    """The folders of the profile ``photos``: the primary and its replica."""
    folders = [tmp_path / "primary", tmp_path / "replica"]
    for folder in folders:
        folder.mkdir()
    layer = f"mirror,replicas={folders[1]},require=0"
    assert mgs("profile", "add", "photos", folders[0], "--layer", layer).code == 0
    assert mgs("put", "-", "photos:a", stdin=b"light").code == 0
    assert (folders[1] / "a").read_bytes() == b"light"
    return folders


def test_repair(mgs, folders):
    primary, replica = folders
    (primary / "b").write_bytes(b"1")
    (primary / "a").write_bytes(b"longer than it was")
    (replica / "c\nd").write_bytes(b"1")
    result = mgs("mirror", "repair", "photos:", "--dry-run")
    assert (result.code, result.lines) == (1, ["changed  1  a", "missing  1  b", "extra  1  c\\nd"])
    assert not (replica / "b").exists()
    result = mgs("mirror", "repair", "photos:", "--json")
    assert result.code == 1
    assert [(each["key"], each["kind"], each["repaired"]) for each in result.records] == [
        ("a", "changed", True),
        ("b", "missing", True),
        ("c\nd", "extra", False),
    ]
    assert (replica / "a").read_bytes() == b"longer than it was"
    result = mgs("mirror", "repair", "photos:", "--remove-extra")
    assert (result.code, result.lines) == (0, ["extra  1  c\\nd"])
    assert "1 difference repaired, 0 left" in result.err
    assert mgs("mirror", "repair", "photos:", "--thorough").lines == []


def test_status(mgs, folders):
    _, replica = folders
    (replica / "x").mkdir()
    (replica / "x" / "y").touch()
    assert mgs("put", "-", "photos:x", stdin=b"1").code == 0
    [record] = mgs("mirror", "status", "photos:", "--json").records
    assert (record["replica"], record["behind"], record["everything"]) == (1, 1, False)
    assert record["storage"].endswith(str(replica))
    assert mgs("mirror", "status", "photos:").lines[1].split()[:2] == ["1", "1"]
    (replica / "x" / "y").unlink()
    assert mgs("mirror", "repair", "photos:", "--noted").lines == ["noted  1  x"]
    assert (replica / "x").read_bytes() == b"1"
    assert mgs("mirror", "status", "photos:").lines[1].split()[:2] == ["1", "0"]


def test_a_storage_that_is_no_mirror(mgs, folders):
    for name in ("status", "repair"):
        result = mgs("mirror", name, folders[0])
        assert result.code == 2
        assert "is no mirror" in result.err
