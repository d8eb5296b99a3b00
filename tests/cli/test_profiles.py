"""`mgs profile`, and profiles as arguments."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def file(tmp_path):
    return tmp_path / "config" / "mediagit-storage" / "profiles.toml"


def test_from_adding_to_removing(mgs, tree, file, monkeypatch):
    assert mgs("profile", "list").out == ""
    assert "there are no profiles yet" in mgs("profile", "list").err
    assert mgs("profile", "path").out == f"{file}\n"
    assert mgs("profile", "add", "media", "src", "--option", "durability=none").code == 0
    assert mgs("profile", "list").lines == [f"media  {tree}"]
    assert mgs("ls", "media:").lines == ["a-", "a/", "photo.jpg", "ü x"]
    monkeypatch.chdir("/")
    assert mgs("ls", "media:a").lines == ["b/", "one.png"]
    assert mgs("cp", "-r", "media:a/", "media:copy/").code == 0
    assert mgs("rm", "-r", "media:copy").code == 0
    assert 'options    {"durability": "none"}' in mgs("profile", "show", "media:").lines
    assert mgs("profile", "remove", "media").code == 0
    assert mgs("ls", "media:").code == 2


def test_paths_are_meant_from_where_they_were_said(mgs, tree, work, monkeypatch):
    assert mgs("keys", "generate", "media.key").code == 0
    (work / "password").write_text("secret\n")
    layers = ("--layer", "encrypt,identity_file=media.key", "--layer", "cache,folder=kept")
    assert mgs("profile", "add", "sealed", "sealed", *layers).code == 0
    login = ("--option", "username=me", "--secret", "password=file:password")
    assert mgs("profile", "add", "nas", "davs://dav.example.org/x", *login).code == 0
    shown = mgs("profile", "show", "sealed").out
    assert f'"{work}/media.key"' in shown
    assert f'"{work}/kept"' in shown
    assert f'{{"file": "{work}/password"}}' in mgs("profile", "show", "nas").out
    monkeypatch.chdir("/")
    assert mgs("mb", "sealed:").code == 0
    assert mgs("put", str(tree / "photo.jpg"), "sealed:x").code == 0
    assert mgs("profile", "add", "home", "~/x", "--layer", "encrypt,identity_file=~/none").code == 2


@pytest.mark.parametrize(
    "url", ["s3://bucket?endpoint=https://s3.example.org", "s3://bucket?service=seaweedfs&endpoint=https://host:8333"]
)
def test_what_a_profile_may_name_it_may_be_added_with(mgs, monkeypatch, url):
    """A server that only a URL names gets no credentials of the environment; a profile is the user's own word."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    assert "use a profile" in mgs("ls", url).err
    assert mgs("profile", "add", "media", url).code == 0
    assert mgs("presign", "media:x").out.startswith("https://")


def test_a_dry_run_writes_nothing(mgs, tree, file):
    assert "would add" in mgs("profile", "add", "-n", "media", "src").err
    assert not file.exists()
    mgs("profile", "add", "media", "src")
    assert "would remove" in mgs("profile", "remove", "-n", "media").err
    assert mgs("profile", "list").lines


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["media", "src", "--option", "nope=1"], "has no option 'nope'"),
        (["media", "src", "--option", "durability=often"], "durability"),
        (["media", "src", "--layer", "nope"], "unknown layer 'nope'"),
        (["media", "src", "--secret", "token=hunter2"], "it never takes the secret"),
        (["s3", "src"], "is a URL scheme"),
        (["m", "src"], "cannot be the name of a profile"),
        (["media", "foo://x"], "unknown scheme"),
    ],
)
def test_what_would_not_work_is_found_when_it_is_added(mgs, tree, file, arguments, words):
    result = mgs("profile", "add", *arguments)
    assert result.code == 2
    assert words in result.err
    assert "hunter2" not in result.err
    assert not file.exists()


def test_secrets_are_not_shown(mgs, file):
    file.parent.mkdir(parents=True)
    file.write_text(
        '[media]\nurl = "s3://bucket"\nsecret_access_key = "CANARY"\npassword = { env = "PW" }\n'
        '[[media.layers]]\nlayer = "encrypt"\nsecret = "CANARY"\n'
    )
    os.chmod(file, 0o600)
    for arguments in (["show", "media"], ["show", "media", "--json"], ["list", "--json"], ["list", "-v"]):
        result = mgs("profile", *arguments)
        assert result.code == 0
        assert "CANARY" not in result.out + result.err
    assert '"PW"' in mgs("profile", "show", "media").out


def test_an_unknown_profile_lists_the_known_ones(mgs, tree):
    mgs("profile", "add", "media", "src")
    for arguments in (["ls", "medai:x"], ["profile", "show", "medai"], ["profile", "remove", "medai"]):
        result = mgs(*arguments)
        assert result.code == 2
        assert "known: media" in result.err


def test_a_warning_is_one_line_for_people(mgs, tree, monkeypatch):
    """A secret that is written into the file itself works, and is warned of."""
    import warnings

    from mediagit_storage import LiteralSecretWarning
    from mediagit_storage.storage import Storage

    stat = Storage.stat

    def warning_stat(self, key, *, version=None):
        warnings.warn("the profile holds a secret itself", LiteralSecretWarning, stacklevel=1)
        return stat(self, key, version=version)

    monkeypatch.setattr(Storage, "stat", warning_stat)
    assert mgs("stat", "src/photo.jpg").err == "mgs: warning: the profile holds a secret itself\n"
    assert mgs("stat", "--json", "src/photo.jpg").err == ""
