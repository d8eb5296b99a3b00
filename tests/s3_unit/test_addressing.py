"""Hosts and paths: the right place, and never another's."""

from __future__ import annotations

import pytest

from mediagit_storage.backends.s3.addressing import address_of, check_bucket, copy_source
from mediagit_storage.backends.s3.services import SERVICES, adjusted
from mediagit_storage.errors import ConfigError

AWS, B2, SPACES, R2, MINIO = (SERVICES[name] for name in ("aws", "b2", "spaces", "r2", "minio"))


@pytest.mark.parametrize(
    ("service", "bucket", "options", "url"),
    [
        (AWS, "media", {}, "https://media.s3.us-east-1.amazonaws.com/k"),
        (AWS, "media", {"region": "eu-west-1"}, "https://media.s3.eu-west-1.amazonaws.com/k"),
        (AWS, "media", {"region": "cn-north-1"}, "https://media.s3.cn-north-1.amazonaws.com.cn/k"),
        # A dot in the name would not match the certificate of *.s3.REGION.amazonaws.com.
        (AWS, "my.media", {}, "https://s3.us-east-1.amazonaws.com/my.media/k"),
        (AWS, "Old_Bucket", {}, "https://s3.us-east-1.amazonaws.com/Old_Bucket/k"),
        (AWS, "media", {"endpoint": "https://s3.example"}, "https://media.s3.example/k"),
        (AWS, "media", {"endpoint": "http://localhost:4566"}, "http://localhost:4566/media/k"),
        (AWS, "media", {"endpoint": "http://127.0.0.1:4566/"}, "http://127.0.0.1:4566/media/k"),
        (AWS, "media", {"endpoint": "https://10.0.0.1"}, "https://10.0.0.1/media/k"),
        (AWS, "media", {"endpoint": "https://s3.example/gate/way"}, "https://s3.example/gate/way/media/k"),
        (B2, "media", {"region": "us-west-004"}, "https://media.s3.us-west-004.backblazeb2.com/k"),
        (SPACES, "media", {"region": "fra1"}, "https://media.fra1.digitaloceanspaces.com/k"),
        (R2, "media", {"account": "0a1b"}, "https://0a1b.r2.cloudflarestorage.com/media/k"),
        (MINIO, "media", {"endpoint": "https://MinIO.Example:9000"}, "https://minio.example:9000/media/k"),
        (MINIO, "media", {"endpoint": "https://minio.example:443"}, "https://minio.example/media/k"),
        (MINIO, "media", {"endpoint": "http://[::1]:9000"}, "http://[::1]:9000/media/k"),
        (MINIO, "media", {"endpoint": "http://minio:9000", "allow_http": True}, "http://minio:9000/media/k"),
        (
            adjusted(MINIO, path_style=False),
            "media",
            {"endpoint": "https://m.example:9000"},
            "https://media.m.example:9000/k",
        ),
    ],
)
def test_where_a_bucket_is(service, bucket, options, url):
    address = address_of(service, bucket, **options)
    assert address.url(address.path("k")) == url
    assert address.host == url.split("/")[2]


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a//b", "a//b"),
        ("../x", "../x"),
        ("/lead", "/lead"),
        ("folder/", "folder/"),
        ("+", "%2B"),
        ("%2F", "%252F"),
        ("é ü", "%C3%A9%20%C3%BC"),
        ("a?b#c", "a%3Fb%23c"),
        ("I'm a < & weird path", "I%27m%20a%20%3C%20%26%20weird%20path"),
    ],
)
def test_keys_are_spelt_exactly(key, path):
    virtual, in_path = address_of(AWS, "media"), address_of(AWS, "my.media")
    assert virtual.path(key) == f"/{path}"
    assert in_path.path(key) == f"/my.media/{path}"
    assert copy_source("media", key) == f"/media/{path}"
    assert copy_source("media", key, "v 1+/=") == f"/media/{path}?versionId=v%201%2B%2F%3D"


def test_the_bucket_itself():
    assert address_of(AWS, "media").bucket_path == "/"
    assert address_of(AWS, "my.media").bucket_path == "/my.media"
    assert address_of(AWS, "media").url("/", "list-type=2") == "https://media.s3.us-east-1.amazonaws.com/?list-type=2"


@pytest.mark.parametrize(
    "bucket", ["", "a/b", "a b", "..", "a..b", "-a", ".a", "a\n", "a@b", "a:b", "é", "a?b", "a#b", "a" * 256, "a%2Fb"]
)
def test_what_is_no_bucket(bucket):
    with pytest.raises(ConfigError, match="name of a bucket"):
        check_bucket(bucket)
    with pytest.raises(ConfigError, match="name of a bucket"):
        address_of(AWS, bucket)


@pytest.mark.parametrize(
    "label", ["evil.example/", "a.b", "a b", "a@b", "-a", "a-", "a/../b", "é", "a" * 64, "us-east-1\n"]
)
def test_region_and_account_cannot_lead_elsewhere(label):
    with pytest.raises(ConfigError, match="region"):
        address_of(AWS, "media", region=label)
    with pytest.raises(ConfigError, match="account"):
        address_of(R2, "media", account=label)


@pytest.mark.parametrize(
    ("service", "options", "word"),
    [
        (MINIO, {}, "endpoint"),
        (B2, {}, "region"),
        (R2, {}, "account"),
        (MINIO, {"endpoint": "minio:9000"}, "https://host:port"),
        (MINIO, {"endpoint": "ftp://minio"}, "https://host:port"),
        (MINIO, {"endpoint": "https://"}, "https://host:port"),
        (MINIO, {"endpoint": "https://h:99999"}, "https://host:port"),
        (MINIO, {"endpoint": "https://[::zz]"}, "https://host:port|address"),
        (MINIO, {"endpoint": "https://user:canary@h"}, "credentials"),
        (MINIO, {"endpoint": "https://canary@h"}, "credentials"),
        (MINIO, {"endpoint": "https://h/?a=canary"}, "query"),
        (MINIO, {"endpoint": "https://h/#canary"}, "query"),
        (MINIO, {"endpoint": "https://h/a b"}, "blanks"),
        (MINIO, {"endpoint": "https://h/../x"}, "path"),
        (MINIO, {"endpoint": "https://h\n.example"}, "blanks"),
        (MINIO, {"endpoint": "https://é.example"}, "ASCII"),
        (MINIO, {"endpoint": "https://h/a%20b"}, "path"),
        (MINIO, {"endpoint": "https://a_b!"}, "name of a host"),
        (MINIO, {"endpoint": "http://minio.example"}, "plain http"),
        (MINIO, {"endpoint": "http://169.254.169.254"}, "plain http"),
        (MINIO, {"endpoint": "http://127.0.0.1.example"}, "plain http"),
        (MINIO, {"endpoint": "http://localhost.example"}, "plain http"),
    ],
)
def test_what_cannot_be_an_endpoint(service, options, word):
    with pytest.raises(ConfigError, match=word) as caught:
        address_of(service, "media", **options)
    assert "canary" not in str(caught.value)
