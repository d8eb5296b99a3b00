"""Connection strings and SAS tokens: every field, and everything that is wrong with them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mediagit_storage.backends.azure.connection import (
    EMULATOR_ACCOUNT,
    EMULATOR_KEY,
    parse_connection_string,
    parse_sas,
)
from mediagit_storage.errors import ConfigError

KEY = "c2VjcmV0LWtleQ=="
SIG = "sig=very%2Bsecret%3D"
TOKEN = f"sv=2024-08-04&st=2026-11-22T00:00:00Z&se=2026-11-23T00:00:00Z&sr=c&sp=rl&spr=https&{SIG}"


def test_the_string_that_the_portal_shows():
    found = parse_connection_string(
        f"DefaultEndpointsProtocol=https;AccountName=media;AccountKey={KEY};EndpointSuffix=core.windows.net"
    )
    assert (found.account, found.endpoint, found.suffix, found.protocol) == ("media", None, "core.windows.net", "https")
    assert found.key is not None
    assert found.key.reveal() == KEY
    assert found.sas is None
    assert KEY not in repr(found)


def test_every_field_is_known_in_any_case_and_order():
    text = (
        "accountname=media;SHAREDACCESSSIGNATURE="
        + TOKEN
        + ";BlobEndpoint=https://media.example/;QueueEndpoint=https://q;"
        "TableEndpoint=https://t;FileEndpoint=https://f;DfsEndpoint=https://d;BlobSecondaryEndpoint=https://s;"
        "QueueSecondaryEndpoint=https://s;TableSecondaryEndpoint=https://s;FileSecondaryEndpoint=https://s;"
        "DfsSecondaryEndpoint=https://s;;"
    )
    found = parse_connection_string(text)
    assert found.endpoint == "https://media.example/"
    assert found.sas is not None
    assert found.sas.reveal() == TOKEN, "a value may hold signs of equality"


def test_blanks_and_line_ends_around_fields_do_not_count():
    found = parse_connection_string(f"  AccountName = media ;\r\n AccountKey= {KEY}\r\n")
    assert found.account == "media"
    assert found.key is not None
    assert found.key.reveal() == KEY


def test_the_emulators_string():
    found = parse_connection_string("UseDevelopmentStorage=true")
    assert (found.account, found.endpoint) == (EMULATOR_ACCOUNT, "http://127.0.0.1:10000/devstoreaccount1")
    assert found.key is not None
    assert found.key.reveal() == EMULATOR_KEY
    proxied = parse_connection_string("UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://127.0.0.2")
    assert proxied.endpoint == "http://127.0.0.2:10000/devstoreaccount1"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        (";;", "empty"),
        (f"AccountName=a;AccountName=b;AccountKey={KEY}", "twice"),
        (f"AccountName=a;accountname=a;AccountKey={KEY}", "twice"),
        (f"AccountName=a;AccountKey={KEY};Colour=red", "'Colour'"),
        (f"AccountName=a;{KEY}", "does not know"),
        ("AccountName=a;AccountKey=", "empty"),
        ("AccountName;AccountKey=x", "does not know"),
        (f"AccountKey={KEY}", "AccountName"),
        (f"AccountKey={KEY};BlobEndpoint=https://x", "AccountName"),
        (f"AccountName=a;AccountKey={KEY};SharedAccessSignature={TOKEN}", "keep one"),
        (f"DefaultEndpointsProtocol=ftp;AccountName=a;AccountKey={KEY}", "http or https"),
        ("UseDevelopmentStorage=false", "only be true"),
        (f"UseDevelopmentStorage=true;AccountKey={KEY}", "stands alone"),
        ("DevelopmentStorageProxyUri=http://x;AccountName=a", "belongs to"),
        ("DefaultEndpointsProtocol=https", "AccountName or BlobEndpoint"),
        (f"Account\r\nName=a;AccountKey={KEY}", "does not know"),
        (f"AccountName=a;Account Key={KEY}", "does not know"),
    ],
)
def test_what_is_wrong_is_told_without_a_value(text, word):
    with pytest.raises(ConfigError) as caught:
        parse_connection_string(text)
    assert word in str(caught.value)
    assert KEY not in str(caught.value)
    assert "very%2B" not in str(caught.value)


# ---- tokens


@pytest.mark.parametrize("text", [TOKEN, f"?{TOKEN}", f" {TOKEN}\n", f"{TOKEN}&"])
def test_a_token_with_and_without_its_question_mark(text):
    token = parse_sas(text)
    assert token.query.reveal() == TOKEN
    assert token.expires == datetime(2026, 11, 23, tzinfo=UTC)
    assert token.start == datetime(2026, 11, 22, tzinfo=UTC)
    assert (token.permissions, token.https_only, token.endpoint, token.container) == ("rl", True, None, None)
    assert "very" not in repr(token)


@pytest.mark.parametrize(
    ("url", "endpoint", "container"),
    [
        (f"https://media.blob.core.windows.net/?{TOKEN}", "https://media.blob.core.windows.net", None),
        (f"https://media.blob.core.windows.net/c?{TOKEN}", "https://media.blob.core.windows.net", "c"),
        (f"http://127.0.0.1:10000/devstoreaccount1/c?{TOKEN}", "http://127.0.0.1:10000/devstoreaccount1", "c"),
        (f"http://localhost:10000/devstoreaccount1?{TOKEN}", "http://localhost:10000/devstoreaccount1", None),
    ],
)
def test_a_token_as_a_url(url, endpoint, container):
    token = parse_sas(url)
    assert (token.endpoint, token.container, token.query.reveal()) == (endpoint, container, TOKEN)


@pytest.mark.parametrize(
    "text", ["2026-11-23", "2026-11-23T00:00Z", "2026-11-23T00:00:00Z", "2026-11-23T00:00:00.0000000Z"]
)
def test_times_in_all_their_forms(text):
    assert parse_sas(f"se={text}&{SIG}").expires == datetime(2026, 11, 23, tzinfo=UTC)
    assert parse_sas(f"se=soon&{SIG}").expires is None


def test_what_its_times_mean():
    token = parse_sas(TOKEN)
    assert token.complaint(datetime(2026, 11, 22, 12, tzinfo=UTC)) is None
    assert "expired at 2026-11-23 00:00:00 UTC" in str(token.complaint(datetime(2026, 11, 23, tzinfo=UTC)))
    assert "not valid before 2026-11-22" in str(token.complaint(datetime(2026, 11, 21, 23, 59, tzinfo=UTC)))
    assert parse_sas(SIG).complaint(datetime(2099, 1, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    "text",
    [
        "", "?", "sv=1", "sig=", f"{SIG}&{SIG}", f"{SIG}&Sig=x", "words", "a b=1&" + SIG, f"{SIG}#x", f"{SIG}\r\nx: y",
        f"sv=é&{SIG}", f"https://media.blob.core.windows.net/c/blob?{TOKEN}", "https://media.blob.core.windows.net/c",
    ],
)  # fmt: skip
def test_what_is_no_token_is_told_without_showing_it(text):
    with pytest.raises(ConfigError) as caught:
        parse_sas(text)
    assert "very" not in str(caught.value)
