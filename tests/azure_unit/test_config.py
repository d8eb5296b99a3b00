"""What options come to: where, who asks, and what has to be said about what is missing."""

from __future__ import annotations

import base64
import pickle
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest

from mediagit_storage.backends.azure import AzureBackend, AzureConfig
from mediagit_storage.backends.azure.config import opened
from mediagit_storage.backends.azure.connection import EMULATOR_KEY
from mediagit_storage.backends.azure.services import address_of
from mediagit_storage.errors import ConfigError, InvalidKeyError, NotFoundError, UnsupportedError
from mediagit_storage.opening import open_storage
from mediagit_storage.secrets import Secret, SecretRef
from mediagit_storage.types import ConnectionInfo, PresignOptions

KEY = "c2VjcmV0LWtleQ=="
TOKEN = "sv=2024-08-04&se=2030-01-01&sr=c&sp=rl&sig=verysecret"
STRING = f"AccountName=media;AccountKey={KEY}"
EMULATOR = "http://127.0.0.1:10000/devstoreaccount1"


def config(**options):
    given = {"container": "pics", "account": "media", "account_key": Secret(KEY), **options}
    return AzureConfig(**{name: value for name, value in given.items() if value is not None})


# ---- places


@pytest.mark.parametrize(
    ("account", "options", "origin", "path", "service"),
    [
        ("media", {}, "https://media.blob.core.windows.net", "/pics/a%20b", "azure"),
        ("media", {"suffix": "core.chinacloudapi.cn"}, "https://media.blob.core.chinacloudapi.cn", "/pics/a%20b", "azure"),
        ("media", {"endpoint": "https://pics.example"}, "https://pics.example", "/pics/a%20b", "azure"),
        (None, {"endpoint": "https://media.blob.core.windows.net/"}, "https://media.blob.core.windows.net", "/pics/a%20b", "azure"),
        (None, {"endpoint": EMULATOR}, "http://127.0.0.1:10000", "/devstoreaccount1/pics/a%20b", "azurite"),
        ("media", {"endpoint": "https://x/media", "service": "azure"}, "https://x", "/media/pics/a%20b", "azure"),
    ],
)  # fmt: skip
def test_where_a_container_is(account, options, origin, path, service):
    address = address_of("pics", account, **options)
    assert (address.origin, address.path("a b"), address.service.name) == (origin, path, service)
    assert address.account in {"media", "devstoreaccount1"}


@pytest.mark.parametrize("name", ["", "ab", "Pics", "a--b", "-ab", "ab-", "a_b", "x" * 64, "../x", "a/b", "$other"])
def test_names_that_no_container_has(name):
    with pytest.raises(ConfigError):
        address_of(name, "media")


@pytest.mark.parametrize("name", ["abc", "a-b-c", "x" * 63, "$web", "$root", "0-9"])
def test_names_of_containers(name):
    assert address_of(name, "media").container == name


@pytest.mark.parametrize(
    ("account", "options"),
    [
        (None, {}), ("me.dia", {}), ("media/x", {}), ("media", {"suffix": "evil/x"}), (None, {"endpoint": "https://x.example"}),
        ("media", {"endpoint": "http://other.example"}), ("media", {"endpoint": "https://u:p@x"}), ("media", {"service": "s3"}),
    ],
)  # fmt: skip
def test_places_that_are_none(account, options):
    with pytest.raises(ConfigError):
        address_of("pics", account, **options)


# ---- keys


@pytest.mark.parametrize("key", ["a\\b", "\\", "a\0b", "./a", "a/..", "x/../y", "a/" * 254 + "b"])
@pytest.mark.parametrize("service", ["azure", "azurite"])
def test_keys_that_the_service_folds(key, service):
    address = address_of("pics", "media", service=service)
    assert not address.holds(key)
    with pytest.raises(InvalidKeyError):
        address.check_written(key)
    with pytest.raises(NotFoundError):
        address.path(key)


@pytest.mark.parametrize("key", ["a.", "a./b", "...", "dir./x"])
def test_dots_at_the_end_are_dropped_by_azure_only(key):
    assert not address_of("pics", "media").holds(key)
    assert address_of("pics", "media", service="azurite").holds(key)


