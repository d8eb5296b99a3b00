"""Keys: which may be written, which may be read, and how they sort."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mediagit_storage.errors import InvalidKeyError
from mediagit_storage.keys import MAX_KEY_BYTES, check_key, check_readable_key, parent_prefixes, sort_key

#: 76, one table for everywhere: key, and whether a strict storage writes it.
SHAPES = [
    ("", False), ("/", False), ("/a", False), ("a/", False), ("a//b", False), (".", False), ("..", False),
    ("a/./b", False), ("a/../b", False), ("../a", False), ("a/..", False), ("./a", False), ("//", False),
    ("a", True), ("a/b", True), (".a", True), ("a.", True), ("...", True), ("a/.../b", True), ("..a/b", True),
    ("a/.b", True), (" ", True), (" a ", True), ("a /b", True), ("~", True), ("-", True), ("a\\b", True),
]  # fmt: skip

#: 66 to 68, 71, 72, 77, 78: awkward and allowed.
AWKWARD = [
    " ", '"', "$", "%", "&", "'", "<", ">", "_", "_ ", "_ _", "__", "%48%45", "%Q", "a%2Fb", "test%46.txt", "%25", "+",
    "a+b", "a?b", "a#b", "a:b", "CON", "NUL", "aux.txt", "a.", "a ", "x|y", "*", "C:\\x", "\\\\srv\\s",
    "\u00e9", "e\u0301", "\U0001f600", "\U0001f1e9\U0001f1ea", "a\u200db", "\u05d0\u05d1", "\uff61", "\u20acuro",
    "I'm a < & weird path", "\u2028", "\ufeff", "\ufffd", "\U0010ffff",
]  # fmt: skip


@pytest.mark.parametrize(("key", "written"), SHAPES)
def test_one_table_of_shapes(key, written):
    if written:
        check_key(key)
    else:
        with pytest.raises(InvalidKeyError) as caught:
            check_key(key)
        assert caught.value.key == key


@pytest.mark.parametrize(("key", "written"), SHAPES)
def test_raw_rules_write_every_shape_but_the_empty_one(key, written):
    if key:
        check_key(key, "raw")
    else:
        with pytest.raises(InvalidKeyError):
            check_key(key, "raw")


@pytest.mark.parametrize("key", AWKWARD)
def test_awkward_keys_are_keys(key):
    check_key(key)
    check_readable_key(key)


@pytest.mark.parametrize("number", [*range(0x20), *range(0x7F, 0xA0)])
def test_control_characters_are_refused_when_strict(number):
    with pytest.raises(InvalidKeyError, match="control"):
        check_key(f"a{chr(number)}b")
    check_key(f"a{chr(number)}b", "raw")


@pytest.mark.parametrize("rules", ["strict", "raw"])
@pytest.mark.parametrize("key", ["a\udfff", "ok/\udcff"])
def test_lone_surrogates_are_never_written(key, rules):
    with pytest.raises(InvalidKeyError, match="surrogate"):
        check_key(key, rules)


@pytest.mark.parametrize("rules", ["strict", "raw"])
@pytest.mark.parametrize("character", ["a", "\u00e9", "\u20ac", "\U0001f600"])
def test_the_limit_counts_bytes_of_utf8(character, rules):
    width = len(character.encode())
    fits = character * (MAX_KEY_BYTES // width)
    fits += "a" * (MAX_KEY_BYTES - len(fits.encode()))
    check_key(fits, rules)
    with pytest.raises(InvalidKeyError, match="1,024 bytes"):
        check_key(fits + "a", rules)


@pytest.mark.parametrize("check", [check_key, check_readable_key])
@pytest.mark.parametrize("key", [b"a", None, 1, ["a"]])
def test_what_is_not_text_is_a_type_error(check, key):
    with pytest.raises(TypeError, match="a key is a str"):
        check(key)


@pytest.mark.parametrize(
    "key", ["a//b", "folder/", "/", "..", "a/../b", "a\nb", "\0", "x" * 5000, "\udc80", "\udcff/x"]
)
def test_reading_is_liberal(key):
    check_readable_key(key)


@pytest.mark.parametrize("key", ["", "\ud800", "a\udfff"])
def test_reading_refuses_what_names_nothing(key):
    with pytest.raises(InvalidKeyError):
        check_readable_key(key)


def test_messages_show_keys_escaped():
    with pytest.raises(InvalidKeyError) as caught:
        check_key("a\x1b[31m\nlog: forged")
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(keys)
@example("a/\x85")
@example("\u2028")
def test_what_strict_takes_raw_takes_and_reading_takes(key):
    try:
        check_key(key)
    except InvalidKeyError:
        pass
    else:
        check_key(key, "raw")
        assert not any(segment in {"", ".", ".."} for segment in key.split("/"))
    check_readable_key(key)


@given(st.lists(keys))
def test_sorting_is_by_the_bytes_of_utf8(several):
    assert sorted(several, key=sort_key) == [raw.decode() for raw in sorted(key.encode() for key in several)]


def test_sorting_is_not_by_utf16_units():
    assert sorted(["\U0001f600", "\uff61"], key=sort_key) == ["\uff61", "\U0001f600"]


@given(st.binary(max_size=20))
def test_names_that_are_not_utf8_sort_by_their_own_bytes(raw):
    assert sort_key(raw.decode("utf-8", "surrogateescape")) == raw


@given(keys)
def test_parent_prefixes_are_the_folders_above(key):
    parents = parent_prefixes(key)
    assert all(key.startswith(parent) and parent.endswith("/") and parent != key for parent in parents)
    assert parents == sorted(parents, key=len)
    assert len(parents) == key[:-1].count("/")


def test_parent_prefixes_of_a_deep_key():
    assert parent_prefixes("a/b/c") == ["a/", "a/b/"]
    assert parent_prefixes("a") == []
    assert parent_prefixes("a/b/") == ["a/"]


def test_order_is_the_same_in_another_process_and_after_pickling():
    several = [*AWKWARD, "b", "a", "a/b", "a-"]
    ordered = sorted(several, key=sort_key)
    assert pickle.loads(pickle.dumps(ordered)) == ordered
    code = (
        "import sys, ast; from mediagit_storage.keys import sort_key;"
        "print(ascii(sorted(ast.literal_eval(sys.stdin.read()), key=sort_key)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], input=ascii(several), capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == ascii(ordered)
