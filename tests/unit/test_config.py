"""Profiles: reading them, saying what is wrong with them, and changing them without losing anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage import private_files
from mediagit_storage.config import Profile, check_profile_name, load_profiles, parse_profiles, profiles_path
from mediagit_storage.errors import ConfigError
from mediagit_storage.profile_editing import add_profile, remove_profile, rename_profile

CANARY = "canary-5Zq81"

FULL = """\
# My storages.

# The big one.
[media]
url = "s3://media-bucket/projects"
region = "eu-west-1"            # near
secret_access_key = { env = "MEDIA_SECRET" }
[[media.layers]]                # outermost first
layer = "prefix"
prefix = "a/"

[[media.layers]]
layer = "readonly"

# The small one.
["my.small"]
url = "~/small"

[third]
url = "/third"
attempts = 5
nested = { a = [1, 2], b = true }
"""

PLACE = Path("/config/profiles.toml")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "profiles.toml"
    path.write_text(FULL)
    return path


# ---- reading


def test_what_profiles_hold():
    profiles = parse_profiles(FULL, PLACE)
    assert list(profiles) == ["media", "my.small", "third"]
    assert profiles["media"] == Profile(
        "media",
        "s3://media-bucket/projects",
        {"region": "eu-west-1", "secret_access_key": {"env": "MEDIA_SECRET"}},
        ({"layer": "prefix", "prefix": "a/"}, {"layer": "readonly"}),
    )
    assert profiles["third"].options == {"attempts": 5, "nested": {"a": [1, 2], "b": True}}
    assert [profile.line for profile in profiles.values()] == [4, 16, 19]


def test_where_they_are(home, monkeypatch):
    assert profiles_path({"MGS_CONFIG": "/x/y.toml"}) == Path("/x/y.toml")
    assert profiles_path({"MGS_CONFIG": "~/y.toml"}) == home / "y.toml"
    assert profiles_path({}).name == "profiles.toml"
    assert profiles_path({}).parent.name == "mediagit-storage"
    assert profiles_path({"MGS_CONFIG": ""}) == profiles_path({})
    monkeypatch.setenv("MGS_CONFIG", "/z.toml")
    assert profiles_path() == Path("/z.toml")


def test_no_file_holds_no_profiles(tmp_path):
    assert load_profiles(tmp_path / "none.toml").by_name == {}
    assert load_profiles(environ={}).by_name == {}
    with pytest.raises(ConfigError, match=r"none\.toml, which MGS_CONFIG names, does not exist"):
        load_profiles(environ={"MGS_CONFIG": str(tmp_path / "none.toml")})


def test_an_unknown_name_lists_the_known_ones(file):
    profiles = load_profiles(file)
    assert profiles.get("media").name == "media"
    with pytest.raises(ConfigError, match=r"no profile 'mdia' in .*profiles\.toml \(known: media, my\.small, third\)"):
        profiles.get("mdia")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[media]\nurl = \n", r"is not TOML: .*line 2"),
        ("[media]\nurl = 's3://b'\n[media]\n", "is not TOML"),
        ("media = 5", "profile 'media' in .*: a profile is a table"),
        ("\n\n[media]\nregion = 'x'", r"'media' in /config/profiles\.toml, line 3: a profile needs url"),
        ("[media]\nurl = 5", "needs url, a text"),
        ("[media]\nurl = ''", "needs url, a text"),
        ("[media]\nurl = 'x'\nlayers = 5", r"layers are written as tables, \[\[media\.layers\]\]"),
        ("[media]\nurl = 'x'\nlayers = ['readonly']", "layers are written as tables"),
        ("[media]\nurl = 'x'\n[[media.layers]]\nprefix = 'a'", "layer 1 needs layer, a text"),
        ("[media]\nurl = 'x'\n[[media.layers]]\nlayer = 'a'\n[[media.layers]]\nlayer = 2", "layer 2 needs layer"),
        ("[media]\nurl = 'x'\nwhen = 2020-01-01", "the option 'when' is a date"),
        ("[media]\nurl = 'x'\n[[media.layers]]\nlayer = 'a'\nw = [{ x = 10:00:00 }]", "the option 'w' is a time"),
        ("[m]\nurl = 'x'", "'m' cannot be the name of a profile"),
        ("[s3]\nurl = 'x'", "'s3' cannot be the name of a profile: it is a URL scheme"),
        ("['a b']\nurl = 'x'", "'a b' cannot be the name"),
    ],
)
def test_what_is_wrong_is_named(text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        parse_profiles(text, PLACE)
    assert str(PLACE) in str(caught.value)


@pytest.mark.parametrize("line", [f'secret = "{CANARY}', f"secret = {CANARY}", f'"{CANARY}"', f"secret = '{CANARY}' x"])
def test_what_is_not_toml_is_not_shown(line):
    with pytest.raises(ConfigError) as caught:
        parse_profiles(f"[media]\nurl = 'x'\n{line}\n", PLACE)
    assert CANARY not in str(caught.value)
    assert caught.value.__suppress_context__


def test_options_do_not_show_in_the_repr():
    profiles = parse_profiles(f"[media]\nurl = 'x'\ns = '{CANARY}'\n[[media.layers]]\nlayer='a'\nk='{CANARY}'", PLACE)
    assert CANARY not in repr(profiles)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_profiles(tmp_path)
    (tmp_path / "f").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load_profiles(tmp_path / "f")


@pytest.mark.parametrize("name", ["ab", "media", "my.media-2", "_x", "9p", "A_b"])
def test_names_that_are_fine(name):
    check_profile_name(name)


@pytest.mark.parametrize(
    "name", ["", "a", ".ab", "-ab", "a b", "a:b", "a/b", "\u00e9\u00e9", "ab\n", "s3", "S3", "file", "memory", "https"]
)
def test_names_that_are_not(name):
    with pytest.raises(ConfigError, match="cannot be the name"):
        check_profile_name(name)


def test_reading_imports_no_backend(file):
    code = (
        "import sys; from pathlib import Path; from mediagit_storage.config import load_profiles\n"
        f"load_profiles(Path({str(file)!r}))\n"
        "print([name for name in sys.modules if 'mediagit_storage.backends' in name or name == 'msgspec'])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip() == "[]"


# ---- changing

NEW = Profile(
    "new",
    "memory://x",
    {"name": 'a"\\\n\x7f\u00e9', "n": {"env": "A"}, "odd key": [1, 2.5, True]},
    ({"layer": "readonly"},),
)


def test_adding_leaves_the_rest_as_it_was(file):
    assert add_profile(NEW, file) == file
    assert file.read_text().startswith(FULL)
    assert load_profiles(file).get("new") == NEW


def test_adding_makes_file_and_folder_for_their_owner_only(tmp_path):
    path = tmp_path / "a" / "b" / "profiles.toml"
    add_profile(NEW, path)
    assert load_profiles(path).by_name == {"new": NEW}
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_adding_to_a_file_without_a_last_newline(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text("[one]\nurl = 'x' # last")
    add_profile(NEW, path)
    assert list(load_profiles(path).by_name) == ["one", "new"]


def test_the_default_place_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("MGS_CONFIG", str(tmp_path / "mine.toml"))
    assert add_profile(NEW) == tmp_path / "mine.toml"
    assert rename_profile("new", "newer") == tmp_path / "mine.toml"
    assert list(load_profiles().by_name) == ["newer"]
    remove_profile("newer")
    assert load_profiles().by_name == {}


@pytest.mark.parametrize("name", ["media", "my.small"])
def test_a_name_that_is_taken_is_refused(file, name):
    with pytest.raises(ConfigError, match="already"):
        add_profile(Profile(name, "x"), file)
    with pytest.raises(ConfigError, match="already"):
        rename_profile("third", name, file)
    assert file.read_text() == FULL


@pytest.mark.parametrize("name", ["s3", "a", "a b"])
def test_a_name_that_cannot_be_is_refused(file, name):
    for change in (lambda: add_profile(Profile(name, "x"), file), lambda: rename_profile("third", name, file)):
        with pytest.raises(ConfigError, match="cannot be the name"):
            change()


@pytest.mark.parametrize("profile", [Profile("bad", ""), Profile("bad", "x", {"o": None}), Profile("bad", "\ud800")])
def test_a_profile_that_could_not_be_read_back_is_not_written(file, profile):
    with pytest.raises(ConfigError):
        add_profile(profile, file)
    assert file.read_text() == FULL


def test_removing_leaves_the_rest_as_it_was(file):
    remove_profile("media", file)
    text = file.read_text()
    assert "# My storages." in text
    assert "The big one" not in text
    assert text.endswith(FULL[FULL.index("# The small one.") :])
    remove_profile("my.small", file)
    remove_profile("third", file)
    assert load_profiles(file).by_name == {}


def test_renaming_happens_in_place(file):
    rename_profile("media", "big.media", file)
    assert file.read_text() == FULL.replace("[media]", '["big.media"]').replace(
        "[media.layers]", '["big.media".layers]'
    )
    rename_profile("my.small", "small", file)
    assert list(load_profiles(file).by_name) == ["big.media", "small", "third"]


def test_an_unknown_profile_cannot_be_changed(tmp_path, file):
    for change in (lambda p: remove_profile("none", p), lambda p: rename_profile("none", "some", p)):
        with pytest.raises(ConfigError, match="no profile 'none'"):
            change(file)
        with pytest.raises(ConfigError, match="no profile 'none'"):
            change(tmp_path / "folder" / "missing.toml")
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    "text",
    [
        'media.url = "x"\n',
        'media = { url = "x" }\n',
        '[media]\nurl = """\n[other]\n"""\n[other]\nurl = "y"\n',
        '[ "med\\u0069a" ]\nurl = "x"\n',
    ],
)
def test_what_cannot_be_changed_safely_is_left_alone(tmp_path, text):
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="by hand"):
        remove_profile("media", path)
    assert path.read_text() == text


@pytest.mark.parametrize("text", ['media.url = "x"\n', 'media = { url = "x" }\n', '[ "med\\u0069a" ]\nurl = "x"\n'])
def test_what_cannot_be_renamed_safely_is_left_alone(tmp_path, text):
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="by hand"):
        rename_profile("media", "other", path)
    assert path.read_text() == text


def test_a_link_stays_a_link_and_modes_get_private(tmp_path, file):
    file.chmod(0o644)
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    add_profile(NEW, link)
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o600
    assert "new" in load_profiles(file).by_name


@pytest.mark.parametrize("call", ["fsync", "fdopen"])
def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, file, monkeypatch, call):
    def fail(descriptor, *_):
        if call == "fdopen":
            os.close(descriptor)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(private_files.os, call, fail)
    with pytest.raises(ConfigError, match="cannot be changed: No space left"):
        add_profile(NEW, file)
    assert file.read_text() == FULL
    assert sorted(os.listdir(tmp_path)) == [".profiles.toml.lock", "profiles.toml"]


ADD_EIGHT = """
import sys
from pathlib import Path
from mediagit_storage.config import Profile
from mediagit_storage.profile_editing import add_profile

