"""Purging: the documented requests, what their answers mean, and nothing sent that a CDN would not take."""

from __future__ import annotations

import base64
import json
import urllib.parse
from contextlib import closing
from datetime import timedelta

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives import serialization

from mediagit_storage.cdn.cloudflare import Cloudflare, CloudflareConfig
from mediagit_storage.cdn.cloudfront import CloudFront, CloudFrontConfig
from mediagit_storage.cdn.fastly import Fastly, FastlyConfig
from mediagit_storage.cdn.google import GoogleCDN, GoogleCDNConfig
from mediagit_storage.errors import (
    ConfigError,
    IntegrityError,
    LimitExceededError,
    PermissionDeniedError,
    StorageError,
    StorageTimeoutError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)
from mediagit_storage.http.redact import redact_headers
from mediagit_storage.secrets import Secret
from mediagit_storage.testing.scripted_server import Reset, answer

from .conftest import asked, told

ZONE = "0123456789abcdef0123456789abcdef"
TOKEN = "hush-hush-token"
MORE = {"base_url": "https://cdn.example.org/m"}


@pytest.fixture
def cloudflare(in_front, quick):
    def make(server, **options):
        given = {**MORE, "zone_id": ZONE, "api_token": Secret(TOKEN), "api_url": server.url, **options}
        return in_front(Cloudflare(CloudflareConfig(**given), rules=quick))

    return make


@pytest.fixture
def google(in_front, quick):
    def make(server, **options):
        numbers = iter(range(100))
        given = {
            **MORE, "project": "my-project", "url_map": "my-map", "token": Secret(TOKEN), "api_url": server.url, **options
        }  # fmt: skip
        provider = GoogleCDN(GoogleCDNConfig(**given), rules=quick, reference=lambda: f"request-{next(numbers)}")
        return in_front(provider)

    return make


@pytest.fixture
def cloudfront(in_front, quick, clock):
    def make(server, **options):
        numbers = iter(range(100))
        given = {
            **MORE, "distribution_id": "E2EXAMPLE", "access_key_id": Secret("AKIDEXAMPLE"),
            "secret_access_key": Secret(TOKEN), "api_url": server.url, **options,
        }  # fmt: skip
        provider = CloudFront(
            CloudFrontConfig(**given), clock=clock, rules=quick, reference=lambda: f"reference-{next(numbers)}"
        )
        return in_front(provider)

    return make


# ---- Cloudflare

FINE = '{"success": true, "errors": [], "result": {"id": "one"}}'


def test_the_requests_of_cloudflare(cloudflare, api):
    server = api(told(FINE), told(FINE), told(FINE))
    cdn = cloudflare(server)
    done = list(cdn.purge(keys=["a b.png", "c?", "a b.png"], prefixes=["v/1/", ""], tags=["t1", "t2"]))
    assert [(each.items, each.id, each.done) for each in done] == [
        (("https://cdn.example.org/m/a%20b.png", "https://cdn.example.org/m/c%3F"), "one", True),
        (("cdn.example.org/m/v/1", "cdn.example.org/m"), "one", True),
        (("t1", "t2"), "one", True),
    ]
    bodies = []
    for number in range(3):
        first, body, fields = asked(server, number)
        assert first == f"POST /client/v4/zones/{ZONE}/purge_cache HTTP/1.1"
        assert fields["authorization"] == f"Bearer {TOKEN}"
        assert fields["content-type"] == "application/json"
        bodies.append(json.loads(body))
    assert bodies == [
        {"files": [*done[0].items]},
        {"prefixes": [*done[1].items]},
        {"tags": ["t1", "t2"]},
    ]


def test_batches_of_cloudflare(cloudflare, api):
    calls = cloudflare(api()).plan(
        keys=[f"k{n}" for n in range(201)], prefixes=[f"p{n}/" for n in range(31)], tags=[f"t{n}" for n in range(60)]
    )
    assert [len(each.items) for each in calls] == [100, 100, 1, 30, 1, 30, 30]


