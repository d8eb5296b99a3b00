"""How a bucket is opened: URLs, the environment, credentials, tokens and links; and that no secret is ever shown."""

from __future__ import annotations

import hashlib
import json
import pickle
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from mediagit_storage.backends.gcs import GCSBackend, GCSConfig
from mediagit_storage.backends.gcs.credentials import TokenTransport, fetched_token
from mediagit_storage.errors import (
    ConfigError,
    ConnectionLostError,
    StorageError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)
from mediagit_storage.http.network import TransportOptions
from mediagit_storage.opening import open_storage
from mediagit_storage.secrets import Secret
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.scripted_server import Receive, ScriptedServer, answer
from mediagit_storage.testing.sources import content
from mediagit_storage.types import ConnectionInfo, PresignOptions

from .answers import begun, body_of, document, header, held, lines, media, refused, stored

# ---- options


@pytest.mark.parametrize(
    "options",
    [
        {"bucket": ""}, {"bucket": "A"}, {"bucket": "ab"}, {"bucket": "a/b"}, {"bucket": "x" * 223}, {"bucket": "-ab"},
        {"part_size": 5_000_000}, {"part_size": 100}, {"part_size": 0}, {"multipart_threshold": 0}, {"attempts": 0},
        {"anonymous": True, "token": Secret("t")}, {"endpoint": "https://x.y/path"},
        {"endpoint": "http://example.com"}, {"emulator_host": "http://example.com:1"}, {"endpoint": "ftp://x"},
        {"endpoint": "https://user:pass@x.y"}, {"endpoint": "https://x.y/?a=b"}, {"project": "a b"}, {"project": "&x=y"},
        {"user_project": "a/b"}, {"customer_key": Secret("short")},
        {"customer_key": Secret("A" * 43 + "="), "kms_key_name": "k"},
    ],
)  # fmt: skip
def test_options_that_cannot_be(options):
    with pytest.raises(ConfigError) as caught:
        GCSConfig(**{"bucket": "bucket", **options})
    assert "user:pass" not in str(caught.value)


def test_emulators_are_named_in_many_ways():
    for text in ("localhost:9023", "http://localhost:9023", "http://localhost:9023/", "127.0.0.1:9023"):
        config = GCSConfig(bucket="bucket", emulator_host=text)
        assert config.server().origin in {"http://localhost:9023", "http://127.0.0.1:9023"}
        assert config.emulated
        assert not config.trusted
    assert GCSConfig(bucket="bucket").server().origin == "https://storage.googleapis.com"
    assert GCSConfig(bucket="bucket").trusted


def test_a_url_and_its_prefix():
    text = "gs://bucket/projects/x?project=project-1&part_size=262144&anonymous=true"
    with open_storage(text, environ={}) as store:
        assert "gs://bucket" in repr(store)
        told = json.dumps(store.connection_info().to_json())
        again = open_storage(ConnectionInfo.from_json(json.loads(told)))
        assert again.connection_info() == store.connection_info()
        again.close()
    assert '"part_size": 262144' in told
    for wrong in ("gs://bucket?nonsense=1", "gs://bucket?token=hush", "gs://user:pass@bucket"):
        with pytest.raises(ConfigError) as caught:
            open_storage(wrong, environ={})
        assert "hush" not in str(caught.value)
        assert "user:pass" not in str(caught.value)


def test_the_environment():
    environ = {
        "GCS_BUCKET_NAME": "bucket-1", "GCS_PROJECT_ID": "project-1", "STORAGE_EMULATOR_HOST": "localhost:1",
        "GOOGLE_APPLICATION_CREDENTIALS": "/not/there.json",
    }  # fmt: skip
    backend = GCSBackend.from_env(environ)
    assert backend.description == "gs://bucket-1 at http://localhost:1"
    assert backend.config.project == "project-1"
    assert backend.capabilities.presign == frozenset(), "an emulator is shown no credentials, not even read ones"
    backend.close()


@pytest.mark.parametrize(
    ("environ", "word"),
    [
        ({}, "GCS_BUCKET_NAME"),
        ({"GCS_BUCKET_NAME": ""}, "GCS_BUCKET_NAME"),
        ({"GCS_BUCKET_NAME": "No Bucket"}, "GCS_BUCKET_NAME"),
        ({"GCS_BUCKET_NAME": "bucket", "GOOGLE_APPLICATION_CREDENTIALS": "/not/there.json"}, "/not/there.json"),
        ({"GCS_BUCKET_NAME": "bucket", "STORAGE_EMULATOR_HOST": "http://example.com"}, "https"),
    ],
)
def test_half_an_environment_says_what_to_set(environ, word):
    with pytest.raises(ConfigError, match=word):
        GCSBackend.from_env(environ)


