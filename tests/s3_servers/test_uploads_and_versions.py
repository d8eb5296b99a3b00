"""`mgs mb`, `mgs versions` and `mgs uploads` on real servers."""

from __future__ import annotations

import os
from functools import partial

import pytest

from mediagit_storage.testing.command_line import call_mgs
from mediagit_storage.testing.emulators.raw_s3 import call

#: Those that keep versions.
KEEPING = pytest.mark.parametrize("server", ["moto", "seaweedfs", "localstack", "minio"], indirect=True)
#: Those that tell when an upload was begun: moto says the same day in 2010 of each.
DATING = pytest.mark.parametrize("server", ["seaweedfs", "rclone", "localstack", "minio"], indirect=True)
#: Which entry of the table of services describes a server.
SERVICE = {"moto": "aws", "localstack": "aws", "seaweedfs": "seaweedfs", "minio": "minio", "rclone": "generic"}


@pytest.fixture
def mgs(server, tmp_path):
    """Calls `mgs` in an environment that leads to the server and has a profile for it, ``here``."""
    profiles = tmp_path / "profiles.toml"
    profiles.write_text("")
    environment = {**server.environment(), "MGS_CONFIG": str(profiles)}
    return partial(call_mgs, folder=tmp_path, environment=environment)


@pytest.fixture
def profile(server, tmp_path):
    """Names a bucket ``here``, for `mgs`."""

    def write(bucket: str) -> None:
        options = f'url = "s3://{bucket}"\nservice = "{SERVICE[server.name]}"\nendpoint = "{server.url}"'
        (tmp_path / "profiles.toml").write_text(f"[here]\n{options}\n")

    return write


@KEEPING
def test_the_life_of_an_object_with_versions(server, mgs, profile):
    name = f"t-versions-{os.urandom(5).hex()}"
    profile(name)
    assert mgs("mb", "here:", "--versioning", "on").code == 0
    versioning = call(server, "GET", name, [("versioning", "")]).body
    assert b"Enabled" in versioning
    target = "here:a/x"
    first = mgs("put", "-", target, "--metadata", "who=me", "--json", stdin=b"first").records[0]
    mgs("put", "-", target, stdin=b"second")
    mgs("put", "-", "here:a/y", stdin=b"other")
    assert mgs("rm", target).code == 0
    listed = mgs("versions", "ls", "here:a/", "--json").records
    assert [(each["key"], each["latest"], each.get("deleted", False), each.get("size")) for each in listed] == [
        ("a/x", True, True, None), ("a/x", False, False, 6), ("a/x", False, False, 5), ("a/y", True, False, 5),
    ]  # fmt: skip
    assert listed[2]["version"] == first["version"]

    assert mgs("versions", "restore", target).code == 0
    assert mgs("cat", target).out == "second"
    result = mgs("versions", "restore", target, "--version", first["version"])
    assert result.code == 0, result
    assert mgs("cat", target).out == "first"
    assert mgs("stat", target, "--json").records[0]["attributes"]["metadata"] == {"who": "me"}
    assert mgs("versions", "restore", target, "--version", "nonsense").code == 4

    dry = mgs("versions", "rm", "here:a/", "--all-but-latest", "--dry-run")
    assert len(dry.out.splitlines()) == 4, dry
    removed = mgs("versions", "rm", "here:a/", "--older-than", "1h")
    assert removed.code == 0
    assert "deleted 0 versions, 4 kept" in removed.err
    removed = mgs("versions", "rm", "here:a/", "--all-but-latest")
    assert removed.code == 0, removed
    assert "deleted 4 versions" in removed.err
    left = mgs("versions", "ls", "here:", "--json").records
    assert [(each["key"], each["latest"]) for each in left] == [("a/x", True), ("a/y", True)]
    assert mgs("cat", target).out == "first"
    assert mgs("versions", "rm", target, "--version", left[0]["version"]).code == 0
    assert mgs("cat", target).code == 4

    assert mgs("mb", "here:", "--versioning", "off").code == 0
    assert b"Suspended" in call(server, "GET", name, [("versioning", "")]).body


