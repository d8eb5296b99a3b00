"""`mgs cdn`: links of the CDN that a profile names, purging, and the rules for Cache-Control."""

from __future__ import annotations

import json
import time

import pytest

from mediagit_storage.cdn import verify_token
from mediagit_storage.secrets import Secret
from mediagit_storage.testing.scripted_server import Receive, ScriptedServer, answer

KEY = "sixteen bytes and more"

PROFILES = """
[media]
url = "{folder}"
[media.cdn]
provider = "token"
base_url = "https://cdn.example.org"
key = {{ env = "CDN_KEY" }}
[[media.cdn.rules]]
match = "*.html"
cache_control = "no-cache"
[[media.cdn.rules]]
match = "fixed/"
cache_control = "public, max-age=31536000, immutable"
[[media.cdn.rules]]
content_type = "image/*"
cache_control = "public, max-age=86400"

[photos]
url = "{folder}"
[photos.cdn]
provider = "cloudflare"
base_url = "https://photos.example.org"
zone_id = "0123456789abcdef0123456789abcdef"
api_token = {{ env = "CDN_KEY" }}
api_url = "{api}"

[bare]
url = "{folder}"
"""


@pytest.fixture
def profiles(mgs, tmp_path, monkeypatch):
    """Profiles with CDNs; their folder."""
    folder = tmp_path / "stored"
    folder.mkdir()

    def write(api="https://api.example.org"):
        file = tmp_path / "profiles.toml"
        file.write_text(PROFILES.format(folder=folder, api=api))
        monkeypatch.setenv("MGS_CONFIG", str(file))
        monkeypatch.setenv("CDN_KEY", KEY)
        return folder

    write()
    return write


def test_urls(mgs, profiles):
    result = mgs("cdn", "url", "media:a b.png", "media:c?d")
    assert (result.code, result.lines) == (0, ["https://cdn.example.org/a%20b.png", "https://cdn.example.org/c%3Fd"])
    assert mgs("cdn", "url", "media:k", "--json").records == [
        {"v": 1, "type": "link", "key": "k", "url": "https://cdn.example.org/k"}
    ]


def test_signed_urls(mgs, profiles):
    [link] = mgs("cdn", "sign", "media:k", "--expires", "90s").lines
    assert verify_token(Secret(KEY), link.removeprefix("https://cdn.example.org"), now=int(time.time()))
    [record] = mgs("cdn", "sign", "media:v/k", "--scope", "v/", "--client", "::1", "--json").records
    assert (record["type"], record["key"], record["expires_in"]) == ("link", "v/k", 3600)
    assert "client=%3A%3A1" in record["url"]
    for wrong, code in (
        (("media:k", "--expires", "0"), 2),
        (("media:k", "--expires", "8d"), 2),
        (("media:k", "--scope", "v/"), 2),
        (("media:k", "--cookies"), 7),
        (("media:k", "--domain", "x.org"), 2),
        (("media:k", "bare:k"), 2),
        (("media:",), 2),
        (("bare:k",), 2),
        (("/tmp/k",), 2),
        (("none:k",), 2),
    ):
        result = mgs("cdn", "sign", *wrong)
        assert result.code == code, (wrong, result.err)
        assert KEY not in result.err + result.out


def test_cookies(mgs, profiles, tmp_path, monkeypatch):
    file = tmp_path / "google.toml"
    file.write_text(
        '[tv]\nurl = "memory://tv"\n[tv.cdn]\nprovider = "google"\nbase_url = "https://tv.example.org"\n'
        'key_name = "one"\nkey = { env = "TV_KEY" }\n'
    )
    monkeypatch.setenv("MGS_CONFIG", str(file))
    monkeypatch.setenv("TV_KEY", "nZtRohdNF9m3cKM24IcK4w==")
    arguments = ("cdn", "sign", "tv:show/1/a.ts", "--scope", "show/1/", "--cookies", "--domain", "example.org")
    [line] = mgs(*arguments).lines
    assert line.startswith("Set-Cookie: Cloud-CDN-Cookie=URLPrefix=")
    assert "; Path=/show/1/; Domain=example.org; " in line
    [record] = mgs(*arguments, "--json").records
    assert (record["type"], record["name"], record["path"]) == ("cookie", "Cloud-CDN-Cookie", "/show/1/")
    assert mgs("cdn", "sign", "tv:show/2/a.ts", "--scope", "show/1/", "--cookies").code == 2


def test_purging(mgs, profiles):
    fine = answer(200, b'{"success": true, "result": {"id": "one"}}', [("content-type", "application/json")])
    with ScriptedServer([Receive(), fine] * 3) as server:
        profiles(server.url)
        shown = mgs("cdn", "purge", "photos:a b.png", "photos:c", "--dry-run")
        assert shown.lines == [
            "POST /client/v4/zones/0123456789abcdef0123456789abcdef/purge_cache",
            '  {"files":["https://photos.example.org/a%20b.png","https://photos.example.org/c"]}',
        ]
        [record] = mgs("cdn", "purge", "photos:", "--prefix", "-n", "--json").records
        assert (record["type"], record["items"]) == ("purge-plan", ["photos.example.org"])
        assert server.connections == 0
        done = mgs("cdn", "purge", "photos:a b.png")
        assert (done.code, done.lines) == (0, ["purged https://photos.example.org/a%20b.png"])
        [record] = mgs("cdn", "purge", "photos:", "--tag", "season-1", "--json", "--wait").records
        assert record == {"v": 1, "type": "purge", "items": ["season-1"], "id": "one", "done": True}
        bodies = [json.loads(each.partition(b"\r\n\r\n")[2]) for each in server.received]
        assert bodies == [{"files": ["https://photos.example.org/a%20b.png"]}, {"tags": ["season-1"]}]
        assert KEY not in done.out + done.err


