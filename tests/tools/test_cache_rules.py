"""Rules for Cache-Control: the first that matches counts, and only what says nothing itself is told by one."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

import mediagit_storage as mgs
from mediagit_storage.config import parse_profiles
from mediagit_storage.errors import ConfigError, UnsupportedError
from mediagit_storage.profile_editing import add_profile, rename_profile, supersede_profile
from mediagit_storage.tools.attributes import kept_attributes
from mediagit_storage.tools.cache_rules import NO_RULES, CacheRule, CacheRules, rules_of_profile
from mediagit_storage.tools.copying import CopyRules, CopyTask, copy_objects
from mediagit_storage.types import Attributes

RULES = CacheRules(
    [
        CacheRule(match="*.html", cache_control="no-cache"),
        CacheRule(match="a/*.js", content_type="text/javascript", cache_control="js"),
        CacheRule(match="fixed/", cache_control="immutable"),
        CacheRule(content_type="image/*", cache_control="image"),
    ]
)


@pytest.mark.parametrize(
    ("key", "content_type", "expected"),
    [
        ("index.html", None, "no-cache"),
        ("deep/er/index.html", "image/png", "no-cache"),
        ("fixed/index.html", None, "no-cache"),
        ("a/x.js", None, "js"),
        ("b/x.js", None, None),
        ("a/x.js", "text/plain", None),
        ("fixed/x", None, "immutable"),
        ("in/fixed/x", None, "immutable"),
        ("x.PNG", None, "image"),
        ("x", "IMAGE/PNG; q=1", "image"),
        ("x.png", "text/plain", None),
        ("x\n.html", None, "no-cache"),
        ("", None, None),
    ],
)
def test_the_first_rule_that_matches(key, content_type, expected):
    assert RULES.cache_control(key, content_type) == expected


def test_rules_travel_and_compare():
    assert pickle.loads(pickle.dumps(RULES)) == RULES
    assert hash(RULES) == hash(pickle.loads(pickle.dumps(RULES)))
    assert RULES != NO_RULES
    assert not NO_RULES
    assert CopyRules() == CopyRules(cache=CacheRules())


def test_what_an_object_says_itself_stays():
    def kept(found, key, keeps=frozenset({"cache_control", "content_type"}), drop=False):
        return kept_attributes(found, key, keeps, guess_types=True, drop=drop, cache=RULES)

    assert kept(Attributes(), "a.html") == Attributes(content_type="text/html", cache_control="no-cache")
    assert kept(Attributes(cache_control="mine"), "a.html").cache_control == "mine"
    assert kept(Attributes(content_type="image/x"), "a").cache_control == "image"
    assert kept(Attributes(), "a.unknown") is None
    with pytest.raises(UnsupportedError, match="cache_control"):
        kept(Attributes(), "a.html", frozenset({"content_type"}))
    assert kept(Attributes(), "a.html", frozenset({"content_type"}), drop=True) == Attributes(content_type="text/html")


def test_copies_between_storages_get_them():
    with mgs.open_storage("memory://rules-from") as source, mgs.open_storage("memory://rules-to") as target:
        for key in ("a.html", "b.png", "c"):
            source.put(key, b"x")
        list(
            copy_objects(source, target, [CopyTask(k, k, 1) for k in ("a.html", "b.png", "c")], CopyRules(cache=RULES))
        )
        assert [target.stat(k).attributes.cache_control for k in ("a.html", "b.png", "c")] == [
            "no-cache",
            "image",
            None,
        ]
        list(copy_objects(target, target, [CopyTask("c", "d.html", 1)], CopyRules(cache=RULES)))
        assert target.stat("d.html").attributes.cache_control is None


def profile(text: str):
    return parse_profiles(f'[media]\nurl = "memory://x"\n[media.cdn]\nprovider = "origin"\n{text}', Path("p"))["media"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[[media.cdn.rules]]\nmatch = '*'", "rule 1 of the CDN of profile 'media': a rule needs"),
        ("[[media.cdn.rules]]\ncache_control = ''", "not empty"),
        ('[[media.cdn.rules]]\ncache_control = "a\\nb"', "control"),
        ("[[media.cdn.rules]]\ncache_control = 'x'\nmatc = '*'", "did you mean 'match'"),
        ("[[media.cdn.rules]]\ncache_control = 'x'\nmatch = 5", "a text"),
        ("[[media.cdn.rules]]\ncache_control = 'x'\nmatch = '['", "never ends"),
        ("[[media.cdn.rules]]\ncache_control = 'x'\ncontent_type = 'image/['", "never ends"),
        ("[[media.cdn.rules]]\ncache_control = 'x'\ncontent_type = '*'", 'like "text/html"'),
    ],
)
def test_rules_that_cannot_be(text, word):
    with pytest.raises(ConfigError, match=word):
        rules_of_profile(profile(text))


@pytest.mark.parametrize("cdn", ["cdn = 5", "cdn = {}", 'cdn = { provider = "origin", rules = 5 }'])
def test_tables_that_cannot_be(cdn):
    with pytest.raises(ConfigError, match=r"\[?\[media\.cdn"):
        parse_profiles(f'[media]\nurl = "memory://x"\n{cdn}', Path("p"))


def test_profiles_keep_their_cdn_when_they_are_changed(tmp_path):
    file = tmp_path / "profiles.toml"
    found = profile("[[media.cdn.rules]]\nmatch = '*'\ncache_control = 'x'")
    add_profile(found, file)
    assert "provider" not in repr(found)
    rename_profile("media", "other", file)
    renamed = parse_profiles(file.read_text(), file)["other"]
    assert renamed.cdn == found.cdn
    supersede_profile(renamed, "old", file)
    assert {name: each.cdn for name, each in parse_profiles(file.read_text(), file).items()} == {
        "other": found.cdn, "old": found.cdn
    }  # fmt: skip
