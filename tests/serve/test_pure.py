"""What a gateway decides without any I/O: targets, ranges, conditions, headers, who is let in."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage import errors
from mediagit_storage.errors import ConfigError
from mediagit_storage.http.encoding import format_http_date
from mediagit_storage.ranges import Span
from mediagit_storage.secrets import Secret
from mediagit_storage.serve.access import Gate, embedding, holds_token, host_allowed, may_list, may_read, may_write
from mediagit_storage.serve.answers import STATUSES, object_headers, retry_after, status_of
from mediagit_storage.serve.byte_ranges import BadRangeError, content_range, parse_ranges, spans_of
from mediagit_storage.serve.conditions import entity_tag, judge, range_applies
from mediagit_storage.serve.settings import ServeSettings, exposure
from mediagit_storage.serve.targets import BadTargetError, key_in, shown_target
from mediagit_storage.testing.covers import covers
from mediagit_storage.types import Attributes, ByteRange, ObjectInfo

NOON = datetime(2026, 5, 1, 12, 0, 0, 700_000, tzinfo=UTC)
TOKEN = Secret("0123456789abcdef")


# ---- targets


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("a/b.png", "a/b.png"),
        ("a%20b+c", "a b+c"),
        ("%E6%97%A5%E6%9C%AC", "日本"),
        ("100%25", "100%"),
        ("%252e%252e%252fetc", "%2e%2e%2fetc"),
        ("a%2Fb", "a/b"),
        ("a//b", "a//b"),
        ("folder/", "folder/"),
        ("..a/b..", "..a/b.."),
        ("%FF", "\udcff"),
        ("a;b,c=d&e", "a;b,c=d&e"),
    ],
)
def test_a_path_is_decoded_once_and_exactly(path: str, key: str) -> None:
    assert key_in(path) == key


@covers(238)
@pytest.mark.parametrize(
    "path",
    ["", "/a", "//a", "%2Fa", "..", "../a", "%2e%2e/a", "%2e%2e%2fa", "a/../b", "a/%2E%2E", "a/.", "./a", "a/..%2f..%2fb", "%zz", "a%", "a%2", "a b", "a#b", "%00", "a%0d%0ab", "%1b[0m", "%c2%85", "a%7f", "é", "x" * 1025, "%41" * 1025],
)  # fmt: skip
def test_what_names_no_key_is_refused(path: str) -> None:
    with pytest.raises(BadTargetError):
        key_in(path)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60))
def test_every_key_comes_back_from_its_own_path(key: str) -> None:
    if key[0] == "/" or not {".", ".."}.isdisjoint(key.split("/")):
        return
    assert key_in(quote(key)) == key
    assert key_in(quote(key, safe="")) == key


@given(st.text("%2eEfFaA/.\\0", max_size=30))
def test_no_path_leads_out(path: str) -> None:
    try:
        key = key_in(path)
    except BadTargetError:
        return
    assert key == unquote_to_bytes(path).decode("utf-8", "surrogateescape")
    assert not key.startswith("/")
    assert ".." not in key.split("/")


def test_a_log_shows_no_signature() -> None:
    assert shown_target("/-/o/a", "mgs-expires=5&mgs-signature=abc") == "/-/o/a?mgs-expires=5&mgs-signature=***"
    assert shown_target("/a", "v=1") == "/a?v=1"
    assert shown_target("/a", "") == "/a"


# ---- ranges


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, []),
        ("lines=1-2", []),
        ("bytes=0-0", [ByteRange(0, 1)]),
        ("bytes=5-", [ByteRange(5)]),
        ("bytes=-7", [ByteRange(suffix=7)]),
        ("Bytes = 1-2 , 4-", [ByteRange(1, 2), ByteRange(4)]),
        ("bytes=,1-2,,", [ByteRange(1, 2)]),
        (f"bytes=0-{2**64 - 1}", [ByteRange(0, 10**18 + 1)]),
        (f"bytes={2**64}-", [ByteRange(10**18)]),
    ],
)
def test_ranges_are_read(header: str | None, wanted: list[ByteRange]) -> None:
    assert [*parse_ranges(header)] == wanted


@pytest.mark.parametrize(
    "header",
    ["bytes=", "bytes=a-b", "bytes=5-4", "bytes=-0", "bytes=-", "bytes=--1", "bytes=1", "bytes=0x1-2", "bytes=1-2-3", "bytes=" + "9" * 41 + "-", "bytes=" + "0-0," * 17, "bytes=٣-٤", "bytes=1 - 2"],
)  # fmt: skip
def test_what_is_no_range_is_refused(header: str) -> None:
    with pytest.raises(BadRangeError):
        parse_ranges(header)


@pytest.mark.parametrize(
    ("header", "size", "spans"),
    [
        ("bytes=0-9,500-509", 1000, [(0, 10), (500, 10)]),
        ("bytes=500-509,0-9", 1000, [(500, 10), (0, 10)]),
        ("bytes=0-9,5-19", 1000, [(0, 20)]),
        ("bytes=0-0,50-50", 1000, [(0, 51)]),
        ("bytes=900-,-10", 1000, [(900, 100)]),
        ("bytes=0-0,5000-", 1000, [(0, 1)]),
        ("bytes=-5000,700-", 1000, [(0, 1000)]),
        ("bytes=0-9,500-509,5-505", 1000, [(0, 510)]),
    ],
)
def test_ranges_are_clipped_and_joined(header: str, size: int, spans: list[tuple[int, int]]) -> None:
    assert [*spans_of(parse_ranges(header), size)] == spans


@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 500)), min_size=1, max_size=16), st.integers(0, 2500))
def test_joined_ranges_cover_what_was_asked_and_never_overlap(wanted: list[tuple[int, int]], size: int) -> None:
    asked = {at for offset, length in wanted for at in range(offset, min(size, offset + length))}
    try:
        spans = spans_of([ByteRange(*each) for each in wanted], size)
    except BadRangeError:
        assert not asked
        return
    told = [at for start, length in spans for at in range(start, start + length)]
    assert asked <= set(told)
    assert len(told) == len(set(told))
    assert max(told) < size


def test_a_range_past_the_end_is_none() -> None:
    with pytest.raises(BadRangeError):
        spans_of([ByteRange(10)], 10)
    assert content_range(Span(2, 3), 10) == "bytes 2-4/10"


# ---- conditions


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        ({}, "go on"),
        ({"if-none-match": '"a"'}, "not modified"),
        ({"if-none-match": 'W/"a"'}, "not modified"),
        ({"if-none-match": '"x", "a"'}, "not modified"),
        ({"if-none-match": "*"}, "not modified"),
        ({"if-none-match": '"b"'}, "go on"),
        ({"if-none-match": "a"}, "go on"),
        ({"if-match": '"a"'}, "go on"),
        ({"if-match": "*"}, "go on"),
        ({"if-match": 'W/"a"'}, "failed"),
        ({"if-match": '"b"'}, "failed"),
        ({"if-modified-since": "Fri, 01 May 2026 12:00:00 GMT"}, "not modified"),
        ({"if-modified-since": "Fri, 01 May 2026 11:59:59 GMT"}, "go on"),
        ({"if-modified-since": "nonsense"}, "go on"),
        ({"if-none-match": '"b"', "if-modified-since": "Fri, 01 May 2026 12:00:00 GMT"}, "go on"),
        ({"if-unmodified-since": "Fri, 01 May 2026 12:00:00 GMT"}, "go on"),
        ({"if-unmodified-since": "Fri, 01 May 2026 11:59:59 GMT"}, "failed"),
        ({"if-match": '"a"', "if-unmodified-since": "Fri, 01 May 2026 11:59:59 GMT"}, "go on"),
        ({"if-match": '"b"', "if-none-match": '"a"'}, "failed"),
    ],
)
def test_conditions_hold_in_their_order(headers: dict[str, str], verdict: str) -> None:
    assert judge(headers, '"a"', NOON, reading=True) == verdict


def test_conditions_of_a_write() -> None:
    assert judge({"if-none-match": '"a"'}, '"a"', NOON, reading=False) == "failed"
    absent = {"reading": False, "exists": False}
    assert judge({"if-none-match": "*"}, None, None, **absent) == "go on"
    assert judge({"if-match": "*"}, None, None, **absent) == "failed"
    assert judge({"if-unmodified-since": format_http_date(NOON)}, None, None, **absent) == "failed"
    # What has no tag is there all the same.
    assert judge({"if-none-match": "*"}, None, NOON, reading=False) == "failed"
    assert judge({"if-match": "*"}, None, NOON, reading=False) == "go on"
    assert judge({"if-modified-since": format_http_date(NOON)}, '"a"', NOON, reading=False) == "go on"


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.timezones()))  # noqa: DTZ001
def test_times_are_told_as_the_library_of_mail_tells_them(moment: datetime) -> None:
    assert format_http_date(moment) == format_datetime(moment.astimezone(UTC), usegmt=True)


def test_if_range_needs_the_very_same() -> None:
    assert range_applies(None, '"a"', NOON)
    assert range_applies('"a"', '"a"', NOON)
    assert not range_applies('"b"', '"a"', NOON)
    assert not range_applies('W/"a"', 'W/"a"', NOON)
    assert not range_applies("Fri, 01 May 2026 12:00:00 GMT", 'W/"a"', NOON), "two bodies of one second"
    assert range_applies("Fri, 01 May 2026 12:00:00 GMT", '"a"', NOON)
    assert not range_applies("Fri, 01 May 2026 12:00:01 GMT", '"a"', NOON)
    assert not range_applies("nonsense", '"a"', NOON)
    assert not range_applies('"a"', None, NOON)


def test_a_tag_tells_nothing_of_the_storages_own() -> None:
    info = ObjectInfo("a", etag='inode-12345-"\r\nx')
    tag = entity_tag(info, exact=True)
    assert tag is not None
    assert "12345" not in tag
    assert tag == entity_tag(info, exact=True) != entity_tag(ObjectInfo("a", etag="other"), exact=True)
    assert entity_tag(info, exact=False) == f"W/{tag}"
    assert entity_tag(ObjectInfo("a"), exact=True) is None


# ---- headers and statuses


def test_a_stored_header_cannot_break_out() -> None:
    held = Attributes(
        content_type="text/html\r\nset-cookie: a=b", cache_control="no\x00", content_disposition=' attachment; filename="é" '
    )  # fmt: skip
    found = object_headers(
        ObjectInfo("x.html", attributes=held), "x.html", exact=True, cache_control="public", private=False, disposition=None
    )  # fmt: skip
    names = dict(found)
    assert names[b"content-type"] == b"application/octet-stream", "without one clients guess"
    assert b"cache-control" not in names
    assert names[b"content-disposition"] == 'attachment; filename="é"'.encode()
    assert names[b"content-security-policy"].startswith(b"sandbox; default-src 'none'")


def test_private_objects_stay_out_of_shared_caches() -> None:
    info = ObjectInfo("a.txt", attributes=Attributes(cache_control="public, max-age=60"))
    found = dict(object_headers(info, "a.txt", exact=True, cache_control=None, private=True, disposition=None))
    assert found[b"cache-control"] == b"private, no-cache"
    assert found[b"content-type"] == b"text/plain; charset=utf-8"


def test_every_error_has_a_status() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        assert 400 <= status_of(kind("secret words")) < 600, name
    assert [kind for kind, _ in STATUSES].index(errors.NotFoundError) > [kind for kind, _ in STATUSES].index(
        errors.BucketNotFoundError
    )
    assert status_of(ValueError()) == 500


def test_clients_wait_as_long_as_the_storage_asks() -> None:
    error = errors.ThrottledError("slow down")
    assert retry_after(error) == 1
    error.retry_after = 12.4
    assert retry_after(error) == 12
    error.retry_after = 1e9
    assert retry_after(error) == 3600


# ---- who is let in


def _basic(text: str) -> Gate:
    return Gate(authorization=f"Basic {base64.b64encode(text.encode()).decode()}")


@covers(240)
def test_only_the_token_is_the_token() -> None:
    for gate in (Gate("Bearer 0123456789abcdef"), Gate("bearer  0123456789abcdef"), _basic("me:0123456789abcdef")):
        assert holds_token(TOKEN, gate)
    wrong = [
        "",
        "Bearer",
        "Bearer ",
        "Bearer 0123456789abcde",
        "Bearer 0123456789abcdefg",
        "0123456789abcdef",
        "Basic !",
    ]
    for text in wrong:
        assert not holds_token(TOKEN, Gate(text))
    for gate in (_basic("0123456789abcdef"), _basic("0123456789abcdef:"), Gate("Bearer é"), Gate("Basic é")):
        assert not holds_token(TOKEN, gate)
    assert not holds_token(None, Gate("Bearer "))
    assert not holds_token(None, Gate("Bearer None"))


@covers(240)
def test_what_is_allowed_by_default() -> None:
    settings = ServeSettings()
    assert settings.read_only
    assert may_read(settings, Gate())
    assert may_list(settings, Gate())
    assert not may_write(settings, Gate("Bearer 0123456789abcdef"))


@covers(240)
@pytest.mark.parametrize(
    ("local", "words", "expected"),
    [
        (True, "", ("open", True)),
        (True, "private", ("token", False)),
        (True, "public", ("open", False)),
        (True, "public public_listing", ("open", True)),
        (False, "", ("token", False)),
        (False, "private", ("token", False)),
        (False, "public", ("open", False)),
        (False, "public public_listing", ("open", True)),
    ],
)
def test_who_reaches_a_gateway(local: bool, words: str, expected: tuple[str, bool]) -> None:
    said = {name: name in words.split() for name in ("private", "public", "public_listing")}
    assert exposure(local=local, **said) == expected


def test_settings_that_would_let_everybody_in_are_refused() -> None:
    for wrong in (
        {"writable": True},
        {"reads": "token"},
        {"token": Secret("short")},
        {"concurrency": 0},
        {"uploads": 0},
    ):
        with pytest.raises(ConfigError):
            ServeSettings(**wrong)


def test_a_public_gateway_lists_only_for_its_keeper() -> None:
    settings = ServeSettings(listing=False, token=TOKEN)
    assert may_read(settings, Gate())
    assert not may_list(settings, Gate())
    assert may_list(settings, Gate("Bearer 0123456789abcdef"))


@pytest.mark.parametrize(
    ("gate", "may"),
    [
        (Gate(), True),
        (Gate(host="a:8080", origin="http://a:8080"), True),
        (Gate(host="a:8080", origin="http://b"), False),
        (Gate(host="a", origin="null"), False),
        (Gate(fetch_site="cross-site"), False),
        (Gate(fetch_site="same-site"), False),
        (Gate(fetch_site="same-origin", host="a", origin="http://a"), True),
        (Gate(fetch_site="same-origin", host="behind-a-proxy", origin="https://a"), True),
        (Gate(fetch_site="cross-site", host="a", origin="https://friend"), True),
    ],
)
def test_pages_of_other_sites_write_nothing(gate: Gate, may: bool) -> None:
    settings = ServeSettings(writable=True, token=TOKEN, cors=frozenset({"https://friend", "*"}))
    assert may_write(settings, gate._replace(authorization="Bearer 0123456789abcdef")) is may


@pytest.mark.parametrize(
    ("settings", "linked", "whose"),
    [
        (ServeSettings(), False, b"same-site"),
        (ServeSettings(public=True), False, b"cross-origin"),
        (ServeSettings(cors=frozenset({"*"})), False, b"cross-origin"),
        (ServeSettings(cors=frozenset({"https://friend"})), False, b"same-site"),
        (ServeSettings(reads="token", token=TOKEN, cors=frozenset({"*"}), public=True), False, b"same-origin"),
        (ServeSettings(reads="token", token=TOKEN), True, b"cross-origin"),
    ],
)
def test_whose_pages_show_objects(settings: ServeSettings, linked: bool, whose: bytes) -> None:
    assert embedding(settings, linked=linked) == (b"cross-origin-resource-policy", whose)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cors": frozenset({"https://friend.example/"})},
        {"cors": frozenset({"friend.example"})},
        {"cors": frozenset({"https://Friend.example"})},
        {"cors": frozenset({"null"})},
        {"hosts": frozenset({"friend.example:8080"})},
        {"hosts": frozenset({"https://friend.example"})},
        {"hosts": frozenset({""})},
        {"cache_control": "no-store\r\nSet-Cookie: a=b"},
    ],
)
def test_names_that_would_never_fit_are_refused(wrong) -> None:
    with pytest.raises(ConfigError):
        ServeSettings(**wrong)
    ServeSettings(
        cors=frozenset({"*", "https://a.example:8443", "http://[::1]:80"}),
        hosts=frozenset({"a.example", "[::1]", "[fe80::1%eth0]", "127.0.0.1"}),
    )


@pytest.mark.parametrize(
    ("host", "allowed"),
    [("localhost:80", True), ("LOCALHOST", True), ("localhost.", True), ("[::1]:8080", True), ("127.0.0.1", True), ("evil.example", False), ("localhost.evil.example", False), ("", False), ("[::2]", False), ("evil:localhost", False)],
)  # fmt: skip
def test_names_of_the_gateway(host: str, allowed: bool) -> None:
    settings = ServeSettings(hosts=frozenset({"localhost", "127.0.0.1", "[::1]"}))
    assert host_allowed(settings, host) is allowed
