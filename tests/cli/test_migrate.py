"""``mgs migrate`` as people meet it, and what a cutover makes of a profile."""

from __future__ import annotations

import pytest

from mediagit_storage.config import load_profiles

PROFILES = """\
# Where the films are.
[media]
url = "{root}/old"

[next]
url = "{root}/new"
layout = "sharded"
"""


@pytest.fixture
def profiles(work, tmp_path, monkeypatch):
    path = tmp_path / "profiles.toml"
    path.write_text(PROFILES.format(root=work))
    monkeypatch.setenv("MGS_CONFIG", str(path))
    for name in ("old/a", "old/b/c"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(name)
    (work / "new").mkdir()
    return path


def test_everything_arrives_and_is_proven(mgs, profiles):
    result = mgs("migrate", "media:", "next:", "--create", "--json", "--report", "report.jsonl")
    assert result.code == 0, result.err
    summary = result.records[-1]
    assert (summary["objects"], summary["proven"], summary["failed"]) == (2, 2, 0)
    assert mgs("cat", "next:b/c").out == "old/b/c"
    assert "2 objects are equal in every byte" in mgs("migrate", "media:", "next:").err


def test_a_dry_run_tells_what_would_travel(mgs, profiles, work):
    result = mgs("migrate", "media:", f"{work}/other", "-n")
    assert (result.code, "would have copied 2 objects" in result.err) == (0, True)
    assert not (work / "other").exists()


@pytest.mark.parametrize("target", ["next:", "path"])
def test_a_cutover_lets_the_profile_lead_to_both(mgs, profiles, work, target):
    place = f"{work}/elsewhere" if target == "path" else target
    result = mgs("migrate", "media:", place, "--create", "--cutover", "media")
    assert result.code == 0, result.err
    assert "'media-old'" in result.err
    found = load_profiles().by_name
    assert set(found) == {"media", "media-old", "next"}
    assert found["media"].layers == ({"layer": "migrating", "old": "media-old:"},)
    assert "# Where the films are." in profiles.read_text()
    (work / "old" / "late").write_text("written to the old place")
    assert mgs("cat", "media:late").out == "written to the old place"
    assert mgs("put", "-", "media:fresh", stdin=b"n").code == 0
    assert [line.split()[-1] for line in mgs("ls", "-r", "media:").lines] == ["a", "b/c", "fresh", "late"]
    assert not (work / "old" / "fresh").exists()


def test_layers_of_the_new_place_keep_their_order(mgs, profiles, work):
    with profiles.open("a") as file:
        file.write('[[next.layers]]\nlayer = "cache"\n[[next.layers]]\nlayer = "compress"\n')
    assert mgs("migrate", "media:", "next:", "--create", "--cutover", "media").code == 0
    names = [layer["layer"] for layer in load_profiles().by_name["media"].layers]
    assert names == ["cache", "migrating", "compress"]
    assert mgs("cat", "media:b/c").out == "old/b/c"


def test_layers_that_cannot_stand_there_are_refused_before_anything_is_copied(mgs, profiles, work):
    with profiles.open("a") as file:
        file.write('[[next.layers]]\nlayer = "compress"\n[[next.layers]]\nlayer = "cache"\n')
    result = mgs("migrate", "media:", "next:", "--create", "--cutover", "media")
    assert (result.code, "cache" in result.err) == (2, True)
    assert not any((work / "new").rglob("*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("media:", "next:", "--cutover", "nobody"), "no profile 'nobody'"),
        (("media:", "next:", "--cutover", "next"), "does not lead to what is migrated"),
        (("media:b/", "next:", "--cutover", "media"), "does not lead to what is migrated"),
        (("media:", "next:folder/", "--cutover", "media"), "a whole profile or a URL"),
        (("media:", "media:b/"), "itself"),
    ],
)
def test_mistakes_are_named_before_anything_is_copied(mgs, profiles, work, arguments, said):
    before = profiles.read_text()
    result = mgs("migrate", *arguments, "--create")
    assert result.code == 2
    assert said in result.err
    assert profiles.read_text() == before
    assert not any((work / "new").rglob("*"))
