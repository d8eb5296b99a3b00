"""The pure parts of the engine: requests, heads, redaction, errors, patience. No socket is opened here."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mediagit_storage.http
from mediagit_storage import errors
from mediagit_storage.http.faults import FaultKind, TransferFault, certificate_detail, error_for, fault_of, kind_of_code
from mediagit_storage.http.headers import Headers, final_head, head_is_complete, layout_of, status_of
from mediagit_storage.http.patience import Patience
from mediagit_storage.http.redact import is_secret_header, redact_headers, redact_text, redact_url
from mediagit_storage.http.request import FileBody, PiecesBody, Request
from mediagit_storage.http.response import Response

URL = "https://h.example/b/k"

# ---- requests


@pytest.mark.parametrize(
    "url",
    [
        "https://h",
        "http://h:80",
        "https://h/",
        "https://h/a//b/../%2F?x=1&y=%20",
        "https://[::1]:9000/k",
        "https://a.b-c_d/~!$&'()*+,;=:@",
        "https://h?list",
    ],
)
def test_proper_urls(url):
    assert Request("GET", url).url == url


@pytest.mark.parametrize(
    "url",
    ["", "/k", "h/k", "ftp://h/k", "file:///etc/passwd", "https://", "https:///k", "https://h/a b", "https://h/a\nb", "https://h/a\r\nX: y",
     "https://h/a\0", "https://h/a#b", "https://h/gr\u00fcn", "https://u:p@h/k", "https://u@h/k", "https://h/%", "https://h/%2", "https://h/%zz",
     "https://h\\k", "https://h/a\\b", "https://h/<x>", "https://h/\"", "https://h:port/k", "https://h:999999/k", "HTTPS://h/k", " https://h/k",
     "https://h/k ", "https://h/{}", "https://h/a^b", "https://h/a|b", "https://h/`"],
)  # fmt: skip
def test_urls_that_do_not_travel(url):
    with pytest.raises(errors.ConfigError):
        Request("GET", url)


def test_what_is_wrong_with_a_url_is_said():
    with pytest.raises(errors.ConfigError, match="%23"):
        Request("GET", "https://h/a#b")
    with pytest.raises(errors.ConfigError, match="user name") as caught:
        Request("GET", "https://u:canary@h/k")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("method", ["", "get", "GET ", "GET\r\nX: y", "G\0T", "G T", "A" * 30])
def test_methods_that_do_not_travel(method):
    with pytest.raises(errors.ConfigError):
        Request(method, URL)


@pytest.mark.parametrize(
    ("name", "value"),
    [("", "x"), ("X Y", "x"), ("X:", "x"), ("X", "a\nb"), ("X", "a\r\nInjected: y"), ("X", "a\rb"), ("X", "a\0b"), ("X\n", "y"), ("X\nY: z", "y"),
     ("X", "gr\u00fcn"), ("X", " lead"), ("X", "trail "), ("X", "trail\t"), ("X", "\x7f"), ("X;", ""), ("\u00fc", "x"), ("X", "a\n"), ("X", "\n")],
)  # fmt: skip
def test_headers_that_do_not_travel(name, value):
    with pytest.raises(errors.ConfigError) as caught:
        Request("GET", URL, (("Fine", "yes"), (name, value), ("Also-Fine", "yes")))
    if len(value) > 4:
        assert value not in str(caught.value)


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_header_ever_becomes_two_lines(name, value):
    try:
        request = Request("GET", URL, ((name, value), ("Last", "x")))
    except errors.ConfigError:
        return
    assert request.lines[0] in {f"{name}: {value}", f"{name};"}
    assert all(" " <= each <= "~" or each == "\t" for line in request.lines for each in line)
    assert ":" not in name


def test_what_libcurl_would_add_is_switched_off():
    assert Request("GET", URL).lines == ["Accept:"]
    assert Request("PUT", URL, body=b"").lines == ["Accept:", "Expect:", "Content-Type:"]
    assert "Expect: 100-continue" in Request("PUT", URL, body=b"", expect_continue=True).lines


def test_a_request_shows_no_secret():
    request = Request(
        "GET", URL + "?X-Amz-Signature=canary&prefix=shown", (("Authorization", "canary"), ("X-Plain", "shown-too"))
    )
    text = f"{request!r} {request} {request.shown_url}"
    assert "canary" not in text
    assert "shown" in text
    assert "shown-too" in text


def test_bodies_and_rewinding(tmp_path):
    assert Request("GET", URL).rewindable
    assert Request("PUT", URL, body=b"x").rewindable
    pieces = PiecesBody(iter([b"abcdef"]))
    request = Request("PUT", URL, body=pieces)
    request.rewind()
    assert request.rewindable
    assert (pieces.read(4), pieces.read(4), pieces.read(4)) == (b"abcd", b"ef", b"")
    assert not request.rewindable
    with pytest.raises(errors.StorageError, match="only once"):
        request.rewind()
    (tmp_path / "f").write_bytes(b"0123456789")
    with (tmp_path / "f").open("rb") as file:
        body = FileBody(file.fileno(), 2, 5)
        assert (body.read(3), body.read(100), body.read(100)) == (b"234", b"56", b"")
        body.rewind()
        assert body.read(1) == b"2"


def test_pieces_wider_than_a_byte():
    import array

    wide = memoryview(array.array("I", [1, 2]))
    assert PiecesBody(iter([wide])).read(100) == wide.tobytes()


# ---- heads

HEAD = [b"HTTP/1.1 200 OK\r\n", b"ETag: x\r\n"]
BLANK = b"\r\n"


def test_the_last_head_counts():
    interim = [b"HTTP/1.1 100 Continue\r\n", BLANK]
    assert final_head([*HEAD, BLANK]) == (HEAD, True)
    assert final_head([*interim, *HEAD, BLANK]) == (HEAD, True)
    assert final_head([*interim, *interim, *HEAD, BLANK, b"Trailer: x\r\n", BLANK]) == (HEAD, True)
    assert final_head([*HEAD, BLANK, b"Trailer: x\r\n"]) == (HEAD, True)
    assert final_head([*HEAD, b"\n"]) == (HEAD, True)


@pytest.mark.parametrize("lines", [[], HEAD, HEAD[:1], [b"HTTP/1.1 100 Continue\r\n", BLANK, *HEAD]])
def test_a_head_without_its_blank_line_is_not_whole(lines):
    assert final_head(lines)[1] is False
    assert not head_is_complete(lines)


def test_an_interim_head_is_no_answer():
    assert not head_is_complete([b"HTTP/1.1 103 Early\r\n", BLANK])
    assert head_is_complete([*HEAD, BLANK])


def test_fields():
    headers = Headers(
        [b"HTTP/1.1 200\r\n", b"A: 1\r\n", b"a:2 \r\n", b"B:\r\n", b"junk\r\n", b"C: x\r\n", b"\t y\r\n", b"D:\xff\r\n"]
    )
    assert dict(headers) == {"a": "1, 2", "b": "", "c": "x y", "d": "\u00ff"}
    assert len(headers) == 4
    assert headers.get("nope", "default") == "default"
    assert "canary" not in repr(Headers.of([("Set-Cookie", "canary"), ("ETag", "e")]))


def test_several_fields_at_once():
    headers = Headers.of([("ETag", '"e"'), ("Last-Modified", " now "), ("X-Both", "1"), ("x-both", "2")])
    assert headers.pick("last-modified", "nope", "etag", "x-both") == ["now", None, '"e"', "1, 2"]
    assert headers.pick() == []
    assert Headers([]).pick("etag") == [None]


def test_heads_with_the_same_names_have_their_own_values():
    heads = [Headers.of([("ETag", value), ("Content-Length", value)]) for value in ("1", "2")]
    assert [dict(each) for each in heads] == [{"etag": value, "content-length": value} for value in ("1", "2")]


_HEADS = [
    [],
    [b"HTTP/1.1 200 OK\r\n"],
    [b"HTTP/1.1 200 OK\r\n", b"ETag: a\r\n", b"Date: now\r\n"],
    [b"HTTP/1.1 200 OK\r\n", b"ETag: b: c\r\n", b"Date: \r\n"],
    [b"HTTP/1.1 404 Not Found\r\n", b"etag: a\r\n", b"Date: now\r\n"],
    [b"HTTP/1.1 200 OK\r\n", b"Date: now\r\n", b"ETag: a\r\n"],
    [b"HTTP/1.1 200 OK\r\n", b"ETag: a\r\n", b"Date:now\r\n"],
    [b"HTTP/1.1 200 OK\r\n", b"ETag: a\r\n", b" Date: folded\r\n"],
    [b"HTTP/1.1 200 OK\r\n", b"ETag: a\r\n", b"eTAG: b\r\n"],
    [b"HTTP/1.1 200 OK\r\n", b"ETag: a\r\n", b"Date\r\n"],
    [b"HTTP/1.1 200 OK\r\n", b"ETag: \xff\r\n", b"Date: now\r\n", b"X: y\r\n"],
]


@pytest.mark.parametrize("after", _HEADS)
@pytest.mark.parametrize("before", _HEADS)
def test_what_was_learned_of_one_head_says_nothing_false_about_the_next(before, after):
    known = layout_of(before, None)
    got = Headers(after, layout_of(after, known))
    assert dict(got) == dict(Headers(after))
    assert len(got) == len(Headers(after))
    assert got.pick("etag", "date", "x") == Headers(after).pick("etag", "date", "x")


@pytest.mark.parametrize("after", [*_HEADS, [b"HTTP/1.1 2", *_HEADS[2][1:]]])
@pytest.mark.parametrize("before", [*_HEADS, [b"HTTP/1.1 2", *_HEADS[2][1:]]])
def test_lines_that_are_all_of_a_layout_are_one_whole_head_of_its_status(before, after):
    known = layout_of(before, None)
    if known is None:
        return
    interim = [b"HTTP/1.1 103 Early\r\n", BLANK]
    trailer = [BLANK, b"Date: late\r\n"]
    for lines in (after, [*after, BLANK], [*after, b"\n"], [*interim, *after, BLANK], [*after, *trailer, BLANK]):
        if known.is_all_of(lines):
            assert (lines[:-1], True) == final_head(lines)
            assert known.status == status_of(lines[:-1])
    assert known.is_all_of([*before, BLANK])
    assert not known.is_all_of(before)
    assert not known.is_all_of([*before, b"\n"])


def test_another_status_is_another_layout():
    known = layout_of(HEAD, None)
    assert known is not None
    assert known.status == 200
    assert not known.is_all_of([b"HTTP/1.1 404 Not Found\r\n", HEAD[1], BLANK])


def test_a_layout_is_kept_while_it_fits():
    first, same, other = (Headers.of([(name, "v")])._lines for name in ("ETag", "ETag", "Etag"))
    known = layout_of(first, None)
    assert layout_of(same, known) is known
    assert layout_of(other, known) is not known


@pytest.mark.parametrize("count", [63, 64, 65, 200])
def test_heads_of_many_fields(count):
    fields = [(f"X-{number}", str(number)) for number in range(count)]
    assert dict(Headers.of(fields)) == {name.lower(): value for name, value in fields}


def test_a_response_joins_its_pieces_once():
    got = Response(Request("GET", URL), 200, Headers.of([]), [b"a", b"b"])
    assert got.body == b"ab"
    assert got.body is got.body
    assert got.pieces == [b"ab"]
    assert Response(Request("GET", URL), 200, Headers.of([]), []).body == b""
    assert "200" in repr(got)


# ---- redaction


@pytest.mark.parametrize(
    "name",
    ["X-Amz-Signature", "x-amz-credential", "X-Amz-Security-Token", "X-Goog-Signature", "sig", "Signature", "AWSAccessKeyId", "access_token",
     "x%2Damz%2Dsignature", "client_secret", "Key-Pair-Id", "some_password", "my-token"],
)  # fmt: skip
def test_signature_like_parameters(name):
    assert redact_url(f"{URL}?a=1&{name}=canary&b=2") == f"{URL}?a=1&{name}=***&b=2"


@pytest.mark.parametrize(
    "name", ["prefix", "continuation-token", "marker", "versionId", "uploadId", "X-Amz-Date", "se", "sp"]
)
def test_other_parameters_stay(name):
    url = f"{URL}?{name}=shown"
    assert redact_url(url) == url


def test_userinfo_and_text():
    assert redact_url("https://u:canary@h/k") == "https://***@h/k"
    assert (
        redact_text("proxy 'http://u:canary@h:1' and https://h/?sig=canary, end")
        == "proxy 'http://***@h:1' and https://h/?sig=***"[:36]
        + redact_text("proxy 'http://u:canary@h:1' and https://h/?sig=canary, end")[36:]
    )
    assert "canary" not in redact_text("proxy 'http://u:canary@h:1' and https://h/?sig=canary, end")
    assert redact_url("https://h/k?flag") == "https://h/k?flag"


@pytest.mark.parametrize(
    "name",
    ["Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Amz-Security-Token", "x-amz-server-side-encryption-customer-key",
     "x-amz-copy-source-server-side-encryption-customer-key", "x-ms-encryption-key", "X-Goog-Encryption-Key"],
)  # fmt: skip
def test_headers_that_hold_credentials(name):
    assert is_secret_header(name)
    assert redact_headers([(name, "canary")]) == ((name, "***"),)


@pytest.mark.parametrize("name", ["Host", "ETag", "x-amz-date", "x-amz-server-side-encryption", "Content-MD5"])
def test_other_headers(name):
    assert not is_secret_header(name)


def test_a_url_inside_of_a_header():
    assert "canary" not in str(redact_headers([("Location", "https://h/?X-Amz-Signature=canary")]))


# ---- errors

TABLE = {
    FaultKind.NAME: errors.ConnectionLostError, FaultKind.CONNECT: errors.ConnectionLostError,
    FaultKind.CONNECT_TIMEOUT: errors.StorageTimeoutError, FaultKind.PROXY: errors.ConnectionLostError,
    FaultKind.TLS: errors.ConnectionLostError, FaultKind.CERTIFICATE: errors.ConfigError,
    FaultKind.CA_FILE: errors.ConfigError, FaultKind.LOST: errors.ConnectionLostError,
    FaultKind.PROTOCOL: errors.ConnectionLostError, FaultKind.TRUNCATED: errors.TruncatedError,
    FaultKind.UNFRAMED: errors.TruncatedError, FaultKind.IDLE: errors.StorageTimeoutError,
    FaultKind.TOTAL: errors.StorageTimeoutError, FaultKind.SCOPE: errors.StorageTimeoutError,
    FaultKind.CANCELLED: errors.CancelledError, FaultKind.REWIND: errors.ConnectionLostError,
    FaultKind.LIMIT: errors.LimitExceededError, FaultKind.UNKNOWN: errors.StorageError,
}  # fmt: skip


@pytest.mark.parametrize("kind", FaultKind)
def test_every_fault_has_its_error(kind):
    fault = TransferFault(kind, "it says https://u:canary@h", code=1, sent=2)
    error = error_for(fault, "https://h:1")
    assert type(error) is TABLE[kind]
    assert fault_of(error) is fault
    assert "https://h:1" in str(error)
    assert "canary" not in str(error)
    assert type(pickle.loads(pickle.dumps(error))) is TABLE[kind]


CODES = {
    5: FaultKind.PROXY, 6: FaultKind.NAME, 7: FaultKind.CONNECT, 8: FaultKind.PROTOCOL, 18: FaultKind.TRUNCATED,
    28: FaultKind.CONNECT_TIMEOUT, 35: FaultKind.TLS, 52: FaultKind.LOST, 55: FaultKind.LOST, 56: FaultKind.LOST,
    60: FaultKind.CERTIFICATE, 77: FaultKind.CA_FILE, 63: FaultKind.LIMIT, 65: FaultKind.REWIND, 100: FaultKind.LIMIT,
    97: FaultKind.PROXY, 12345: FaultKind.UNKNOWN,
}  # fmt: skip


@pytest.mark.parametrize(("code", "kind"), CODES.items())
def test_codes_of_libcurl(code, kind):
    assert kind_of_code(code) is kind


@pytest.mark.parametrize(
    ("verdict", "message", "words"),
    [(10, "", "expired"), (9, "", "not valid yet"), (18, "", "ca_file"), (20, "", "ca_file"), (62, "", "another host name"),
     (0, "no alternative certificate subject name matches", "another host name"), (77, "something else", "something else")],
)  # fmt: skip
def test_certificates(verdict, message, words):
    assert words in certificate_detail(message, verdict)


def test_other_errors_have_no_fault():
    assert fault_of(ValueError()) is None


# ---- patience


def count(number: int):
    return lambda: number


def test_idle():
    patience = Patience(100.0, idle=16, total=None, scope_left=None)
    assert patience.wait(100.0) == 1.0
    assert patience.look(100.5, count(0)) is None
    assert patience.look(101, count(0)) is None
    assert patience.look(110, count(1)) is None
    assert patience.look(125.9, count(1)) is None
    assert patience.look(127, count(1)) is FaultKind.IDLE


def test_a_pause_begins_the_time_anew():
    patience = Patience(0.0, idle=1, total=None, scope_left=None)
    patience.look(0.5, count(5))
    patience.pause(3.0)
    assert patience.look(3.5, count(5)) is None
    assert patience.look(4.5, count(5)) is FaultKind.IDLE


def test_total_and_scope():
    assert Patience(0.0, idle=None, total=2, scope_left=None).look(2.0, count(1)) is FaultKind.TOTAL
    assert Patience(0.0, idle=None, total=2, scope_left=1).look(2.0, count(1)) is FaultKind.SCOPE
    assert Patience(0.0, idle=9, total=2, scope_left=3).look(1.9, count(1)) is None


def test_nothing_limits():
    patience = Patience(0.0, idle=None, total=None, scope_left=None)
    assert patience.look(1e9, count(0)) is None
    assert 0 < patience.wait(1e9) <= 5


@given(st.floats(0.01, 1000), st.floats(0.01, 1000), st.floats(0, 1000))
def test_a_wait_never_oversleeps_a_limit(idle, total, scope_left):
    patience = Patience(50.0, idle=idle, total=total, scope_left=scope_left)
    wait = patience.wait(50.0)
    assert 0 <= wait <= min(idle, total, scope_left) + 1e-9
    assert patience.wait(1e9) == 0


# ---- who may know libcurl


def test_only_the_transport_and_its_parts_import_pycurl():
    root = Path(mediagit_storage.__file__).parent
    found = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [each.name for each in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", "")]
            )
            if "pycurl" in names and isinstance(node, ast.Import | ast.ImportFrom):
                found.add(path.relative_to(root).as_posix())
    assert found == {"http/driver.py", "http/exchange.py", "http/batch.py"}
