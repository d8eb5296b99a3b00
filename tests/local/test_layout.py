"""The two layouts: reversible, order-preserving, and never a name that a file system refuses."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.backends.local.layout import PlainLayout, ShardedLayout, cut, decode, encode
from mediagit_storage.errors import InvalidKeyError
from mediagit_storage.keys import sort_key

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)
# Few different characters, so that keys share beginnings and end at cuts: that is where order goes wrong.
NEAR = st.text(st.sampled_from("a/.%+@=\0~\x7f€\U0001f600"), min_size=1, max_size=12)
LONG = st.builds(lambda head, count, tail: head + "x" * count + tail, NEAR, st.integers(60, 70), NEAR)
KEYS = TEXT | NEAR | LONG
SHARDED = ShardedLayout()


def texts(names):
    """The pieces back from a key's names on disk."""
    return "".join(decode(name) for name in names)


def walk_order(names):
    """Where a walk of sorted folders meets the file at the end of ``names``."""
    return [(sort_key(decode(name)), name[-1] != "=") for name in names]


@given(KEYS)
def test_every_key_comes_back_from_its_names(key):
    assert texts(SHARDED.split(key)) == key


@given(KEYS)
def test_every_name_fits_a_file_system(key):
    for name in SHARDED.split(key):
        assert 0 < len(os.fsencode(name)) <= 255
        assert name not in {".", ".."}
        assert "/" not in name
        assert "\0" not in name


@given(KEYS, KEYS)
def test_two_keys_never_share_a_file_and_no_file_is_a_folder_of_another(one, other):
    if one != other:
        names, others = SHARDED.split(one), SHARDED.split(other)
        assert names != others
        assert names != others[: len(names)]
        assert others != names[: len(others)]


@given(st.lists(NEAR | LONG, unique=True, max_size=30))
def test_a_sorted_walk_meets_keys_in_the_order_of_their_bytes(keys):
    walked = sorted(keys, key=lambda key: walk_order(SHARDED.split(key)))
    assert walked == sorted(keys, key=sort_key)


@given(KEYS)
def test_every_folder_and_file_that_is_written_is_recognised(key):
    text = ""
    names = SHARDED.split(key)
    for name in names[:-1]:
        assert SHARDED.entries(text, "", [name], []) == ([name], [])
        text += decode(name)
    assert SHARDED.entries(text, "", [], [names[-1]]) == ([names[-1]], [])


@given(st.text(min_size=1, max_size=8).filter(lambda name: "/" not in name), st.booleans())
def test_a_name_counts_as_ours_only_if_we_would_write_it(name, folder):
    entries, foreign = SHARDED.entries("", "", [name] if folder else [], [] if folder else [name])
    assert sorted(entries + foreign) == [name]
    if entries:
        assert encode(decode(name), folder=folder) == name
        key = decode(name) + ("x" if folder else "")
        assert SHARDED.split(key)[0] == name


@given(KEYS)
def test_pieces_join_to_the_key_and_depend_on_what_is_before_them_alone(key):
    pieces = cut(key)
    assert "".join(pieces) == key
    assert cut(key + "q")[: len(pieces) - 1] == pieces[:-1]


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("a", ["a="]),
        ("abc", ["abc="]),
        ("abcd", ["abc+", "d="]),
        ("a/b", ["a@", "b="]),
        ("abc/d", ["abc+", "@", "d="]),
        ("a//b", ["a@", "@", "b="]),
        ("folder/", ["fol+", "der%2F="]),
        ("..", ["..="]),
        ("/", ["%2F="]),
        ("photos/img.png", ["pho+", "tos@", "img+", ".png="]),
        ("100%", ["100+", "%25="]),
        ("€uro", ["€ur+", "o="]),
        ("\0\n", ["%00%0A="]),
        ("a" * 70, ["aaa+", "a" * 63 + "+", "aaaa="]),
        ("0" * 64, ["000+", "0" * 61 + "="]),
    ],
)
def test_the_format_is_what_it_always_was(key, names):
    assert SHARDED.split(key) == names


@pytest.mark.parametrize("key", ["\ud800", "a\udcff"])
def test_sharded_keys_are_unicode(key):
    with pytest.raises(InvalidKeyError):
        SHARDED.split(key)


@pytest.mark.parametrize(
    "key", ["a//b", "/a", "a/", "a/./b", "../a", "a/..", ".", "..", "/", "a\0b", "x" * 256, "é" * 128]
)
def test_plain_refuses_what_no_path_can_spell(key):
    with pytest.raises(InvalidKeyError):
        PlainLayout().split(key)


@pytest.mark.parametrize("key", [".mediagit-storage", ".mediagit-storage/x", "a/.mediagit-storage/tmp/x"])
def test_plain_keeps_its_private_folder_to_itself(key):
    with pytest.raises(InvalidKeyError, match="reserved"):
        PlainLayout().split(key)


@pytest.mark.parametrize("key", ["a", ".mediagit-storages", "...", "..a/b", "x" * 255, "é" * 127, "a\udcff"])
def test_plain_takes_what_a_path_can_spell(key):
    assert "/".join(PlainLayout().split(key)) == key


def test_plain_entries_sort_folders_as_their_keys():
    entries, foreign = PlainLayout().entries("", "", ["a", "b"], ["a-", "a.", "a0", "\uff61", "\U0001f600"])
    assert entries == ["a-", "a.", "a/", "a0", "b/", "\uff61", "\U0001f600"]
    assert foreign == []


def test_plain_entries_sort_bytes_that_are_no_utf8_where_they_belong():
    names = [os.fsdecode(name) for name in (b"\xff", "\uff61".encode(), b"\x80", "é".encode())]
    assert PlainLayout().entries("", "", [], names)[0] == sorted(names, key=os.fsencode)
