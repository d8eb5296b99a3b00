"""Globs and ordered filters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.errors import ConfigError
from mediagit_storage.tools.filters import Filter, Filters, compile_glob, fixed_prefix, is_glob


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*.png", ["a.png", ".png"], ["a/b.png", "a.png/", "a.pngx", "apng"]),
        ("a/*/c", ["a/b/c", "a//c"], ["a/b/b/c", "a/c"]),
        ("a/**/c", ["a/c", "a/b/c", "a/b/b/c"], ["a/bc", "ac"]),
        ("**", ["a", "a/b", ""], []),
        ("a**", ["a", "a/b", "ab"], ["b"]),
        ("**/x", ["x", "a/x", "a/b/x"], ["ax"]),
        ("?", ["a", "ü", "\n"], ["", "/", "ab"]),
        ("[ab]", ["a", "b"], ["c", "[ab]"]),
        ("[!ab]", ["c", "-"], ["a", "/"]),
        ("[^ab]", ["c"], ["a"]),
        ("[a-c]x", ["ax", "bx"], ["dx", "-x"]),
        ("[]]", ["]"], ["["]),
        ("[[]a", ["[a"], ["a"]),
        ("[\\]", ["\\"], ["a"]),
        ("a.b+c(d)|e$", ["a.b+c(d)|e$"], ["axb+c(d)|e$"]),
    ],
)
def test_what_a_pattern_matches(pattern, matching, others):
    expression = compile_glob(pattern)
    assert [key for key in matching if not expression.fullmatch(key)] == []
    assert [key for key in others if expression.fullmatch(key)] == []


@pytest.mark.parametrize("pattern", ["[", "a[b", "[]", "[z-a]"])
def test_a_pattern_that_means_nothing_is_refused(pattern):
    with pytest.raises(ConfigError, match="pattern"):
        compile_glob(pattern)


@given(st.text())
def test_text_without_special_characters_is_itself(text):
    if not is_glob(text):
        assert compile_glob(text).fullmatch(text)
        assert fixed_prefix(text) == text


@given(st.text(alphabet="ab/*?[]!", max_size=12), st.text(alphabet="ab/", max_size=8))
def test_what_matches_starts_with_the_fixed_part(pattern, key):
    try:
        expression = compile_glob(pattern)
    except ConfigError:
        return
    if expression.fullmatch(key):
        assert key.startswith(fixed_prefix(pattern))


@pytest.mark.parametrize(
    ("rules", "taken", "left"),
    [
        ([], ["a", "a/b"], []),
        ([(True, "*.png")], ["a.png", "x/a.png"], ["a.jpg"]),
        ([(False, "*.tmp")], ["a.png"], ["a.tmp", "x/a.tmp"]),
        ([(False, "x/"), (True, "*.png")], ["a.png", "y/a.png"], ["x/a.png", "y/x/a.png", "a.jpg"]),
        ([(True, "keep/*"), (False, "keep/")], ["keep/a", "other"], ["keep/a/b"]),
        ([(False, "/top")], ["a/top"], ["top"]),
        ([(False, "a/top")], ["b/a/top"], ["a/top"]),
    ],
)
def test_the_first_match_wins_and_the_rest_is_the_opposite_of_the_last(rules, taken, left):
    filters = Filters([Filter(*rule) for rule in rules])
    assert [name for name in taken if not filters.takes(name)] == []
    assert [name for name in left if filters.takes(name)] == []


@pytest.mark.parametrize("pattern", ["", "/", "//"])
def test_a_filter_that_matches_nothing_is_refused(pattern):
    with pytest.raises(ConfigError):
        Filters([Filter(True, pattern)])
