"""Buckets in another region than the one named: followed on Amazon's own hosts, told everywhere else."""

from __future__ import annotations

import pytest

from mediagit_storage.backends.s3 import S3Backend, S3Config
from mediagit_storage.errors import ConfigError, UnavailableError
from mediagit_storage.events import on_event
from mediagit_storage.http.batch import Sent
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.response import Response
from mediagit_storage.secrets import Secret
from mediagit_storage.storage import Storage
from mediagit_storage.testing.s3_answers import lines, ok, refused
from mediagit_storage.types import ReadOptions

KEYS = {"access_key_id": Secret("AKEXAMPLE"), "secret_access_key": Secret("very-secret-key")}
FIELDS = [("Content-Length", "1"), ("ETag", '"e1"'), ("Date", "Sun, 06 Nov 2044 08:49:37 GMT")]
HERE, THERE = "https://media.s3.us-east-1.amazonaws.com", "https://media.s3.eu-west-1.amazonaws.com"
REDIRECT = (
    b"<Error><Code>PermanentRedirect</Code><Message>use the endpoint</Message>"
    b"<Endpoint>media.s3.eu-west-1.amazonaws.com</Endpoint></Error>"
)
MALFORMED = (
    b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'us-east-1' is wrong; expecting"
    b" 'eu-west-1'</Message><Region>eu-west-1</Region></Error>"
)
BUCKET = ("x-amz-bucket-region", "eu-west-1")


class Streamed:
    """An answer that is read in pieces."""

    def __init__(self, response):
        self.request, self.status, self.headers = response.request, response.status, response.headers
        self.attempts, self.cut = response.attempts, response.cut
        self.body = response.body

    def __iter__(self):
        return iter([self.body])

    def read_error(self):
        return self.body

    def close(self):
        pass


class Amazon:
    """Stands in for the wire: answers by host, and keeps what was asked."""

    def __init__(self, status, body=b"", fields=(), *, home="eu-west-1"):
        self.wrong = (status, body, list(fields))
        self.home = home
        self.requests = []

    def send(self, request):
        self.requests.append(request)
        signed = {name.lower(): value for name, value in request.headers}["authorization"]
        right = f".s3.{self.home}." in request.url and f"/{self.home}/s3/" in signed
        status, body, fields = (200, b"x", FIELDS) if right else self.wrong
        head = Headers.of(fields)
        return Response(request, status, head, [b"" if request.method == "HEAD" else body])

    def stream(self, request):
        return Streamed(self.send(request))

    def send_all(self, requests, **_):
        for request in requests:
            if isinstance(request, Sent):
                yield request
            elif request is not None:
                yield Sent(request, self.send(request), None)

    def close(self):
        pass


@pytest.fixture
def media():
    """A storage of Amazon's whose wire is in our hands."""

    def build(amazon, **options):
        backend = S3Backend.from_config(S3Config(bucket="media", region="us-east-1", **{**KEYS, **options}))
        backend._transport.close()
        backend._client.transport = amazon
        return Storage(backend)

    return build


@pytest.mark.parametrize(
    ("status", "body", "fields"),
    [
        (301, REDIRECT, []),
        (301, b"", [BUCKET]),
        (400, MALFORMED, []),
        (400, b"", [BUCKET]),
        (307, REDIRECT.replace(b"Permanent", b"Temporary"), []),
    ],
)
def test_the_bucket_is_followed_once_for_all(media, status, body, fields):
    amazon, events = Amazon(status, body, fields), []
    store = media(amazon)
    with on_event(events.append):
        assert store.get("k") == b"x"
    assert [each.url for each in amazon.requests] == [f"{HERE}/k", f"{THERE}/k"]
    assert [each.kind for each in events if each.kind == "s3.region"] == ["s3.region"]
    assert store.stat("k").size == 1
    store.put("k", b"y")
    assert len(amazon.requests) == 4, "it is remembered"
    assert store.presign("k").startswith(f"{THERE}/k?")
    assert "eu-west-1" in store.presign("k")


def test_a_head_without_words_is_followed_by_its_field(media):
    amazon = Amazon(301, b"", [BUCKET])
    assert media(amazon).stat("k").size == 1
    assert [each.method for each in amazon.requests] == ["HEAD", "HEAD"]


def test_all_of_a_batch_find_the_way(media):
    amazon = Amazon(301, REDIRECT)
    outcomes = [*media(amazon).get_many(["a", "b", "c"])]
    assert [each.value for each in outcomes] == [b"x"] * 3
    assert len(amazon.requests) <= 6


def test_a_request_that_was_on_its_way_is_sent_after_the_bucket(media):
    amazon = Amazon(301, REDIRECT)
    store = media(amazon)
    late = store.backend._client.request(store.backend._reader.call("k", ReadOptions()))
    assert store.get("k") == b"x"
    assert store.backend._client.code_of(amazon.send(late)) == "Elsewhere"


def test_nobody_is_sent_round_in_circles(media):
    amazon = Amazon(301, REDIRECT, home="nowhere-1")
    with pytest.raises(ConfigError, match="eu-west-1"):
        media(amazon).get("k")
    assert len(amazon.requests) == 2


def test_an_answer_names_a_region_and_never_a_host(media):
    lure = b"<Error><Code>PermanentRedirect</Code><Endpoint>evil.example</Endpoint><Message>go</Message></Error>"
    amazon = Amazon(301, lure, [("Location", "https://evil.example/k")])
    with pytest.raises(ConfigError, match="region"):
        media(amazon).get("k")
    assert {each.url.partition(".amazonaws.com")[0] for each in amazon.requests} == {
        HERE.removesuffix(".amazonaws.com")
    }
    amazon = Amazon(301, b"", [("x-amz-bucket-region", "evil.example/")])
    with pytest.raises(ConfigError, match="region"):
        media(amazon).get("k")
    assert len(amazon.requests) == 1


def test_a_bucket_that_is_being_moved_is_asked_for_later(media):
    amazon = Amazon(307, b"<Error><Code>TemporaryRedirect</Code><Message>wait</Message></Error>")
    with pytest.raises(UnavailableError, match="moved"):
        media(amazon).get("k")


@pytest.mark.parametrize("options", [{}, {"service": "generic"}])
def test_a_server_of_ones_own_is_never_left(play, options):
    store, server = play(refused(301, "PermanentRedirect", "use another", BUCKET), ok(200, b"x"), **options)
    with pytest.raises(ConfigError, match="eu-west-1"):
        store.get("k")
    assert lines(server) == ["GET /bucket/k"]