def test_a_failure_that_comes_as_a_success(cloudflare, api):
    """Cloudflare says in the document what the status does not."""
    wrong = '{"success": false, "errors": [{"code": 1012, "message": "purge of hush-hush-token refused"}]}'
    with pytest.raises(StorageError, match="1012") as caught:
        list(cloudflare(api(told(wrong))).purge(keys=["k"]))
    assert TOKEN not in str(caught.value)
    with pytest.raises(StorageError, match="NoJSON"):
        list(cloudflare(api(answer(200, b"<html>"))).purge(keys=["k"]))


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, '{"success": false, "errors": [{"code": 10001, "message": "no"}]}', StorageError),
        (
            401,
            '{"success": false, "errors": [{"code": 10000, "message": "Authentication error"}]}',
            UnauthenticatedError,
        ),
        (403, "", PermissionDeniedError),
        (404, "{}", ConfigError),
        (418, "[]", StorageError),
    ],
)
def test_what_is_not_asked_again(cloudflare, api, status, body, kind):
    server = api(told(body, status))
    with pytest.raises(StorageError) as caught:
        list(cloudflare(server).purge(keys=["k"]))
    assert type(caught.value) is kind
    assert len(server.received) == 1


@pytest.mark.parametrize(("status", "kind"), [(429, ThrottledError), (503, ThrottledError), (500, UnavailableError)])
def test_what_is_asked_again_three_times(cloudflare, api, clock, status, kind):
    server = api(*[told("{}", status, retry_after="7")] * 3)
    with pytest.raises(kind):
        list(cloudflare(server).purge(keys=["k"]))
    assert len(server.received) == 3
    assert min(clock.slept) >= 7


def test_a_lost_connection_is_no_end(cloudflare, api):
    server = api(Reset(), told(FINE))
    [done] = cloudflare(server).purge(keys=["k"])
    assert done.done
    assert server.received[0] == server.received[1]


# ---- Fastly


def test_the_requests_of_fastly(in_front, quick, api):
    server = api(told('{"status": "ok", "id": "1-2"}'), told('{"t": "3-4"}'))
    config = FastlyConfig(
        **MORE, api_token=Secret(TOKEN), service_id="SU1Z0isxPaozGVKXdv0eY", soft=True, api_url=server.url
    )
    cdn = in_front(Fastly(config, rules=quick))
    assert [each.id for each in cdn.purge(keys=["a b"], tags=["t"])] == ["1-2", ""]
    first, body, fields = asked(server)
    assert first == "POST /purge/cdn.example.org/m/a%20b HTTP/1.1"
    assert (body, fields["fastly-key"], fields["fastly-soft-purge"]) == ("", TOKEN, "1")
    first, body, fields = asked(server, 1)
    assert first == "POST /service/SU1Z0isxPaozGVKXdv0eY/purge HTTP/1.1"
    assert (json.loads(body), fields["fastly-soft-purge"]) == ({"surrogate_keys": ["t"]}, "1")
    assert [len(each.items) for each in cdn.plan(tags=[f"t{n}" for n in range(257)])] == [256, 1]


def test_words_of_fastly(in_front, quick, api):
    server = api(told('{"msg": "Provided credentials are missing or invalid", "detail": "hush-hush-token"}', 401))
    cdn = in_front(Fastly(FastlyConfig(**MORE, api_token=Secret(TOKEN), api_url=server.url), rules=quick))
    with pytest.raises(UnauthenticatedError, match="Provided credentials") as caught:
        list(cdn.purge(keys=["k"]))
    assert TOKEN not in str(caught.value)


# ---- Google


def operation(status="RUNNING", name="operation-1"):
    return told(json.dumps({"kind": "compute#operation", "name": name, "status": status}))


def test_the_requests_of_google(google, api):
    server = api(*[operation()] * 3, operation("DONE"))
    done = list(google(server).purge(keys=["a b"], prefixes=["v/"], tags=[f"t{n}" for n in range(11)]))
    assert [(each.items, each.id, each.done) for each in done] == [
        (("/m/a%20b",), "operation-1", False),
        (("/m/v/*",), "operation-1", False),
        (tuple(f"t{n}" for n in range(10)), "operation-1", False),
        (("t10",), "operation-1", True),
    ]
    bodies = []
    for number in range(4):
        first, body, fields = asked(server, number)
        place = "/compute/v1/projects/my-project/global/urlMaps/my-map/invalidateCache"
        assert first == f"POST {place}?requestId=request-{number} HTTP/1.1"
        assert fields["authorization"] == f"Bearer {TOKEN}"
        bodies.append(json.loads(body))
    assert bodies[:2] == [{"path": "/m/a%20b"}, {"path": "/m/v/*"}]
    assert bodies[3] == {"cacheTags": ["t10"]}


def test_waiting_for_google(google, api, clock):
    server = api(operation(), operation(), operation("DONE"))
    [done] = google(server, only_host=True).purge(keys=["k"], wait=True)
    assert done.done
    assert json.loads(asked(server)[1]) == {"path": "/m/k", "host": "cdn.example.org"}
    assert asked(server, 2)[0] == "GET /compute/v1/projects/my-project/global/operations/operation-1 HTTP/1.1"
    assert clock.slept == [1.0, 2.0]