@DATING
def test_unfinished_uploads(server, bucket, mgs):
    """Parts that a killed process left: seen, kept while they are young, aborted when told."""
    ids = {}
    for key in ("in/one", "in/two", "other"):
        answer = call(server, "POST", f"{bucket}/{key}", [("uploads", "")])
        assert answer.status == 200, answer
        ids[key] = answer.body.decode().partition("<UploadId>")[2].partition("</UploadId>")[0]
    query = [("partNumber", "1"), ("uploadId", ids["in/one"])]
    assert call(server, "PUT", f"{bucket}/in/one", query, body=b"x" * 5_500_000).status == 200
    url = f"s3://{bucket}"
    listed = mgs("uploads", "ls", url, "--json").records
    assert [(each["key"], each["upload"]) for each in listed] == sorted(ids.items())
    assert [each["key"] for each in mgs("uploads", "ls", f"{url}/in/", "--json").records] == ["in/one", "in/two"]
    text = mgs("uploads", "ls", url)
    assert "3 unfinished uploads" in text.err
    kept = mgs("uploads", "abort", url)
    assert kept.code == 0
    assert "aborted 0 uploads, 3 kept" in kept.err
    assert len(mgs("uploads", "abort", url, "--all", "-n").out.splitlines()) == 3
    assert mgs("uploads", "abort", url, "--upload", ids["other"]).code == 0
    assert mgs("uploads", "abort", url, "--key", "in/two", "--all").code == 0
    assert [each["key"] for each in mgs("uploads", "ls", url, "--json").records] == ["in/one"]
    assert mgs("uploads", "abort", f"{url}/in", "--older-than", "0").code == 0
    assert mgs("uploads", "ls", url, "--json").records == []
    assert mgs("uploads", "abort", url, "--upload", ids["other"]).code == 4


#: Profiles for the same server by every preset; keys and endpoint are added.
PRESETS = {
    "minio": 'url = "minio://{host}/{bucket}"',
    "b2": 'url = "b2://{bucket}"\nregion = "us-west-004"',
    "spaces": 'url = "spaces://{bucket}"\nregion = "ams3"',
    "r2": 'url = "s3://{bucket}?service=r2"\naccount = "a"',
    "aws": 'url = "s3://{bucket}?service=aws"\nregion = "eu-west-1"',
    "generic": 'url = "s3://{bucket}"',
}
KEYS = """
access_key_id = { env = "AWS_ACCESS_KEY_ID" }
secret_access_key = { env = "AWS_SECRET_ACCESS_KEY" }
"""


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("server", ["seaweedfs", "minio"], indirect=True)
def test_a_bucket_is_made_by_every_preset(server, mgs, tmp_path, preset):
    """Once made, making it again is fine; it can be used; versions are switched on, or refused before anything is made."""
    bucket = f"t-{preset}-{os.urandom(5).hex()}"
    named = PRESETS[preset].format(bucket=bucket, host=server.host)
    endpoint = "" if preset == "minio" else f'endpoint = "{server.url}"'
    (tmp_path / "profiles.toml").write_text(f"[here]\n{named}\n{endpoint}{KEYS}")
    if preset in {"r2", "generic"}:
        refused = mgs("mb", "here:", "--versioning", "on")
        assert refused.code == 7
        assert "keeps no versions" in refused.err
        assert call(server, "HEAD", bucket).status == 404
        assert mgs("mb", "here:").code == 0
    else:
        made = mgs("mb", "here:", "--versioning", "on")
        assert made.code == 0, made
        assert b"Enabled" in call(server, "GET", bucket, [("versioning", "")]).body
    again = mgs("mb", "here:")
    assert again.code == 0, again
    assert mgs("put", "-", "here:k", stdin=b"x").code == 0
    assert mgs("ls", "here:").out == "k\n"
