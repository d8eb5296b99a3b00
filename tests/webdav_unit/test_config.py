"""Options, services, names of unfinished uploads: pure rules."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.backends.webdav import WebDAVConfig
from mediagit_storage.backends.webdav.services import SERVICES, capabilities_of, guess_service
from mediagit_storage.backends.webdav.temporary import (
    check_not_hidden,
    is_hidden,
    parse_temporary,
    temporary_key,
)
from mediagit_storage.errors import ConfigError, InvalidKeyError
from mediagit_storage.secrets import Secret

ME = {"username": Secret("me"), "password": Secret("hush")}


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"username": Secret("me")}, "WEBDAV_PASSWORD"),
        ({"password": Secret("hush")}, "WEBDAV_USERNAME"),
        ({"auth": "ntlm"}, "auth"),
        ({"service": "sharepoint"}, "generic"),
        ({"destination": "relative"}, "destination"),
        ({"attempts": 0}, "attempts"),
        ({"concurrency": 0}, "concurrency"),
        ({"url": "http://example.com/x"}, "plain http"),
        ({"url": "https://u:hush@example.com/x"}, "credentials"),
    ],
)
def test_wrong_options_say_what_to_set(options, word):
    with pytest.raises(ConfigError, match=word) as caught:
        WebDAVConfig(**{"url": "https://h/x", **options})
    assert "hush" not in str(caught.value)


def test_what_the_user_knows_better():
    config = WebDAVConfig(url="https://h", service="apache", create_only=True, chunked=False, conditional_writes=True)
    service = config.known_service()
    assert (service.create_only, service.chunked, service.conditional_writes, service.atomic_put) == (
        True,
        False,
        True,
        True,
    )
    assert not WebDAVConfig(url="https://h", service="rclone", create_only=False).known_service().create_only


@pytest.mark.parametrize("service", SERVICES.values(), ids=lambda each: each.name)
def test_promises_follow_the_table(service):
    found = capabilities_of(service, dead_properties=False)
    assert found.if_absent == found.copy_if_absent == service.create_only
    assert found.server_rename == (not service.deletes_for_nothing)
    assert not found.attributes
    assert not found.nested_keys
    assert "metadata" in capabilities_of(service, dead_properties=True).attributes
    assert "storage_class" not in capabilities_of(service, dead_properties=True).attributes


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("Apache/2.4.68 (Debian)", "apache"),
        ("nginx/1.22.1", "nginx"),
        ("WsgiDAV/4.4.0 Cheroot/11.1.2 Python/3.11.7", "wsgidav"),
        ("rclone/v1.75.2", "rclone"),
        ("Microsoft-IIS/10.0", None),
        (None, None),
    ],
)
def test_servers_are_known_by_what_they_say(field, name):
    found = guess_service(field)
    assert (found.name if found else None) == name


def test_the_same_server_is_the_same_however_it_is_spelled():
    assert WebDAVConfig.same_host("https://h:443/a", "davs://H/b")
    assert not WebDAVConfig.same_host("https://h/a", "https://h.evil/a")
    assert not WebDAVConfig.same_host("https://h/a", "http://h/a")
    assert not WebDAVConfig.same_host("https://h/a", "nonsense")


# ---- unfinished uploads


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=255), st.booleans()
)
def test_the_name_of_an_upload_tells_its_object(name, apart):
    key = temporary_key(
        f"a/b/{name}", 1_795_308_138_123_000_000, "0123456789abcdef", longest=255, apart=apart, attempt="3"
    )
    folder, _, last = key.rpartition("/")
    assert folder == ("a/b/~mgs-uploads" if apart else "a/b")
    assert len(last.encode()) <= 255
    parsed = parse_temporary(last)
    assert parsed.started == datetime(2026, 11, 22, 0, 42, 18, 123_000, tzinfo=UTC)
    assert name.startswith(parsed.name)
    if len(name.encode()) < 150:
        assert parsed.name == name


@pytest.mark.parametrize(
    "name", ["~mgs-upload-1~x", "~mgs-upload-18f0000000a-0123456789abcdeg-1~x", "plain", "~mgs-uploads"]
)
def test_names_that_are_no_uploads(name):
    assert parse_temporary(name) is None


def test_hidden_names():
    assert is_hidden("~mgs-uploads")
    assert not is_hidden("~mgs")
    for key in ("~mgs-uploads/x", "a/~mgs-upload-x", "~mgs-upload"):
        with pytest.raises(InvalidKeyError):
            check_not_hidden(key)
    check_not_hidden("a/x~mgs-upload-1")
