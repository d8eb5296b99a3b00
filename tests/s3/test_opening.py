"""Opening: URLs, environment, presets, credentials, links, pickles, and secrets that show nowhere."""

from __future__ import annotations

import pickle
import threading
import urllib.parse
from dataclasses import dataclass

import pytest

import mediagit_storage as mgs
from mediagit_storage.backends.s3 import B2Backend, MinIOBackend, S3Backend, S3Config, SpacesBackend
from mediagit_storage.backends.s3.credentials import ChainProvider
from mediagit_storage.errors import ConfigError, UnauthenticatedError, UnsupportedError
from mediagit_storage.secrets import Secret, SecretRef
from mediagit_storage.testing.s3_answers import header, ok, refused
from mediagit_storage.types import ConnectionInfo

KEYS = {"AWS_ACCESS_KEY_ID": "AKEXAMPLE", "AWS_SECRET_ACCESS_KEY": "hidden-text"}
MINIO = {"MINIO_ACCESS_KEY": "AKEXAMPLE", "MINIO_SECRET_KEY": "hidden-text"}
B2 = {"B2_APPLICATION_KEY_ID": "AKEXAMPLE", "B2_APPLICATION_KEY": "hidden-text"}
SPACES = {"SPACES_ACCESS_KEY": "AKEXAMPLE", "SPACES_SECRET_KEY": "hidden-text"}


@pytest.mark.parametrize(
    ("url", "environ", "link"),
    [
        ("s3://media/a?region=eu-west-1", KEYS, "https://media.s3.eu-west-1.amazonaws.com/a/k"),
        ("s3://my.media", KEYS, "https://s3.us-east-1.amazonaws.com/my.media/k"),
        ("minio://127.0.0.1:9000/media/a", {**MINIO, "MINIO_ENDPOINT": "127.0.0.1:9000"}, "http://127.0.0.1:9000/media/a/k"),
        ("minio:///media", {**MINIO, "MINIO_ENDPOINT": "https://m.example:9000"}, "https://m.example:9000/media/k"),
        ("b2://media?region=us-west-004", B2, "https://media.s3.us-west-004.backblazeb2.com/k"),
        ("spaces://media?region=ams3", SPACES, "https://media.ams3.digitaloceanspaces.com/k"),
        ("s3://media", {**KEYS, "AWS_ENDPOINT_URL": "http://localhost:4566"}, "http://localhost:4566/media/k"),
    ],
)  # fmt: skip
def test_urls_lead_to_the_services_own_hosts(url, environ, link):
    with mgs.open_storage(url, environ=environ) as store:
        assert store.presign("k").partition("?")[0] == link
        assert "hidden-text" not in repr(store) + repr(store.backend) + str(store.connection_info())


@pytest.mark.parametrize(
    "url", ["s3://media?endpoint=https://elsewhere.example", "s3://media?service=r2&account=elsewhere"]
)
def test_a_link_from_elsewhere_does_not_get_the_environments_credentials(url):
    with pytest.raises((ConfigError, UnauthenticatedError)), mgs.open_storage(url, environ=KEYS) as store:
        store.presign("k")


@pytest.mark.parametrize("service", ["", "&service=aws", "&service=generic"])
def test_nor_does_it_get_what_the_chain_would_find(service, monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="access_key_id"):
        mgs.open_storage(f"s3://media?endpoint=https://elsewhere.example{service}")


def test_a_link_names_no_server_together_with_a_profile():
    with pytest.raises(ConfigError, match="both come from a URL"):
        mgs.open_storage("s3://media?endpoint=https://elsewhere.example&profile=default", environ={})
    mgs.open_storage("s3://media?endpoint=https://mine.example", options={"profile": "default"}, environ={}).close()


def test_the_environments_own_server_gets_them_however_it_is_spelled():
    environ = {**MINIO, "MINIO_ENDPOINT": "http://127.0.0.1:9000"}
    with mgs.open_storage("minio://127.0.0.1:9000/media", environ=environ) as store:
        assert store.presign("k")


def test_a_url_never_carries_credentials():
    with pytest.raises(ConfigError, match="never carries"):
        mgs.open_storage("s3://media?secret_access_key=hidden-text", environ={})


def test_another_server_is_generic_and_refuses_conditions():
    with mgs.open_storage("s3://media", environ={**KEYS, "AWS_ENDPOINT_URL": "https://s3.example"}) as store:
        assert not store.capabilities.if_absent
    with mgs.open_storage(
        "s3://media?conditional_writes=true", environ={**KEYS, "AWS_ENDPOINT_URL": "https://s3.example"}
    ) as store:
        assert store.capabilities.if_absent


def test_presets_are_the_same_backend():
    for backend, scheme in (
        (MinIOBackend("media", endpoint="localhost:9000", access_key="A", secret_key="B"), "minio"),
        (B2Backend("media", region="us-west-004", application_key_id="A", application_key="B"), "b2"),
        (SpacesBackend("media", region="ams3", access_key="A", secret_key="B"), "spaces"),
        (S3Backend("media", access_key_id="A", secret_access_key="B"), "s3"),
    ):
        assert backend.connection_info().type == scheme
        assert backend.description.startswith(f"{scheme}://media")
        backend.close()


