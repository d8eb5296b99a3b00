"""Nothing that is stored becomes markup, whatever it is called and whatever is in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.serve.console import names
from mediagit_storage.serve.console.markup import Html, element, escaped, joined

from .pages import Document

ANY = st.text(st.characters(codec=None, categories=None), max_size=60)
NASTY = st.lists(
    st.sampled_from(["<", ">", '"', "'", "&", "&lt;", "\n", "/", "..", ".", "\u202e", "\0", "é", "a", "%2e", "?", "#", "\udcff"]),
    max_size=12,
).map("".join)  # fmt: skip


@given(ANY | NASTY)
def test_text_stays_text(text):
    page = Document(element("p", {"title": text}, text, element("b", {}, "x")))
    assert [tag for tag, _ in page.elements] == ["p", "b"]
    kept = text.encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\r", "\n")
    values, shown = page.one("p")
    # What no document can hold (NUL and lone surrogates) is replaced; nothing else changes.
    assert values["title"].replace("\r", "\n") == kept or "\0" in text or "\r" in text
    assert shown.removesuffix("x").replace("\r", "\n") == kept or "\0" in text or "\r" in text


def test_html_is_not_escaped_twice_and_only_html_is_left_alone():
    assert joined(["<", Html("<br>"), None, element("i", {}, "&")]) == "&lt;<br><i>&amp;</i>"
    assert escaped(str(Html("<b>"))) == "&lt;b&gt;"
    assert element("a", {"href": Html('"')}) == '<a href="&quot;"></a>'
    assert element("input", {"checked": True, "hidden": False, "id": None, "max": 3}) == '<input checked max="3">'


@pytest.mark.parametrize(
    ("name", "html"),
    [
        ("plain ü.png", "plain ü.png"),
        ("<b>", "&lt;b&gt;"),
        ("a\u202egpj.exe", 'a<span class="escape">\\u202e</span>gpj.exe'),
        ("a\n\tb", 'a<span class="escape">\\n\\t</span>b'),
        ("caf\udce9", 'caf<span class="escape">\\xe9</span>'),
        ("\u200b\ufeff", '<span class="escape">\\u200b\\ufeff</span>'),
    ],
)
def test_what_does_not_print_is_marked(name, html):
    assert names.shown(name) == f'<bdi class="name">{html}</bdi>'


@given((ANY | NASTY).filter(bool))
def test_a_link_leads_to_the_very_same_key(key):
    """Through the path, or through the query where a browser would resolve dots; the host is never another."""
    try:
        wanted = key.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return
    for url, start in ((names.view_url(key, {"version": "v&1"}), "/-/view/"), (names.browse_url(key), "/-/browse/")):
        parts = urlsplit(url)
        assert url.startswith(start)
        assert url.isascii()
        assert (parts.scheme, parts.netloc, parts.fragment) == ("", "", "")
        if parts.path == start:
            named = dict(pair.split("=") for pair in parts.query.split("&"))
            found = unquote_to_bytes((named.get("key") or named["prefix"]).replace("+", " "))
        else:
            assert not {"..", "."} & set(parts.path.split("/"))
            found = unquote_to_bytes(parts.path[len(start) :])
        assert found == wanted


def test_bytes_are_offered_only_where_a_browser_can_ask_for_them():
    assert names.object_url("a/b c?.png") == "/-/o/a/b%20c%3F.png"
    for key in ("a/../b", ".", "a\nb", "/etc/passwd"):
        assert names.object_url(key) is None


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(seconds=3), "just now"),
        (timedelta(minutes=59), "59 min ago"),
        (timedelta(hours=23), "23 h ago"),
        (timedelta(hours=30), "yesterday"),
        (timedelta(days=6), "6 days ago"),
        (timedelta(days=7), "15 Nov 2026"),
        (-timedelta(days=1), "23 Nov 2026"),
    ],
)
def test_times_as_people_say_them(age, text):
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    values, shown = Document(names.moment(now - age, now)).one("time")
    assert shown == text
    assert values["title"] == f"{now - age:%Y-%m-%d %H:%M:%S} UTC"


def test_the_folder_of():
    cases = {"a/b/c": "a/b/", "a/b/": "a/", "a/": "", "a": "", "a//b": "a//", "a//": "a/"}
    assert {key: names.folder_of(key) for key in cases} == cases