@pytest.mark.parametrize("key", ["a//b", "folder/", "/lead", "a.b", ".hidden", "..dots", "é", "%2F"])
def test_keys_that_are_exact(key):
    address_of("pics", "media").check_written(key)


def test_prefixes_under_which_nothing_can_be():
    address = address_of("pics", "media")
    assert address.holds_under("a.")
    assert address.holds_under("..")
    assert not address.holds_under("a./b")
    assert not address.holds_under("../")
    assert not address.holds_under("a\\")


# ---- who asks


def test_a_connection_string_says_everything():
    found = opened(config(account=None, account_key=None, connection_string=Secret(STRING)))
    assert found.address.origin == "https://media.blob.core.windows.net"
    assert found.key is not None
    assert found.key.reveal() == KEY


def test_the_emulator_needs_no_key():
    found = opened(AzureConfig(container="pics", account="devstoreaccount1", endpoint=EMULATOR))
    assert found.key is not None
    assert found.key.reveal() == EMULATOR_KEY


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"account_key": None}, "AZURE_STORAGE_KEY"),
        ({"account": None}, "AZURE_STORAGE_ACCOUNT"),
        ({"sas_token": Secret(TOKEN)}, "exclude"),
        ({"anonymous": True}, "exclude"),
        ({"identity": "default"}, "exclude"),
        ({"account_key": None, "identity": "magic"}, "identity is one of"),
        ({"account_key": None, "connection_string": Secret(STRING), "account": "other"}, "is for 'media'"),
        ({"account_key": None, "connection_string": Secret("AccountName=media")}, "no AccountKey"),
        ({"account_key": None, "connection_string": Secret(f"DefaultEndpointsProtocol=http;{STRING}")}, "use https"),
        ({"account_key": None, "sas_token": Secret(f"https://media.blob.core.windows.net/other?{TOKEN}")}, "'other'"),
        ({"account_key": Secret("no base64")}, "Base64"),
        ({"versions": "all"}, "versions is one of"),
        ({"part_size": 0}, "part"),
        ({"encryption_key": Secret("x"), "encryption_scope": "y"}, "exclude"),
        ({"encryption_key": Secret("eHg=")}, "32"),
        ({"account_key": None, "identity": "given"}, "with_credential"),
        ({"account_key": None, "identity": "cli", "client_id": "x"}, "client_id"),
    ],
)
def test_what_is_wrong_says_what_to_set(options, word):
    with pytest.raises(ConfigError) as caught:
        AzureBackend.from_config(config(**options))
    assert word in str(caught.value)
    for secret in (KEY, "verysecret", "no base64"):
        assert secret not in str(caught.value)


def test_a_customers_key_wants_https():
    key = Secret(base64.b64encode(bytes(32)).decode())
    with pytest.raises(UnsupportedError):
        AzureBackend.from_config(config(endpoint=EMULATOR, account="devstoreaccount1", encryption_key=key))


# ---- the environment


@pytest.mark.parametrize(
    ("environ", "word"),
    [
        ({}, "AZURE_STORAGE_CONNECTION_STRING"),
        ({"AZURE_STORAGE_KEY": KEY}, "AZURE_STORAGE_ACCOUNT"),
        ({"AZURE_STORAGE_SAS_TOKEN": TOKEN}, "AZURE_STORAGE_ACCOUNT"),
        ({"AZURE_STORAGE_ACCOUNT": "media"}, "AZURE_STORAGE_KEY"),
    ],
)
def test_a_half_set_environment_says_what_is_missing(environ, word):
    with pytest.raises(ConfigError) as caught:
        AzureBackend.from_env("pics", environ=environ)
    assert word in str(caught.value)
    assert KEY not in str(caught.value)
    assert "verysecret" not in str(caught.value)


def test_of_several_ways_in_the_environment_one_counts():
    every = {
        "AZURE_STORAGE_CONNECTION_STRING": STRING, "AZURE_STORAGE_ACCOUNT": "other", "AZURE_STORAGE_KEY": "b3RoZXI=",
        "AZURE_STORAGE_SAS_TOKEN": TOKEN,
    }  # fmt: skip
    with closing(AzureBackend.from_env("pics", environ=every)) as backend:
        assert "media.blob" in backend.description
    with open_storage("az://pics", environ=every) as store:
        assert "media.blob" in store.description
    del every["AZURE_STORAGE_CONNECTION_STRING"]
    with open_storage("az://pics", environ=every) as store:
        assert "other.blob" in store.description