@pytest.mark.parametrize(
    ("kind", "environ"),
    [
        (S3Backend, KEYS),
        (MinIOBackend, {**MINIO, "MINIO_ENDPOINT": "localhost:9000"}),
        (B2Backend, {**B2, "B2_REGION": "us-west-004"}),
        (SpacesBackend, {**SPACES, "SPACES_REGION": "ams3"}),
    ],
)
def test_every_one_opens_from_the_environment(monkeypatch, kind, environ):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    backend = kind.from_env(bucket="media")
    info = backend.connection_info()
    assert "hidden-text" not in str(info.to_json())
    again = pickle.loads(pickle.dumps(backend))
    assert again.connection_info() == info
    with mgs.open_storage(ConnectionInfo.from_json(info.to_json())) as store:
        assert store.connection_info() == info
    again.close()
    backend.close()


def test_a_missing_bucket_name_says_what_to_set():
    with pytest.raises(ConfigError, match="B2_BUCKET"):
        B2Backend.from_env({})


def test_literal_secrets_refuse_to_be_pickled(opened):
    with pytest.raises(TypeError):
        pickle.dumps(opened("http://127.0.0.1:1"))


@pytest.mark.parametrize(
    "options",
    [
        {"access_key_id": Secret("A")},
        {"anonymous": True, "access_key_id": Secret("A"), "secret_access_key": Secret("B")},
        {"part_size": 1},
        {"encryption": "rot13"},
        {"checksum": "crc1"},
        {"attempts": 0},
        {"service": "no-such"},
    ],
)
def test_wrong_options_are_refused(options):
    with pytest.raises(ConfigError):
        S3Config(bucket="media", **options)


def test_anonymous_access_signs_nothing(play):
    store, server = play(ok(200, b"x"), access_key_id=None, secret_access_key=None, anonymous=True)
    assert store.get("k") == b"x"
    assert header(server.received[0], "authorization") is None
    with pytest.raises(UnsupportedError):
        store.presign("k")


def test_references_are_resolved_when_opened(monkeypatch):
    monkeypatch.setenv("MY_SECRET", "hidden-text")
    config = S3Config(bucket="m", access_key_id=Secret("A"), secret_access_key=SecretRef(env="MY_SECRET"))
    backend = S3Backend.from_config(config)
    assert backend.connection_info().config["secret_access_key"] == {"env": "MY_SECRET"}
    backend.close()


# ---- credentials that get old


@dataclass
class Frozen:
    access_key: str
    secret_key: str
    token: str | None


class Chained:
    method = "test"

    def __init__(self, number: int) -> None:
        self.number = number

    def get_frozen_credentials(self) -> Frozen:
        return Frozen(f"KEY{self.number}", "s", f"token{self.number}")


class Chain:
    """Counts how often it was run."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self) -> Chained:
        self.runs += 1
        return Chained(self.runs)


def test_many_threads_refresh_once():
    chain = Chain()
    provider = ChainProvider(chain)
    stale = provider.current()
    threads = [threading.Thread(target=provider.refresh, args=(stale,)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert chain.runs == 2
    assert provider.current().access_key_id == "KEY2"
    assert provider.current() is provider.current()


def test_no_credentials_say_what_to_do():
    with pytest.raises(UnauthenticatedError, match="AWS_ACCESS_KEY_ID"):
        ChainProvider(lambda: None).current()


def test_an_expired_token_is_renewed_once(play):
    store, server = play(refused(400, "ExpiredToken"), ok(200, b"x"))
    chain = Chain()
    store.backend._client.signing.provider = ChainProvider(chain)
    store.backend._client.signing.refreshable = True
    store.backend._client.__init__(
        store.backend._client.address,
        store.backend._client.service,
        store.backend._client.signing,
        store.backend._transport,
        store.backend._client.rules,
        bucket="bucket",
    )
    assert store.get("k") == b"x"
    assert chain.runs == 2
    assert [header(each, "x-amz-security-token") for each in server.received] == ["token1", "token2"]


def test_a_wrong_clock_is_set_once(play):
    skewed = refused(403, "RequestTimeTooSkewed")
    store, server = play(skewed, ok(200, b"x"), ok(200, b"x"))
    assert store.get("k") == b"x"
    assert [header(each, "x-amz-date")[:8] for each in server.received][1] == "20441106"
    assert store.get("k") == b"x"
    assert len(server.received) == 3, "the offset is remembered"


def test_links(opened):
    backend = opened("https://s3.example", region="eu-west-1")
    store = mgs.Storage(backend)
    link = store.presign("a b", expires=60, response={"content-disposition": "attachment"})
    query = dict(urllib.parse.parse_qsl(link.partition("?")[2]))
    assert query["X-Amz-Expires"] == "60"
    assert query["response-content-disposition"] == "attachment"
    assert "very-secret-key" not in link
    bound = store.presign("k", method="PUT", content_type="image/png")
    assert "content-type" in urllib.parse.unquote(bound)
    with pytest.raises(ConfigError):
        store.presign("k", expires=8 * 24 * 3600)
    with pytest.raises(ConfigError):
        store.presign("k", method="DELETE", response={"content-type": "a/b"})