def test_google_is_asked_no_faster_than_it_allows(google, api, clock):
    list(google(api(*[operation()] * 3)).purge(keys=["a", "b", "c"]))
    assert clock.slept == [0.12, 0.12]


def test_no_purge_is_waited_for_without_end(google, api, clock):
    server = api(*[operation()] * 5)
    with pytest.raises(StorageTimeoutError, match=r"within 10 seconds that the purge operation-1 is done"):
        list(google(server).purge(keys=["k", "l"], wait=True, patience=timedelta(seconds=10)))
    assert sum(clock.slept) == 10
    assert len(server.received) == 5


def test_an_operation_of_google_that_fails(google, api):
    failed = {"name": "operation-1", "status": "DONE", "error": {"errors": [{"code": "QUOTA", "message": "too much"}]}}
    with pytest.raises(StorageError, match="QUOTA"):
        list(google(api(operation(), told(json.dumps(failed)))).purge(keys=["k"], wait=True))
    refused = {"error": {"code": 403, "message": "slow", "errors": [{"reason": "rateLimitExceeded"}]}}
    with pytest.raises(ThrottledError):
        list(google(api(*[told(json.dumps(refused), 403)] * 3)).purge(keys=["k"]))
    for lie in ('{"name": "../x", "status": "RUNNING"}', "{}", "[]", "<html>"):
        with pytest.raises(IntegrityError):
            list(google(api(told(lie))).purge(keys=["k"], wait=True))


def test_tokens_of_google_are_for_the_whole_platform(google, api, rsa_key, tmp_path):
    pem = rsa_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    grants = api(told(json.dumps({"access_token": "fetched", "expires_in": 3600, "token_type": "Bearer"})))
    server = api(operation("DONE"))
    account = {"type": "service_account", "client_email": "x@y", "private_key": pem.decode(), "token_uri": grants.url}
    file = tmp_path / "account.json"
    file.write_text(json.dumps(account))
    list(google(server, token=None, credentials_file=str(file)).purge(keys=["k"]))
    assert asked(server)[2]["authorization"] == "Bearer fetched"
    assertion = dict(urllib.parse.parse_qsl(asked(grants)[1]))["assertion"]
    claims = json.loads(base64.urlsafe_b64decode(assertion.split(".")[1] + "=="))
    assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"


# ---- CloudFront


def invalidation(status="InProgress", name="I1EXAMPLE"):
    body = f'<?xml version="1.0"?><Invalidation><Id>{name}</Id><Status>{status}</Status></Invalidation>'
    return answer(201, body.encode(), [("content-type", "text/xml")])


def test_the_requests_of_cloudfront(cloudfront, api):
    server = api(invalidation(), invalidation("Completed", "I2EXAMPLE"))
    done = list(cloudfront(server).purge(keys=["a+b.png", "plain"], prefixes=["v&w"], tags=["T<1>"]))
    assert [(each.items, each.id, each.done) for each in done] == [
        (("/m/a%2Bb.png", "/m/a+b.png", "/m/plain", "#T<1>"), "I1EXAMPLE", False),
        (("/m/v%26w*", "/m/v&w*"), "I2EXAMPLE", True),
    ]
    first, body, fields = asked(server)
    assert first == "POST /2020-05-31/distribution/E2EXAMPLE/invalidation HTTP/1.1"
    assert body == (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<InvalidationBatch xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/">'
        "<Paths><Quantity>4</Quantity><Items><Path>/m/a%2Bb.png</Path><Path>/m/a+b.png</Path><Path>/m/plain</Path>"
        "<Path>#T&lt;1&gt;</Path></Items></Paths><CallerReference>reference-0</CallerReference></InvalidationBatch>"
    )
    signed_by_botocore(fields, first.split()[1], body)