# ---- files of credentials


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("not json", "no JSON"), ("[]", "'type'"), ("{}", "'type'"),
        ('{"type": "service_account"}', "client_email"),
        ('{"type": "service_account", "client_email": "x", "private_key": "hush-hush"}', "token_uri"),
    ],
)  # fmt: skip
def test_a_file_that_holds_no_credentials(tmp_path, text, word):
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=word) as caught:
        GCSBackend("bucket", service_account_file=str(path))
    assert str(path) in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_key_that_cannot_sign(account, play):
    dashes = "-" * 5
    path = account(private_key=f"{dashes}BEGIN PRIVATE KEY{dashes}\nhush\n{dashes}END PRIVATE KEY{dashes}\n")
    store, server = play(media(b"x"), service_account_file=path)
    for attempt in (lambda: store.get("k"), lambda: store.presign("k")):
        with pytest.raises(StorageError) as caught:
            attempt()
        assert isinstance(caught.value, ConfigError | UnauthenticatedError)
        assert "hush" not in str(caught.value)
    assert server.received == []


def test_no_credentials_anywhere(monkeypatch):
    """Nothing leaves this machine: the metadata server is not asked here."""
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with Storage(GCSBackend("bucket")) as store, pytest.raises(UnauthenticatedError) as caught:
        store.get("k")
    assert "GOOGLE_APPLICATION_CREDENTIALS" in str(caught.value)
    assert "anonymous" in str(caught.value)


