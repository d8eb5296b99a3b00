"""What a CDN of a storage links to: exact URLs, seen through layers, for as long as it may be."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import mediagit_storage as mgs
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.cdn import CDN, CDNConfig, Provider, cdn_types, open_cdn, register_cdn
from mediagit_storage.cdn.nginx import NginxCDN, NginxConfig, secure_link_md5
from mediagit_storage.cdn.origin import Origin, OriginConfig
from mediagit_storage.cdn.tokens import TokenCDN, TokenConfig
from mediagit_storage.errors import ConfigError, InvalidKeyError, UnsupportedError
from mediagit_storage.layers.order import LAYERS
from mediagit_storage.secrets import Secret
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.manual_clock import ManualClock
from mediagit_storage.testing.stacking import LAYER_ROWS, make_layer

from .conftest import HOSTILE, NOW

KEY = Secret("sixteen bytes and more")


class Plain(Provider):
    """A CDN that shows objects and can do nothing else."""

    name = "plain"

    def __init__(self, config: CDNConfig) -> None:
        self.base = config.shown_at()
        self.max_expires = config.max_expires


def plain(url="https://cdn.example.org/base", **options) -> Plain:
    return Plain(CDNConfig(base_url=url, **options))


@covers(112)
@pytest.mark.parametrize("key", HOSTILE)
def test_a_key_makes_the_round_trip_through_its_url(in_front, key):
    url = in_front(plain()).url(key)
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("https", "cdn.example.org", "", "")
    assert unquote(parts.path, errors="strict") == f"/base/{key}"
    assert url.isascii()
    assert "+" not in url


def test_two_keys_never_have_one_url(in_front):
    cdn = in_front(plain())
    assert len({cdn.url(key) for key in HOSTILE}) == len(HOSTILE)


@pytest.mark.parametrize("key", ["a/../b", "..", "./a", "a/.", "a/./b"])
def test_a_key_that_clients_would_fold_has_no_url(in_front, key):
    with pytest.raises(InvalidKeyError):
        in_front(plain()).url(key)


@pytest.mark.parametrize("key", ["", "\ud800"])
def test_what_is_no_key_has_no_url(in_front, key):
    with pytest.raises(InvalidKeyError):
        in_front(plain()).url(key)


@pytest.mark.server
def test_the_bytes_are_there_under_the_url(nginx):
    """A real server gives the object of the storage for its URL, whatever the key."""
    base, folder = nginx
    with mgs.open_storage(folder) as store:
        cdn = CDN(store, plain(f"{base}/open"))
        for number, key in enumerate(HOSTILE):
            try:
                store.put(key, str(number).encode())
            except InvalidKeyError:
                continue  # a local folder does not hold it
            with urllib.request.urlopen(cdn.url(key), timeout=30) as response:
                assert response.read() == str(number).encode(), key


def test_prefixes_of_layers_and_origin_paths(in_front):
    layers = [{"layer": "prefix", "prefix": "b/"}, "readonly", {"layer": "prefix", "prefix": "a/"}]
    assert in_front(plain(), *layers).url("x") == "https://cdn.example.org/base/a/b/x"
    assert in_front(plain(), url="memory://cdn-tests/in/ner").url("x") == "https://cdn.example.org/base/in/ner/x"
    assert in_front(plain(origin_path="/a"), *layers).url("x") == "https://cdn.example.org/base/b/x"
    for key in ("ab/x", "a/", "a", "b"):
        with pytest.raises(InvalidKeyError, match="only what is below 'a/'"):
            in_front(plain(origin_path="a")).url(key)
    base = plain(origin_path="a/b").base
    shown = [base.prefix_path(prefix) for prefix in ("", "a", "a/", "a/b", "a/b/", "a/b/c", "a/b/c/")]
    assert shown == ["/base/"] * 5 + ["/base/c", "/base/c/"]
    for prefix in ("a/c", "a/b/\ud800", "a/b/\udcc3"):
        with pytest.raises(InvalidKeyError):
            base.prefix_path(prefix)


@pytest.mark.parametrize("name", sorted(LAYER_ROWS))
def test_links_through_each_layer_as_the_table_says(name):
    """Presigned links and those of CDNs pass through the same layers."""
    [kind] = [each for each in LAYERS if each.name == name]
    layer = make_layer(name, MemoryBackend())
    assert layer.links == kind.links
    layer.close()


@pytest.mark.parametrize("layer", ["compress", "encrypt"])
def test_what_is_stored_as_other_bytes_is_not_linked_to(in_front, layer):
    cdn = in_front(TokenCDN(TokenConfig(base_url="https://x.org", key=KEY)))
    store = mgs.Storage(make_layer(layer, MemoryBackend()))
    with CDN(store, cdn.provider) as hidden:
        for link in (hidden.url, hidden.sign):
            with pytest.raises(UnsupportedError, match=layer):
                link("k")
        with pytest.raises(UnsupportedError, match=layer):
            hidden.cookies(scope="k/")
    store.close()


@covers(111)
@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"expires": 0}, "lives 1 to"),
        ({"expires": -5}, "lives 1 to"),
        ({"expires": timedelta(days=8)}, "max_expires"),
        ({"expires": float("nan")}, "number of seconds"),
        ({"expires": float("inf")}, "number of seconds"),
        ({"expires": 60, "starts": 60}, "starts before it ends"),
        ({"expires": 60, "starts": -1}, "not in the past"),
        ({"client": "192.0.2.7/24"}, "no network"),
        ({"client": "somewhere"}, "no address"),
        ({"scope": "other/"}, "does not hold"),
    ],
)
def test_lives_that_cannot_be(in_front, options, word):
    cdn = in_front(TokenCDN(TokenConfig(base_url="https://x.org", key=KEY)))
    with pytest.raises(ConfigError, match=word):
        cdn.sign("k", **options)


def test_the_end_is_counted_from_the_clock_and_rounded_up(in_front):
    cdn = in_front(TokenCDN(TokenConfig(base_url="https://x.org", key=KEY)))
    assert f"expires={NOW + 2}&" in cdn.sign("k", expires=1.5)
    assert f"expires={NOW + 7 * 86_400}&" in cdn.sign("k", expires=timedelta(days=7))


@covers(113)
def test_what_a_cdn_cannot_do_is_refused(in_front):
    cdn = in_front(plain())
    for refused in (
        lambda: cdn.sign("k"),
        lambda: cdn.sign("k", scope="k"),
        lambda: cdn.cookies("k"),
        lambda: cdn.cookies(scope="k"),
        lambda: cdn.purge(keys=["k"]),
        lambda: cdn.plan(tags=["k"]),
    ):
        with pytest.raises(UnsupportedError, match="'plain'"):
            refused()


def test_the_origin_signs_its_own_links(in_front):
    cdn = in_front(Origin(OriginConfig()))
    assert cdn.sign("a b", expires=60).startswith("memory://")
    with pytest.raises(ConfigError, match="base_url"):
        cdn.url("a b")
    with pytest.raises(UnsupportedError):
        cdn.sign("a b", scope="a")
    assert in_front(Origin(OriginConfig(base_url="https://bucket.example.org"))).url("a b").endswith("/a%20b")
    with pytest.raises(UnsupportedError):
        in_front(Origin(OriginConfig()), "compress").sign("k")


# ---- nginx


def fetched(url: str) -> int | bytes:
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            return response.read()
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.server
def test_nginx_takes_our_links_for_any_key_and_no_others(nginx):
    base, folder = nginx
    provider = NginxCDN(NginxConfig(base_url=f"{base}/links", secret=Secret("hush hush")))
    with mgs.open_storage(folder) as store:
        cdn = CDN(store, provider)  # the machine's own clock, as nginx has it
        for number, key in enumerate(HOSTILE):
            try:
                store.put(key, b"%d" % number)
            except InvalidKeyError:
                continue
            assert fetched(cdn.sign(key)) == b"%d" % number, key
            assert fetched(cdn.url(key)) == 403
        store.put("one", b"1")
        store.put("two", b"2")
        link = cdn.sign("one")
        assert fetched(link) == b"1"
        assert fetched(link.replace("/one?", "/two?")) == 403
        assert fetched(link[:-1] + ("1" if link[-1] != "1" else "2")) == 403
        past = CDN(store, provider, clock=ManualClock(NOW - 1_000_000_000))
        assert fetched(past.sign("one")) == 410


@pytest.mark.server
def test_nginx_binds_links_to_an_address(nginx):
    base, folder = nginx
    provider = NginxCDN(NginxConfig(base_url=f"{base}/bound", secret=Secret("hush hush"), bind_client=True))
    with mgs.open_storage(folder) as store:
        store.put("one", b"1")
        cdn = CDN(store, provider)
        assert fetched(cdn.sign("one", client="127.0.0.1")) == b"1"
        assert fetched(cdn.sign("one", client="127.0.0.2")) == 403
        for client in (None, "127.0.0.0/8"):
            with pytest.raises(UnsupportedError, match="that address"):
                cdn.sign("one", client=client)
        with pytest.raises(UnsupportedError, match="start"):
            cdn.sign("one", starts=1)


def test_the_example_of_the_nginx_documentation():
    assert secure_link_md5("secret", "/s/link", 2147483647, "127.0.0.1") == "_e4Nc3iduzkWRm01TBBNYw"


# ---- opening

PROFILE = """
[media]
url = "memory://media/in"
[media.cdn]
provider = "{provider}"
{options}
"""


@pytest.fixture
def profiles(tmp_path):
    """Writes the profile ``media`` with a CDN; the environment that names it."""

    def write(provider="token", options='base_url = "https://x.org"\nkey = { env = "CDN_KEY" }'):
        file = tmp_path / "profiles.toml"
        file.write_text(PROFILE.format(provider=provider, options=options))
        return {"MGS_CONFIG": str(file)}

    return write


def test_open_cdn(profiles, monkeypatch):
    monkeypatch.setenv("CDN_KEY", "sixteen bytes and more")
    with open_cdn("media:", environ=profiles()) as cdn:
        assert cdn.url("k") == "https://x.org/in/k"
        assert cdn.sign("k").startswith("https://x.org/in/k?expires=")
        assert "sixteen" not in repr(cdn) + repr(cdn.provider)
    with open_cdn("media:deep", environ=profiles()) as cdn:
        assert cdn.url("k") == "https://x.org/in/deep/k"


@pytest.mark.parametrize(
    "url",
    [
        's3://bucket/in"\naccess_key_id = { env = "NOT_SET" }\nsecret_access_key = { env = "NOT_SET" }\nregion = "eu-west-1',
        'az://bucket/in"\naccount = "a"\naccount_key = { env = "NOT_SET" }\nendpoint = "https://a.example.org',
        'gs://bucket/in"\nservice_account_file = "/not/there.json',
        "davs://dav.example.org/in",
    ],
)
def test_links_need_nothing_of_the_storage(profiles, monkeypatch, url):
    """Neither credentials nor what they are found with: only the names of keys, which the layers know."""
    monkeypatch.setenv("CDN_KEY", "sixteen bytes and more")
    file = Path(profiles()["MGS_CONFIG"])
    file.write_text(file.read_text().replace("memory://media/in", url))
    with open_cdn("media:", environ={"MGS_CONFIG": str(file)}) as cdn:
        assert cdn.url("k") == "https://x.org/in/k"
        assert cdn.sign("k").startswith("https://x.org/in/k?expires=")


def test_a_link_of_the_storage_itself_opens_it_for_that(profiles, monkeypatch):
    secrets = 'access_key_id = { env = "OWN_ID" }\nsecret_access_key = { env = "OWN_SECRET" }\nregion = "eu-west-1"'
    file = Path(profiles("origin", 'base_url = "https://x.org"')["MGS_CONFIG"])
    file.write_text(file.read_text().replace('memory://media/in"', f's3://bucket/in"\n{secrets}'))
    with open_cdn("media:", environ={"MGS_CONFIG": str(file)}) as cdn:
        assert cdn.url("k") == "https://x.org/in/k"
        with pytest.raises(ConfigError, match="OWN_ID"):
            cdn.sign("k")
        monkeypatch.setenv("OWN_ID", "id")
        monkeypatch.setenv("OWN_SECRET", "hush")
        assert "/in/k?X-Amz-Algorithm=" in cdn.sign("k")


def test_nothing_is_asked_of_a_storage_that_is_not_open(profiles):
    with open_cdn("media:", environ=profiles()) as cdn:
        store = cdn._store
        for ask in (
            lambda: store.get("k"),
            lambda: store.put("k", b""),
            lambda: store.stat("k"),
            lambda: store.open("k"),
            lambda: store.delete("k"),
            lambda: list(store.list()),
            lambda: list(store.list_dir()),
            store.connection_info,
        ):
            with pytest.raises(UnsupportedError, match="memory://media"):
                ask()


def test_links_stand_in_the_audit_log(in_front, tmp_path):
    """Like those of the storage itself, with the key that the layer sees; a plain URL lends nothing."""
    audit = tmp_path / "audit.jsonl"
    layers = ({"layer": "prefix", "prefix": "out/"}, {"layer": "observe", "audit": str(audit)})
    cdn = in_front(TokenCDN(TokenConfig(base_url="https://x.org", key=KEY)), *layers)
    cdn.url("k")
    cdn.sign("v/k")
    cdn.sign("v/k", scope="v/")
    with pytest.raises(ConfigError):
        cdn.sign("v/k", expires=-1)
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [(line["operation"], line["key"], line["detail"]) for line in lines] == [
        ("presign", "out/v/k", "GET by the CDN token"),
        ("presign", "out/v/", "GET by the CDN token, all that begins so"),
    ]
    assert "token=" not in audit.read_text()


def test_a_secret_in_the_profile_itself_is_warned_of(profiles):
    options = 'base_url = "https://x.org"\nkey = "sixteen bytes, written down"'
    with (
        pytest.warns(mgs.LiteralSecretWarning, match=r"'cdn\.key'"),
        open_cdn("media:", environ=profiles(options=options)),
    ):
        pass


@pytest.mark.parametrize(
    ("provider", "options", "word"),
    [
        ("akamai", "", "unknown CDN 'akamai'"),
        ("token", 'base_url = "https://x.org"', "needs the option 'key'"),
        ("token", 'base_url = "https://x.org"\nkey = { env = "K" }\nkeys = 1', "did you mean 'key'"),
        ("token", 'base_url = "https://x.org"\nkey = 5', "secret 'key'"),
        ("fastly", "", "base_url"),
        ("fastly", 'base_url = "ftp://x.org"', "base_url"),
        ("fastly", 'base_url = "https://x.org/a/./b"', "base_url: a path with the segment"),
        ("fastly", 'base_url = "https://x.org"\ntoken_key = "x"', "the CDN 'fastly' has no option 'token_key'"),
        ("fastly", 'base_url = "http://x.org"', "base_url: plain http"),
        ("fastly", 'base_url = "https://u:hush@x.org"', "no credentials"),
        ("fastly", 'base_url = "https://x.org"\nsoft = "yes"', "true or false"),
        ("fastly", 'base_url = "https://x.org"\nmax_expires = 0', "max_expires"),
        ("fastly", 'base_url = "https://x.org"\nmax_expires = 9999999999', "max_expires"),
        ("fastly", 'base_url = "https://x.org"\nattempts = 0', "attempts"),
        ("fastly", 'base_url = "https://x.org"\nservice_id = "a/b"', "service_id"),
        ("nginx", 'base_url = "https://x.org"\nsecret = { env = "S" }\nmd5_parameter = "expires"', "two names"),
        ("cloudfront", 'base_url = "https://x.org"\nkey_pair_id = "K1"', "belong together"),
        ("cloudfront", 'base_url = "https://x.org"\nhash_algorithm = "md5"', "sha1"),
        ("cloudfront", 'base_url = "https://x.org"\ndistribution_id = "../x"', "letters and digits"),
        ("cloudfront", 'base_url = "https://x.org"\naccess_key_id = { env = "S" }', "belong together"),
        ("google", 'base_url = "https://x.org"\nkey_name = "k"', "belong together"),
        ("google", 'base_url = "https://x.org"\nkey_name = "k k"\nkey = { env = "S" }', "key_name"),
        ("google", 'base_url = "https://x.org"\nproject = "a/b"', "project"),
        ("cloudflare", 'base_url = "https://x.org"\nzone_id = "x"', "zone_id"),
        ("cloudflare", 'base_url = "https://x.org"\ntoken_parameter = "a=b"', "token_parameter"),
        ("cloudflare", 'base_url = "https://x.org"\ntoken_ttl = 0', "token_ttl"),
    ],
)
def test_profiles_that_cannot_be(profiles, provider, options, word):
    with pytest.raises(ConfigError, match=word) as caught:
        open_cdn("media:", environ=profiles(provider, options))
    assert "profile 'media' in" in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "keys", "profile"),
    [
        ("", ("ENV", "env-secret", "env-token"), None),
        ('access_key_id = { env = "ID" }\nsecret_access_key = { env = "SECRET" }', ("OWN", "own", None), None),
        ('aws_profile = "prod"', None, "prod"),
    ],
)
def test_keys_of_the_environment_come_together_or_not_at_all(profiles, options, keys, profile):
    environ = {
        **profiles("cloudfront", f'base_url = "https://x.org"\n{options}'),
        "AWS_ACCESS_KEY_ID": "ENV", "AWS_SECRET_ACCESS_KEY": "env-secret", "AWS_SESSION_TOKEN": "env-token",
    }  # fmt: skip
    with open_cdn("media:", environ=environ) as cdn:
        config = cdn.provider._config
    found = (config.access_key_id, config.secret_access_key, config.session_token)
    if keys is None:
        assert (found, config.aws_profile) == ((None, None, None), profile)
    elif keys[0] == "ENV":
        assert tuple(each.reveal() for each in found) == keys
    else:
        assert (found[0].env, found[1].env, found[2]) == ("ID", "SECRET", None)


def test_what_has_no_cdn(profiles, tmp_path):
    with pytest.raises(ConfigError, match="named by a profile"):
        open_cdn("memory://x")
    file = tmp_path / "other.toml"
    file.write_text('[media]\nurl = "memory://x"\n')
    with pytest.raises(ConfigError, match=r"\[media.cdn\]"):
        open_cdn("media:", environ={"MGS_CONFIG": str(file)})


def test_a_plug_in(profiles):
    register_cdn("plain", Plain, CDNConfig)
    register_cdn("plain", Plain, CDNConfig)
    assert "plain" in cdn_types()
    with open_cdn("media:", environ=profiles("plain", 'base_url = "https://x.org"')) as cdn:
        assert cdn.url("k") == "https://x.org/in/k"
    for name, factory in (("plain", TokenCDN), ("token", Plain), ("No", Plain)):
        with pytest.raises(ConfigError):
            register_cdn(name, factory, CDNConfig)