def signed_by_botocore(fields, path, body):
    """The signature is the one that botocore makes of the same request."""
    names = fields["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    headers = {name: fields[name] for name in names}
    request = AWSRequest("POST", f"https://{fields['host']}{path}", data=body.encode(), headers=headers)
    signer = SigV4Auth(Credentials("AKIDEXAMPLE", TOKEN), "cloudfront", "us-east-1")
    request.context["timestamp"] = fields["x-amz-date"]
    to_sign = signer.string_to_sign(request, signer.canonical_request(request))
    assert fields["authorization"].endswith(f"Signature={signer.signature(to_sign, request)}")
    assert "/us-east-1/cloudfront/aws4_request" in fields["authorization"]


def test_a_repeated_invalidation_is_known_again(cloudfront, api):
    """The second request has the reference of the first, so that CloudFront makes one invalidation of both."""
    server = api(Reset(), invalidation())
    list(cloudfront(server).purge(keys=["k"]))
    assert asked(server, 0)[1] == asked(server, 1)[1]


def test_batches_of_cloudfront(cloudfront, api):
    calls = cloudfront(api()).plan(
        keys=[f"k{n}" for n in range(2999)], tags=["a", "b"], prefixes=[f"p{n}" for n in range(31)]
    )
    assert [len(each.items) for each in calls] == [3000, 1, 15, 15, 1]
    bodies = [each.call.body for each in calls]
    assert len({body.partition(b"<CallerReference>")[2] for body in bodies}) == len(bodies)


def test_too_many_invalidations_are_no_reason_to_hurry(cloudfront, api):
    body = (
        b'<?xml version="1.0"?><ErrorResponse><Error><Type>Sender</Type><Code>TooManyInvalidationsInProgress</Code>'
        b"<Message>Processing your request will cause you to exceed the maximum.</Message></Error></ErrorResponse>"
    )
    server = api(answer(400, body, [("content-type", "text/xml")]))
    with pytest.raises(ThrottledError, match="TooManyInvalidationsInProgress"):
        list(cloudfront(server).purge(keys=["k"]))
    assert len(server.received) == 1


def test_a_clock_that_is_wrong_is_corrected(cloudfront, api, clock):
    body = b"<ErrorResponse><Error><Code>RequestExpired</Code><Message>old</Message></Error></ErrorResponse>"
    skewed = answer(403, body, [("date", "Sun, 06 Nov 2033 08:49:37 GMT"), ("content-type", "text/xml")])
    server = api(skewed, invalidation())
    list(cloudfront(server).purge(keys=["k"]))
    assert asked(server, 1)[2]["x-amz-date"].startswith("20331106T0849")


def test_answers_of_cloudfront_that_say_nothing(cloudfront, api):
    for lie in (
        b"<Invalidation/>",
        b"<Invalidation><Id>../x</Id></Invalidation>",
        b"<html><Id>I1</Id><Status>Completed</Status></html>",
        b"<html",
        b"",
    ):
        with pytest.raises(StorageError):
            list(cloudfront(api(answer(201, lie, [("content-type", "text/xml")]))).purge(keys=["k"]))


DISTRIBUTION = """<DistributionConfig xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/">
<CallerReference>tests</CallerReference><Comment/><Enabled>true</Enabled>
<Origins><Quantity>1</Quantity><Items><Origin><Id>o</Id><DomainName>b.s3.amazonaws.com</DomainName>
<S3OriginConfig><OriginAccessIdentity/></S3OriginConfig></Origin></Items></Origins>
<DefaultCacheBehavior><TargetOriginId>o</TargetOriginId><ViewerProtocolPolicy>allow-all</ViewerProtocolPolicy>
<TrustedSigners><Enabled>false</Enabled><Quantity>0</Quantity></TrustedSigners></DefaultCacheBehavior>
</DistributionConfig>"""


@pytest.mark.uses_server("moto")
def test_an_invalidation_at_moto(servers, in_front, quick):
    server = servers("moto")
    scope = "Credential=AKID/20260101/us-east-1/cloudfront/aws4_request, SignedHeaders=host, Signature=0"
    made = call_moto(server, "/2020-05-31/distribution", DISTRIBUTION, scope)
    distribution = made.partition("<Id>")[2].partition("</Id>")[0]
    config = CloudFrontConfig(
        **MORE, distribution_id=distribution, access_key_id=Secret("AKID"), secret_access_key=Secret("hush"),
        api_url=server.url,
    )  # fmt: skip
    cdn = in_front(CloudFront(config, rules=quick))
    [plain, wild] = cdn.purge(keys=["a b<&>.png"], prefixes=["v/"], tags=["t"], wait=True)
    assert plain.id != wild.id
    listed = call_moto(server, f"/2020-05-31/distribution/{distribution}/invalidation/{plain.id}", None, scope)
    assert "<Path>/m/a%20b%3C%26%3E.png</Path>" in listed
    assert "<Path>#t</Path>" in listed
    with pytest.raises(ConfigError, match="NoSuchDistribution"):
        list(in_front(CloudFront(config_of(config, "ENONE"), rules=quick)).purge(keys=["k"]))


def config_of(config, distribution):
    from dataclasses import replace

    return replace(config, distribution_id=distribution)


def call_moto(server, path, body, scope) -> str:
    import urllib.request

    request = urllib.request.Request(
        server.url + path,
        data=None if body is None else body.encode(),
        headers={"authorization": f"AWS4-HMAC-SHA256 {scope}", "content-type": "text/xml"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.read().decode()


# ---- refused before any request


@pytest.mark.parametrize(
    ("provider", "asked_for", "word"),
    [
        ("fastly", {"prefixes": ["a/"]}, "cannot purge by prefix"),
        ("fastly", {"tags": ["a b"]}, "surrogate key"),
        ("fastly", {"tags": ["größe"]}, "surrogate key"),
        ("google", {"prefixes": ["a"]}, "ends with /"),
        ("google", {"tags": ["a,b"]}, "tag"),
        ("cloudflare", {"prefixes": ["a"]}, "ends with /"),
        ("cloudflare", {"prefixes": ["a/" * 40]}, "31 levels"),
        ("cloudflare", {"tags": ["a b"]}, "tag"),
        ("cloudflare", {"tags": [""]}, "tag"),
        ("cloudfront", {"tags": ["a,b"]}, "tag"),
        ("cloudfront", {"tags": ["t" * 257]}, "tag"),
        ("cloudfront", {"keys": ["k" * 4001]}, "4,000"),
    ],
)
def test_what_a_cdn_does_not_take(cloudflare, google, cloudfront, in_front, api, provider, asked_for, word):
    server = api()
    makers = {"cloudflare": cloudflare, "google": google, "cloudfront": cloudfront}
    if provider == "fastly":
        cdn = in_front(Fastly(FastlyConfig(**MORE, api_token=Secret(TOKEN), service_id="S1", api_url=server.url)))
    else:
        cdn = makers[provider](server)
    with pytest.raises(UnsupportedError, match=word):
        cdn.purge(keys=[*asked_for.get("keys", ()), "fine"], **{k: v for k, v in asked_for.items() if k != "keys"})
    assert server.connections == 0


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_gets_the_token(cloudflare, google, cloudfront, api, status):
    elsewhere = api(told(FINE))
    for make in (cloudflare, google, cloudfront):
        moved = answer(status, b"", [("location", f"{elsewhere.url}/steal")])
        with pytest.raises(StorageError) as caught:
            list(make(api(moved)).purge(keys=["k"]))
        assert TOKEN not in str(caught.value)
    assert elsewhere.connections == 0


def test_an_answer_without_end_is_not_read(cloudfront, google, api):
    for make in (cloudfront, google):
        with pytest.raises(LimitExceededError, match="larger than allowed"):
            list(make(api(answer(200, b" " * (1024 * 1024 + 1)))).purge(keys=["k"]))
    assert FastlyConfig(**MORE).transport_options().total_timeout == 120


def test_the_token_of_fastly_is_no_part_of_what_is_shown():
    assert redact_headers([("Fastly-Key", TOKEN)]) == (("Fastly-Key", "***"),)


def test_what_a_profile_has_to_say_for_purging(in_front):
    for provider, names in (
        (CloudFront(CloudFrontConfig(**MORE)), "distribution_id"),
        (GoogleCDN(GoogleCDNConfig(**MORE)), "project"),
        (Cloudflare(CloudflareConfig(**MORE)), "zone_id"),
        (Cloudflare(CloudflareConfig(**MORE, zone_id=ZONE)), "api_token"),
        (Fastly(FastlyConfig(**MORE)), "api_token"),
    ):
        with closing(provider), pytest.raises(ConfigError, match=names):
            list(in_front(provider).purge(keys=["k"]))
    asker = GoogleCDN(GoogleCDNConfig(**MORE, project="p1", url_map="m1", credentials_file="/not/there.json"))
    with pytest.raises(ConfigError, match="check credentials_file"):
        list(in_front(asker).purge(keys=["k"]))
    with pytest.raises(ConfigError, match="service_id"):
        in_front(Fastly(FastlyConfig(**MORE))).plan(tags=["t"])
    with pytest.raises(ConfigError, match="name what"):
        in_front(Fastly(FastlyConfig(**MORE))).plan()


def test_prefixes_are_those_of_the_storage(cloudfront, api, in_front):
    cdn = cloudfront(api())
    inner = in_front(cdn.provider, {"layer": "prefix", "prefix": "deep/"}, "compress")
    [one, two] = inner.plan(keys=["k"], prefixes=[""])
    assert (one.items, two.items) == (("/m/deep/k",), ("/m/deep/*",))
