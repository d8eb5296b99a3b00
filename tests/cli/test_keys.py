"""`mgs keys`: key files are made once, for their owner only, and show no secret."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from mediagit_storage.layers.encrypt.keys import PassphraseRecipient, generate_identity
from mediagit_storage.layers.encrypt.whole import encrypt
from mediagit_storage.secrets import Secret
from mediagit_storage.testing.covers import covers

#: Public keys of tests.
TEAM = [str(generate_identity().recipient()) for _ in range(3)]


@covers(198)
def test_a_new_identity(mgs):
    made = mgs("keys", "generate", "keys/my.key")
    assert made.code == 0
    path = Path("keys/my.key")
    text = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert made.lines[0].startswith("age1")
    assert f"# public key: {made.lines[0]}\n" in text
    assert "AGE-SECRET-KEY-1" in text
    assert "SECRET" not in made.out + made.err
    assert "keep a copy" in made.err
    assert mgs("keys", "list", "keys/my.key").lines == made.lines
    shown = mgs("stat", "keys/my.key")
    assert "SECRET" not in shown.out


def test_a_key_file_is_never_overwritten(mgs):
    Path("my.key").write_text("something else")
    for arguments in ([], ["--dry-run"]):
        refused = mgs("keys", "generate", "my.key", *arguments)
        assert refused.code != 0
        assert "never overwritten" in refused.err
    assert Path("my.key").read_text() == "something else"
    Path("link.key").symlink_to("nowhere")
    assert mgs("keys", "generate", "link.key").code != 0
    assert not Path("nowhere").exists()


def test_a_dry_run_makes_and_shows_no_key(mgs):
    result = mgs("keys", "generate", "my.key", "--dry-run")
    assert (result.code, result.out) == (0, "")
    assert "would make" in result.err
    assert not Path("my.key").exists()


def test_post_quantum_keys_and_json(mgs):
    [record] = mgs("keys", "generate", "pq.key", "--post-quantum", "--json").records
    assert record["recipient"].startswith("age1pq1")
    assert (record["type"], record["kind"], record["file"]) == ("key", "post-quantum", "pq.key")
    [again] = mgs("keys", "list", "pq.key", "--json").records
    assert again == record


def test_a_protected_key_file(mgs, monkeypatch):
    monkeypatch.setenv("MY_PASSPHRASE", "canary-passphrase")
    made = mgs("keys", "generate", "my.key", "--passphrase-env", "MY_PASSPHRASE")
    assert made.code == 0
    assert b"SECRET" not in Path("my.key").read_bytes()
    assert mgs("keys", "list", "my.key", "--passphrase-env", "MY_PASSPHRASE").lines == made.lines
    monkeypatch.setenv("MY_PASSPHRASE", "canary-other")
    wrong = mgs("keys", "list", "my.key", "--passphrase-env", "MY_PASSPHRASE")
    assert wrong.code != 0
    assert "the passphrase does not open" in wrong.err
    assert "canary" not in made.out + made.err + wrong.out + wrong.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "a.key", "--passphrase"], "no terminal"),
        (["generate", "a.key", "--passphrase", "--passphrase-env", "X"], "give one of them"),
        (["generate", "a.key", "--passphrase-env", "NOT_SET"], "NOT_SET is not set"),
        (["list", "missing.key"], "cannot be read"),
        (["list", "other.txt"], "line 1"),
        (["add", "team.txt", "nonsense"], "a recipient cannot be read"),
        (["add", "other.txt", TEAM[0]], "line 1"),
    ],
    ids=lambda each: each[-1] if isinstance(each, list) and not each[-1].startswith("age1") else "",
)
def test_what_is_wrong_is_told(mgs, arguments, message):
    Path("other.txt").write_text("hello\n")
    result = mgs("keys", *arguments)
    assert result.code != 0
    assert message in result.err
    assert not Path("a.key").exists()
    assert Path("other.txt").read_text() == "hello\n"


def test_adding_recipients(mgs):
    assert mgs("keys", "add", "team.txt", TEAM[0], TEAM[0]).lines == [TEAM[0]]
    assert stat.S_IMODE(Path("team.txt").stat().st_mode) == 0o600
    Path("team.txt").write_text(f"# the team\n{TEAM[0]}")
    Path("team.txt").chmod(0o644)
    assert mgs("keys", "add", "team.txt", TEAM[1], "--dry-run").lines == [TEAM[1]]
    result = mgs("keys", "add", "team.txt", TEAM[1], TEAM[0], TEAM[2])
    assert result.lines == [TEAM[1], TEAM[2]]
    assert "1 recipient stood there already" in result.err
    assert Path("team.txt").read_text() == f"# the team\n{TEAM[0]}\n{TEAM[1]}\n{TEAM[2]}\n"
    assert stat.S_IMODE(Path("team.txt").stat().st_mode) == 0o644
    assert mgs("keys", "list", "team.txt").lines == TEAM
    assert {path.name for path in Path().iterdir()} == {"team.txt", ".team.txt.lock"}


def test_a_secret_is_no_recipient(mgs):
    secret = generate_identity().secret.reveal()
    result = mgs("keys", "add", "team.txt", secret)
    assert result.code != 0
    assert "which is secret" in result.err
    assert secret not in result.err


def test_an_encrypted_storage_from_a_profile(mgs):
    mgs("keys", "generate", "my.key")
    Path("store").mkdir()
    added = mgs("profile", "add", "safe", "store", "--layer", f"encrypt,identity_file={Path('my.key').absolute()}")
    assert added.code == 0
    assert mgs("put", "-", "safe:a/note.txt", stdin=b"plain words").code == 0
    assert mgs("cat", "safe:a/note.txt").raw == b"plain words"
    assert b"plain words" not in Path("store/a/note.txt").read_bytes()
    assert [each["size"] for each in mgs("ls", "--exact", "safe:a/", "--json").records] == [11]
    Path("my.key").rename("elsewhere.key")
    mgs("keys", "generate", "my.key")
    locked = mgs("cat", "safe:a/note.txt")
    assert locked.code == 12
    assert "none of the 1 identities" in locked.err


# ---- rotating


@pytest.fixture
def media(mgs, tmp_path, monkeypatch):
    """A profile whose objects are for an old key; returns what makes it use a new one."""
    monkeypatch.setenv("MGS_STATE_DIR", str(tmp_path / "state"))
    profiles = tmp_path / "config" / "mediagit-storage" / "config.toml"
    monkeypatch.setenv("MGS_CONFIG", str(profiles))
    profiles.parent.mkdir(parents=True)
    Path("objects").mkdir()
    recipients = {name: mgs("keys", "generate", f"{name}.key").lines[0] for name in ("old", "new")}

    def use(name: str) -> None:
        profiles.write_text(
            f"""[media]\nurl = "{Path("objects").absolute()}"\n[[media.layers]]\nlayer = "encrypt"\nidentity_file = "{name}.key"