for number in range(int(sys.argv[2]), int(sys.argv[2]) + 8):
    add_profile(Profile(f"p{number:03}", "memory://x"), Path(sys.argv[1]))
"""


def test_two_processes_at_once_lose_nothing(tmp_path):
    path = tmp_path / "p.toml"
    running = [subprocess.Popen([sys.executable, "-c", ADD_EIGHT, str(path), str(start)]) for start in (0, 8)]
    assert [process.wait(60) for process in running] == [0, 0]
    assert sorted(load_profiles(path).by_name) == [f"p{number:03}" for number in range(16)]


values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab \"'.\n", max_size=4), inner, max_size=3),
    max_leaves=6,
)
names = st.from_regex(r"[a-z_][a-z0-9_.-]{2,6}", fullmatch=True)


@given(names, st.dictionaries(st.sampled_from(["region", "odd name", "a.b", 'q"']), values, max_size=3), names)
def test_any_profile_can_be_added_renamed_and_removed(tmp_path_factory, name, options, other):
    path = tmp_path_factory.mktemp("p") / "profiles.toml"
    path.write_text(FULL)
    taken = {"media", "my.small", "third", "file", "minio", "memory", "spaces", "https"}
    if name in taken or other in taken or name == other:
        return
    profile = Profile(name, "memory://x", options, ({"layer": "prefix", **options},))
    add_profile(profile, path)
    assert load_profiles(path).get(name) == profile
    rename_profile(name, other, path)
    assert load_profiles(path).get(other).options == options
    remove_profile(other, path)
    assert path.read_text().strip() == FULL.strip()


def test_a_profiles_file_without_end_or_bottom_is_refused(tmp_path):
    """Neither fills the memory nor ends in a trace."""
    deep = tmp_path / "deep.toml"
    deep.write_text("media = " + "[" * 5000)
    with pytest.raises(ConfigError, match="nested too deeply"):
        load_profiles(deep)
    with pytest.raises(ConfigError, match="more than"):
        load_profiles(Path("/dev/zero"))