@covers(243)
def test_a_missing_extra_is_named(account, play, monkeypatch):
    path = account()
    store, _ = play(media(b"x"), service_account_file=path)
    for name in ("google.auth", "google.auth.crypt", "google.oauth2.service_account", "google.auth.exceptions"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    for attempt in (lambda: store.get("k"), lambda: store.presign("k")):
        with pytest.raises(ConfigError, match=r"mediagit-storage\[gcs\]"):
            attempt()


# ---- tokens


def token(text, **more):
    return document({"access_token": text, "expires_in": 3600, "token_type": "Bearer", **more})


@pytest.fixture
def tokens():
    """A server of tokens that answers with the given steps."""
    servers = []

    def build(*steps):
        server = ScriptedServer(*[each if isinstance(each, tuple) else (Receive(), each) for each in steps])
        servers.append(server)
        return server.__enter__()

    yield build
    for server in servers:
        server.__exit__(None, None, None)


def test_a_token_is_fetched_once(account, play, tokens):
    issuer = tokens(token("tok-1"))
    store, server = play(media(b"x"), service_account_file=account(f"{issuer.url}/token"))
    assert issuer.received == [], "opening asks nobody"
    for _ in range(3):
        assert store.get("k") == b"x"
    assert lines(issuer) == ["POST /token"]
    form = parse_qs(body_of(issuer.received[0]).decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    assert {header(each, "authorization") for each in server.received} == {"Bearer tok-1"}


@covers(148)
def test_a_revoked_token_is_replaced_once(account, play, tokens):
    issuer = tokens(token("tok-1"), token("tok-2"))
    gone = refused(401, "authError", "Invalid Credentials")
    store, server = play(gone, media(b"x"), gone, service_account_file=account(f"{issuer.url}/token"))
    assert store.get("k") == b"x"
    assert [header(each, "authorization") for each in server.received] == ["Bearer tok-1", "Bearer tok-2"]
    with pytest.raises(UnauthenticatedError) as caught:
        store.get("k")
    assert "tok-" not in str(caught.value)
    assert len(server.received) == 4
    assert len(issuer.received) == 3


def test_an_account_that_was_deleted(account, play, tokens):
    issuer = tokens(document({"error": "invalid_grant", "error_description": "Invalid grant: account not found"}, 400))
    store, server = play(media(b"x"), service_account_file=account(f"{issuer.url}/token"))
    with pytest.raises(UnauthenticatedError) as caught:
        store.get("k")
    assert "invalid_grant" in str(caught.value)
    assert "account.json" in str(caught.value)
    assert server.received == []


def test_no_way_to_the_server_of_tokens(account, play):
    store, server = play(media(b"x"), service_account_file=account("http://127.0.0.1:1/token"))
    with pytest.raises((ConnectionLostError, UnavailableError)):
        store.get("k")
    assert server.received == []


def test_a_server_of_tokens_that_is_not_encrypted_gets_nothing(account, play):
    """The assertion is a credential: plain http leads to this machine and to the metadata server only."""
    store, _ = play(media(b"x"), service_account_file=account("http://tokens.example/token"))
    with pytest.raises(StorageError) as caught:
        store.get("k")
    assert "encrypted" in str(caught.value)


def test_a_token_that_ends_within_an_upload(account, play, tokens):
    """The server is asked how much it holds with the new token, and the upload goes on."""
    issuer = tokens(token("tok-1"), token("tok-2"))
    data = content(600 * 1024)
    steps = (begun(), held(262144), refused(401, "authError"), held(262144), held(524288), stored(data))
    path = account(f"{issuer.url}/token")
    store, server = play(*steps, service_account_file=path, part_size=262144, multipart_threshold=1)
    store.put("k", iter([data]))
    assert [header(each, "authorization")[-1] for each in server.received] == ["1", "1", "1", "2", "2", "2"]


@pytest.mark.parametrize("option", [{"anonymous": True}, {"token": Secret("my-own-token")}])
def test_what_is_asked_for_beats_the_environment(option):
    """A file that the environment names is not even looked at then."""
    with ScriptedServer((Receive(), media(b"x"))) as server:
        options = {"endpoint": server.url, **option}
        environ = {"GOOGLE_APPLICATION_CREDENTIALS": "/not/there.json", "STORAGE_EMULATOR_HOST": "localhost:1"}
        with open_storage("gs://bucket", options=options, environ=environ) as store:
            assert store.get("k") == b"x"
        expected = None if "anonymous" in option else "Bearer my-own-token"
        assert header(server.received[0], "authorization") == expected
    with pytest.raises(ConfigError):
        GCSBackend("bucket", anonymous=True, service_account_file="file.json")


def test_a_token_of_ones_own(play):
    store, server = play(media(b"x"), refused(401, "authError", "bad token my-own-token"), token=Secret("my-own-token"))
    assert store.get("k") == b"x"
    assert header(server.received[0], "authorization") == "Bearer my-own-token"
    with pytest.raises(UnauthenticatedError) as caught:
        store.get("k")
    assert "my-own-token" not in str(caught.value)
    assert len(server.received) == 2, "it cannot be fetched anew"


def test_the_credentials_of_a_person(tmp_path, play, tokens, monkeypatch):
    """A file of another kind: it brings tokens, and cannot sign links."""
    issuer = tokens(token("user-token"))
    # google-auth knows one server of tokens for persons: this machine stands in for it.
    monkeypatch.setattr("google.oauth2.credentials._GOOGLE_OAUTH2_TOKEN_ENDPOINT", f"{issuer.url}/token")
    path = tmp_path / "adc.json"
    info = {"type": "authorized_user", "client_id": "id", "client_secret": "hush", "refresh_token": "hush-too"}
    path.write_text(json.dumps(info))
    store, server = play(media(b"x"), service_account_file=str(path))
    assert not store.capabilities.presign
    with pytest.raises(UnsupportedError):
        store.presign("k")
    assert store.get("k") == b"x"
    assert header(server.received[0], "authorization") == "Bearer user-token"
    assert parse_qs(body_of(issuer.received[0]).decode())["grant_type"] == ["refresh_token"]


@covers(213)
def test_the_metadata_server(monkeypatch, tokens, opened):
    """As on an instance of Google's: found, asked for the account, then for a token; no proxy in between."""
    flavor = ("metadata-flavor", "Google")

    def told(text, kind="application/text"):
        return answer(200, text.encode(), [flavor, ("content-type", kind), ("connection", "close")])

    account = json.dumps({"email": "robot@x", "scopes": ["s"], "aliases": ["default"]})
    grant = json.dumps({"access_token": "instance-token", "expires_in": 3600, "token_type": "Bearer"})

    class Metadata:
        def play(self, conversation):
            line = conversation.server.received[-1].split(b"\r\n")[0]
            if b"/token" in line:
                told(grant, "application/json").play(conversation)
            elif b"recursive" in line:
                told(account, "application/json").play(conversation)
            else:
                told("project-1").play(conversation)

    server = tokens(Metadata())
    host = server.url.removeprefix("http://")
    for name in ("GCE_METADATA_HOST", "GCE_METADATA_IP", "GCE_METADATA_ROOT"):
        monkeypatch.setenv(name, host)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    import importlib

    import google.auth.compute_engine._metadata as metadata

    importlib.reload(metadata)
    try:
        transport = TokenTransport(TransportOptions())
        source = fetched_token(None, None, transport, ["https://www.googleapis.com/auth/devstorage.full_control"])
        assert source.current() == "instance-token"
        transport.close()
    finally:
        monkeypatch.undo()
        importlib.reload(metadata)
    assert any("/token" in line for line in lines(server))


# ---- whom credentials are shown


def test_a_link_from_elsewhere_collects_no_credentials(account):
    """The file that the environment names makes tokens for Google's own hosts, and for nobody a URL names."""
    environ = {"GOOGLE_APPLICATION_CREDENTIALS": account()}
    with ScriptedServer((Receive(), media(b"x"))) as server:
        host = server.url.removeprefix("http://").replace(":", "%3A")
        with open_storage(f"gs://bucket?endpoint=http%3A%2F%2F{host}", environ=environ) as store:
            assert store.get("k") == b"x"
            assert not store.capabilities.presign
        assert header(server.received[0], "authorization") is None


def test_default_credentials_are_for_google_alone(monkeypatch):
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with ScriptedServer((Receive(), media(b"x"))) as server:
        with Storage(GCSBackend.from_config(GCSConfig(bucket="bucket", endpoint=server.url))) as store:
            assert store.get("k") == b"x"
        assert header(server.received[0], "authorization") is None


@covers(208)
def test_no_secret_is_shown_or_pickled(account, private_key):
    path = account()
    literal = GCSBackend.from_config(GCSConfig(bucket="bucket", token=Secret("canary-token")))
    with pytest.raises(TypeError):
        pickle.dumps(literal)
    assert "canary" not in repr(literal) + repr(literal.config) + json.dumps(literal.connection_info().to_json())
    literal.close()
    by_file = GCSBackend("bucket", service_account_file=path)
    again = pickle.loads(pickle.dumps(by_file))
    assert again.config == by_file.config
    assert by_file.connection_info().config == {"bucket": "bucket", "service_account_file": path}
    shown = (
        repr(by_file) + repr(by_file.config) + repr(by_file._account) + json.dumps(by_file.connection_info().to_json())
    )
    assert "PRIVATE KEY" not in shown
    by_file.close()
    again.close()


# ---- links


@pytest.fixture
def signer(account):
    backend = GCSBackend("bucket", service_account_file=account())
    yield backend
    backend.close()


def check_signature(link, method, private_key, fields):
    """Verify a link with the public key, the request it is for spelled out anew."""
    parts = urlsplit(link)
    text, _, signature = parts.query.rpartition("&X-Goog-Signature=")
    query = parse_qs(text)
    names = query["X-Goog-SignedHeaders"][0]
    lines = "".join(f"{name}:{fields[name]}\n" for name in names.split(";"))
    canonical = f"{method}\n{parts.path}\n{text}\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
    stamp = query["X-Goog-Date"][0]
    place = f"{stamp[:8]}/auto/storage/goog4_request"
    assert query["X-Goog-Credential"] == [f"robot@project.iam.gserviceaccount.com/{place}"]
    signed = f"GOOG4-RSA-SHA256\n{stamp}\n{place}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    private_key.public_key().verify(bytes.fromhex(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return query


@covers(110)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("key", ["k", "a b/é+%", "a//b", "folder/"])
def test_a_link_is_signed(signer, private_key, method, key):
    link = signer.presign(key, PresignOptions(method, timedelta(minutes=10)))
    query = check_signature(link, method, private_key, {"host": "storage.googleapis.com"})
    assert query["X-Goog-Expires"] == ["600"]
    assert link.startswith("https://storage.googleapis.com/bucket/")


def test_a_link_that_binds_what_is_uploaded(signer, private_key):
    link = signer.presign("k", PresignOptions("PUT", content_type="image/png"))
    check_signature(link, "PUT", private_key, {"host": "storage.googleapis.com", "content-type": "image/png"})


def test_a_link_that_sets_its_answer(signer, private_key):
    response = {"content-disposition": 'attachment; filename="a b"', "Content-Type": "text/plain"}
    link = signer.presign("k", PresignOptions("GET", response=response))
    query = check_signature(link, "GET", private_key, {"host": "storage.googleapis.com"})
    assert query["response-content-disposition"] == ['attachment; filename="a b"']
    with pytest.raises(ConfigError):
        signer.presign("k", PresignOptions("GET", response={"x-evil": "1"}))
    with pytest.raises(ConfigError):
        signer.presign("k", PresignOptions("PUT", response=response))


@covers(111)
@pytest.mark.parametrize("expires", [timedelta(0), timedelta(seconds=-1), timedelta(days=7, seconds=1)])
def test_times_that_links_cannot_have(signer, expires):
    with pytest.raises(ConfigError):
        signer.presign("k", PresignOptions("GET", expires))


def test_without_a_key_there_are_no_links(play):
    store, _ = play(media(b"x"), anonymous=True)
    with pytest.raises(UnsupportedError):
        store.presign("k")