recipients = ["{recipients[name]}"]\n"""
        )

    use("old")
    for number in range(3):
        mgs("put", "-", f"media:in/{number}", stdin=b"x" * number)
    return use


@covers(193)
def test_keys_are_rotated(mgs, media):
    media("new")
    Path("objects/in/plain.txt").write_text("plain")
    assert mgs("cat", "media:in/2").code == 12
    looked = mgs("keys", "rotate", "media:", "--identity", "old.key", "--dry-run")
    assert (looked.code, looked.lines) == (0, ["in/0", "in/1", "in/2"])
    assert "would rotate 3 objects" in looked.err
    assert "in/plain.txt: it is not encrypted, and was left as it is" in looked.err
    done = mgs("keys", "rotate", "media:in", "--identity", "old.key", "-v")
    assert (done.code, done.out) == (0, "")
    assert "in/1: rewrapped" in done.err
    assert "rotated 3 objects" in done.err
    assert "1 not encrypted" in done.err
    assert mgs("cat", "media:in/2").out == "xx"
    assert Path("objects/in/plain.txt").read_text() == "plain"
    again = mgs("keys", "rotate", "media:in/", "--identity", "old.key", "--afresh", "--json")
    assert [record["status"] for record in again.records[:-1]] == ["done", "done", "done", "foreign"]
    summary = again.records[-1]
    assert (summary["type"], summary["objects"]) == ("summary", 0)
    assert (summary["done_before"], summary["not_encrypted"], summary["failed"]) == (3, 1, 0)


def test_what_cannot_be_rotated_is_named_at_the_end(mgs, media):
    media("new")
    mgs("put", "-", "media:in/9", stdin=b"new already")
    result = mgs("keys", "rotate", "media:")
    assert (result.code, result.out) == (6, "")
    assert [number for number in range(3) if f"in/{number}" not in result.err] == []
    assert "1 done before, 3 failed" in result.err
    assert "by --identity" in result.err
    assert "in the profile" not in result.err
    errors = mgs("keys", "rotate", "media:", "--json").errors
    assert {(each["error"], each["key"], each["code"]) for each in errors} == {
        ("KeyUnavailableError", f"in/{number}", 12) for number in range(3)
    }


def test_rotating_what_is_not_there_or_not_encrypted(mgs, media):
    nothing = mgs("keys", "rotate", "media:out/")
    assert nothing.code == 3
    plain = mgs("keys", "rotate", "objects")
    assert plain.code == 2
    assert "is not encrypted" in plain.err


def test_rotating_with_a_protected_old_key(mgs, media, monkeypatch):
    monkeypatch.setenv("MY_PASSPHRASE", "correct horse")
    secret = Path("old.key").read_bytes()
    Path("old.key").write_bytes(encrypt(secret, [PassphraseRecipient(Secret("correct horse"), work=10)]))
    media("new")
    arguments = ("keys", "rotate", "media:in/1", "--identity", "old.key", "--passphrase-env", "MY_PASSPHRASE")
    assert mgs(*arguments).code == 0
    assert mgs("cat", "media:in/1").out == "x"
