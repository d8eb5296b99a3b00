"""What servers that check it for real refuse: `mgs` says what is wrong and what to do, and ends with its own code."""

from __future__ import annotations

import time

import pytest

from mediagit_storage.testing.command_line import Finished
from mediagit_storage.testing.emulators.raw_s3 import call

#: Those that check signatures.
STRICT = pytest.mark.parametrize("server", ["seaweedfs", "rclone", "minio"], indirect=True)
#: Of these, those that look at the time of a signature.
TIMED = pytest.mark.parametrize("server", ["seaweedfs", "minio"], indirect=True)


def tells(result: Finished, code: int, *words: str) -> None:
    """One line on standard error, the code, the words; within seconds."""
    assert result.code == code, result
    assert result.out == ""
    assert len(result.err.splitlines()) == 1, result.err
    for word in words:
        assert word in result.err
    assert result.seconds < 30


def finds(result: Finished, *words: str) -> None:
    """`mgs check` fails, and the words are in what failed."""
    assert result.code == 1, result
    failed = " ".join(line for line in result.out.splitlines() if line.startswith("failed"))
    for word in words:
        assert word in failed, result.out


@STRICT
@pytest.mark.parametrize(
    "wrong", [{"AWS_SECRET_ACCESS_KEY": "canary" * 7}, {"AWS_ACCESS_KEY_ID": "CANARYUNKNOWN000"}], ids=["secret", "key"]
)
def test_wrong_credentials(bucket, mgs, wrong):
    """Whatever is asked first: a listing, an object (whose HEAD has no words), a write, a bucket."""
    words = "check the access key and its secret"
    for arguments in (
        ["ls", f"s3://{bucket}"],
        ["stat", f"s3://{bucket}/k"],
        ["put", "-", f"s3://{bucket}/k"],
        ["mb", "s3://t-not-made-by-a-stranger"],
    ):
        result = mgs(*arguments, **wrong)
        tells(result, 11, words)
        assert "canary" not in result.err
    finds(mgs("check", f"s3://{bucket}", **wrong), words)


@TIMED
def test_a_clock_that_is_wrong(bucket, mgs, monkeypatch):
    """The server's time is used instead, and `check` says by how much the clock is wrong: it is three hours ahead."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 3 * 3600 * 10**9)
    listed = mgs("ls", f"s3://{bucket}")
    assert (listed.code, listed.err) == (0, "")
    checked = mgs("check", f"s3://{bucket}")
    assert checked.code == 0, checked
    [line] = [each for each in checked.out.splitlines() if each.split()[:2] == ["warning", "clock"]]
    assert "+108" in line  # three hours are 10,800 seconds
    assert "set this machine's clock" in line


@pytest.mark.parametrize("server", ["moto", "seaweedfs", "rclone", "localstack", "minio"], indirect=True)
def test_a_bucket_that_is_not_there(server, mgs):
    words = "the bucket is not there"
    for arguments in (
        ["ls", "s3://t-missing-bucket"],
        ["stat", "s3://t-missing-bucket/k"],
        ["cat", "s3://t-missing-bucket/k"],
        ["rm", "-r", "s3://t-missing-bucket/k"],
    ):
        tells(mgs(*arguments), 3, words)
    finds(mgs("check", "s3://t-missing-bucket"), words)
    assert call(server, "HEAD", "t-missing-bucket").status == 404, "nothing was made by looking"


@pytest.mark.parametrize("server", ["moto", "seaweedfs", "rclone", "localstack", "minio"], indirect=True)
def test_a_bucket_that_is_there_already(server, bucket, mgs):
    """Making it again is fine, and changes nothing in it."""
    url = f"s3://{bucket}"
    assert call(server, "PUT", f"{bucket}/k", body=b"x").status == 200
    result = mgs("mb", url)
    assert result.code == 0, result
    assert mgs("cat", f"{url}/k").out == "x"