def test_what_was_purged_before_a_failure_is_told(mgs, profiles):
    fine = answer(200, b'{"success": true, "result": {"id": "one"}}', [("content-type", "application/json")])
    with ScriptedServer([Receive(), fine, Receive(), answer(403, b"{}")]) as server:
        profiles(server.url)
        result = mgs("cdn", "purge", "photos:a", "--tag", "t", "--wait", "--patience", "1m")
        assert (result.code, result.lines) == (11, ["purged https://photos.example.org/a"])
        assert "this is after 1 purged, or on their way" in result.err
        assert KEY not in result.err


def test_purging_what_cannot_be(mgs, profiles):
    assert mgs("cdn", "purge", "photos:").code == 2
    result = mgs("cdn", "purge", "photos:half", "--prefix")
    assert (result.code, "ends with /" in result.err) == (7, True)
    folder = mgs("cdn", "purge", "photos:half/", "-n")
    assert (folder.code, "add --prefix" in folder.err) == (0, True)
    result = mgs("cdn", "purge", "media:k")
    assert (result.code, "cannot purge by key" in result.err) == (7, True)


def test_rules_are_shown(mgs, profiles):
    lines = mgs("cdn", "rules", "media:a/index.html", "media:fixed/x/y", "media:b.png", "media:b.bin").lines
    assert lines == [
        "a/index.html: no-cache",
        "fixed/x/y: public, max-age=31536000, immutable",
        "b.png: public, max-age=86400",
        "b.bin: no rule",
    ]
    assert mgs("cdn", "rules", "bare:index.html", "--json").records == [{"v": 1, "type": "rule", "key": "index.html"}]


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        ('content_type = "*"', "like"),
        ('content_type = "text/html; charset=utf-8"', "without parameters"),
        ('match = "["', "never ends it"),
        ('cache = "x"', "no option 'cache'"),
    ],
)
def test_rules_that_would_match_nothing_are_refused(mgs, profiles, tmp_path, rule, word):
    file = tmp_path / "profiles.toml"
    file.write_text(f'{file.read_text()}\n[[photos.cdn.rules]]\ncache_control = "x"\n{rule}\n')
    result = mgs("cdn", "rules", "photos:k")
    assert (result.code, word in result.err, "rule 1 of the CDN of profile 'photos'" in result.err) == (2, True, True)


def cache_control(mgs, target):
    [record] = mgs("stat", target, "--json").records
    return record.get("attributes", {}).get("cache_control")


def test_rules_hold_for_all_that_stores(mgs, profiles, work):
    site = work / "site"
    (site / "fixed").mkdir(parents=True)
    for name in ("index.html", "a.png", "fixed/app.js", "b.bin"):
        (site / name).write_bytes(name.encode())
    assert mgs("put", site / "index.html", "media:one.html").code == 0
    assert mgs("put", "-", "media:two.html", stdin=b"2").code == 0
    assert mgs("put", "-", "media:three.html", "--cache-control", "private", stdin=b"3").code == 0
    assert mgs("put", "-", "media:four", "--content-type", "image/png; x=y", stdin=b"4").code == 0
    assert mgs("cp", "-r", f"{site}/", "media:copied/").code == 0
    assert mgs("sync", site, "media:synced").code == 0
    found = {
        key: cache_control(mgs, f"media:{key}")
        for key in ("one.html", "two.html", "three.html", "four", "copied/a.png", "synced/index.html", "synced/b.bin")
    }
    assert found == {
        "one.html": "no-cache",
        "two.html": "no-cache",
        "three.html": "private",
        "four": "public, max-age=86400",
        "copied/a.png": "public, max-age=86400",
        "synced/index.html": "no-cache",
        "synced/b.bin": None,
    }
    assert cache_control(mgs, "media:copied/fixed/app.js") == "public, max-age=31536000, immutable"
    assert mgs("cp", "media:one.html", "bare:plain.html").code == 0
    assert cache_control(mgs, "bare:plain.html") == "no-cache"
    assert mgs("cp", "media:one.html", "media:one.png").code == 0
    assert cache_control(mgs, "media:one.png") == "no-cache"


def test_a_cutover_keeps_the_cdn(mgs, profiles, tmp_path):
    assert mgs("put", "-", "media:a.html", stdin=b"1").code == 0
    moved = mgs("migrate", "media:", tmp_path / "new", "--create", "--cutover", "media")
    assert (moved.code, "has a CDN: let that ask" in moved.err) == (0, True)
    assert mgs("cdn", "url", "media:a.html").lines == ["https://cdn.example.org/a.html"]
    assert mgs("cdn", "rules", "media:a.html").lines == ["a.html: no-cache"]


def test_a_profile_with_a_cdn_is_shown_and_kept(mgs, profiles):
    [record] = mgs("profile", "show", "media", "--json").records
    assert record["cdn"]["key"] == {"env": "CDN_KEY"}
    assert record["cdn"]["provider"] == "token"
    assert mgs("profile", "add", "other", "memory://x").code == 0
    assert mgs("cdn", "url", "media:k").code == 0
    assert mgs("profile", "remove", "other").code == 0
    assert mgs("cdn", "rules", "media:x.html").lines == ["x.html: no-cache"]