def test_an_explicit_way_keeps_the_environments_out():
    environ = {"AZURE_STORAGE_CONNECTION_STRING": STRING}
    options = {"account": "mine", "account_key": Secret("bWluZQ==")}
    with open_storage("az://pics", options=options, environ=environ) as store:
        assert "mine.blob" in store.description


def test_the_environments_secrets_are_not_for_another_account():
    environ = {"AZURE_STORAGE_ACCOUNT": "media", "AZURE_STORAGE_KEY": KEY}
    with open_storage("az://pics?account=media", environ=environ) as store:
        assert "media.blob" in store.description
    for other in ("account=evil", "endpoint=https://evil.example", "account=media&endpoint_suffix=evil.example"):
        with pytest.raises(ConfigError, match=r"nothing says who asks|AZURE_STORAGE_ACCOUNT"):
            open_storage(f"az://pics?{other}", environ=environ)


@pytest.mark.parametrize("option", ["account_key", "sas_token", "connection_string", "encryption_key"])
def test_a_url_carries_no_secret(option):
    with pytest.raises(ConfigError, match="never carries credentials"):
        open_storage(f"az://pics?account=media&{option}=c2VjcmV0")


# ---- the backend


def test_the_ways_to_make_one(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", STRING)
    made = [
        AzureBackend.with_connection_string("pics", STRING),
        AzureBackend.with_account_key("pics", account="media", account_key=KEY),
        AzureBackend.with_sas_token("pics", TOKEN, account="media"),
        AzureBackend.with_sas_token("pics", f"https://media.blob.core.windows.net/pics?{TOKEN}"),
        AzureBackend.from_env("pics"),
    ]
    for backend in made:
        assert backend.description == "az://pics at https://media.blob.core.windows.net"
        for secret in (KEY, "verysecret"):
            assert secret not in repr(backend)
            assert secret not in repr(backend.config)
            assert secret not in str(backend.connection_info().to_json())
        backend.close()
    assert made[-1].connection_info() == ConnectionInfo(
        "az", {"container": "pics", "connection_string": {"env": "AZURE_STORAGE_CONNECTION_STRING"}}
    )
    again = pickle.loads(pickle.dumps(made[-1]))
    assert again.config == made[-1].config
    again.close()


def test_connection_info_opens_the_same(monkeypatch):
    monkeypatch.setenv("MEDIA_KEY", KEY)
    backend = AzureBackend.from_config(
        config(account_key=SecretRef(env="MEDIA_KEY"), versions="snapshots", concurrency=3)
    )
    info = ConnectionInfo.from_json(backend.connection_info().to_json())
    with open_storage(info) as store:
        assert store.connection_info() == info
    backend.close()
    with pytest.raises(TypeError):
        pickle.dumps(AzureBackend.from_config(config()))


def test_what_it_can_do():
    backend = AzureBackend.from_config(config())
    assert backend.capabilities.presign == {"GET", "PUT", "DELETE"}
    assert backend.capabilities.replace_head
    assert not backend.capabilities.versions
    backend.close()
    token = AzureBackend.with_sas_token("pics", TOKEN, account="media")
    assert token.capabilities.presign == frozenset(), "a token could only be handed on as it is"
    token.close()
    emulator = AzureBackend.from_config(
        AzureConfig(container="pics", account="devstoreaccount1", endpoint=EMULATOR, versions="snapshots")
    )
    assert emulator.capabilities.versions
    assert not emulator.capabilities.replace_head
    emulator.close()


def test_links_have_an_end_and_no_content_type():
    backend = AzureBackend.from_config(config())
    assert backend.presign("a b", PresignOptions()).startswith("https://media.blob.core.windows.net/pics/a%20b?sv=")
    with pytest.raises(UnsupportedError):
        backend.presign("a", PresignOptions(method="PUT", content_type="text/plain"))
    with pytest.raises(ConfigError):
        backend.presign("a", PresignOptions(method="PUT", response={"content-type": "x"}))
    with pytest.raises(ConfigError):
        backend.presign("a", PresignOptions(expires=timedelta.max))
    backend.close()


def test_options_are_replaced_whole():
    assert replace(config(), container="other").container == "other"
