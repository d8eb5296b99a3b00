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


def test_profiles_that_nobody_can_read_keep_nobody_from_migrating(mgs, profiles, work, monkeypatch):
    monkeypatch.setenv("MGS_CONFIG", str(work / "nowhere.toml"))
    assert mgs("migrate", f"{work}/old", f"{work}/new").code == 0


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


def test_what_comes_late_overwrites_nothing_newer(mgs, profiles, work):
    assert mgs("migrate", "media:", f"{work}/new", "--cutover", "media").code == 0
    assert mgs("put", "-", "media:a", stdin=b"newer").code == 0
    (work / "old" / "late").write_text("late")
    for target in (f"{work}/new", "next:"):
        refused = mgs("migrate", "media-old:", target)
        assert (refused.code, "--no-overwrite" in refused.err) == (2, True)
    assert "reads from an old place" in mgs("migrate", "media-old:", "media:", "--no-overwrite").err
    result = mgs("migrate", "media-old:", f"{work}/new", "--no-overwrite", "--json")
    assert result.code == 0, result.err
    assert [(each["name"], each["status"]) for each in result.records[:-1]] == [("late", "copied"), ("a", "kept")]
    assert (result.records[-1]["kept"], result.records[-1]["failed"]) == (1, 0)
    assert [mgs("cat", f"{work}/new/{name}").out for name in ("a", "late")] == ["newer", "late"]


@pytest.mark.parametrize("layer", ["checksum", "compress"])
def test_layers_are_neither_forgotten_nor_dropped(mgs, profiles, work, layer):
    text = profiles.read_text().replace("[next]", f'[[media.layers]]\nlayer = "{layer}"\n\n[next]')
    profiles.write_text(text)
    raw = mgs("migrate", f"{work}/old", "next:", "--cutover", "media")
    assert (raw.code, "through other layers" in raw.err) == (2, True)
    bare = mgs("migrate", "media:", "next:", "--cutover", "media", "-n")
    assert (bare.code, "has the layer checksum" in bare.err) == ((2, True) if layer == "checksum" else (0, False))
    assert profiles.read_text() == text
    assert not any((work / "new").rglob("*"))


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
        (("media:", "next:", "--cutover", "media", "--include", "*.png"), "neither filters nor ages"),
        (("media:", "next:", "--cutover", "media", "--min-age", "1d"), "neither filters nor ages"),
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
