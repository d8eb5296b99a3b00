"""What goes wrong between a person and a storage: one line that says what to do, an exit code, in time.

Each is shown to `mgs` as a process of its own; `mgs check`, and the commands that differ in what they send and so in
what they are told, are called in this process.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import pytest

from mediagit_storage.testing.authority import Authority
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.s3_answers import Refuses
from mediagit_storage.testing.scripted_server import Conversation, Hang, Receive, Repeat, ScriptedServer, Send

SECRET = "canary-secret-key"
TOKEN = "canary-session-token"
#: Starting the interpreter on a machine with other work to do, in seconds.
STARTING = 15.0


class Result(NamedTuple):
    code: int
    out: str
    err: str
    seconds: float


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """What a person has set; the tests run in an environment without anything of the kind."""
    values = {
        "AWS_ACCESS_KEY_ID": "AKEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "MGS_CONFIG": str(tmp_path / "none.toml"),
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def process(*arguments: str) -> Result:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "mediagit_storage", *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False, env=os.environ,
    )  # fmt: skip
    return Result(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def is_clear(text: str, words: tuple[str, ...]) -> None:
    """One line that holds the words, and no secret."""
    assert len(text.splitlines()) == 1, text
    assert text.startswith("mgs: ")
    for word in words:
        assert word in text
    assert SECRET not in text
    assert TOKEN not in text
    assert "Traceback" not in text
    # Nothing is advised twice, and no word about one trouble is said of another.
    assert "(`mgs profile --help`)" not in text
    assert "''" not in text


def is_found(result, words: tuple[str, ...]) -> None:
    """`mgs check` names it in a line of its own, and fails."""
    assert result.code == 1, result
    assert result.err == ""
    failed = [line for line in result.out.splitlines() if line.startswith("failed")]
    assert failed, result.out
    for word in words:
        assert word in failed[0]
    assert SECRET not in result.out
    assert TOKEN not in result.out


# ---- what the service says


@dataclass(frozen=True)
class Case:
    """An answer of S3 to every request; what `mgs` ends with, and words that tell what it is and what to do."""

    step: Refuses
    code: int
    words: tuple[str, ...]
    token: bool = False


CASES = {
    "wrong secret": Case(
        Refuses(403, "SignatureDoesNotMatch", "The request signature does not match the signature you provided."),
        11,
        ("SignatureDoesNotMatch", "check the access key and its secret"),
    ),
    "unknown key": Case(
        Refuses(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."),
        11,
        ("does not exist in our records", "check the access key and its secret"),
    ),
    "not allowed": Case(
        Refuses(403, "AccessDenied", "Access Denied"),
        11,
        ("Access Denied", "ask the bucket's owner for the permission"),
    ),
    "wrong region": Case(
        Refuses(
            400,
            "AuthorizationHeaderMalformed",
            "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'",
            [("x-amz-bucket-region", "eu-west-1")],
            "<Region>eu-west-1</Region>",
        ),
        2,
        ("region", "eu-west-1"),
    ),
    "another region's host": Case(
        Refuses(
            301,
            "PermanentRedirect",
            "The bucket you are attempting to access must be addressed using the specified endpoint.",
            [("x-amz-bucket-region", "eu-west-1")],
            "<Endpoint>media.s3.eu-west-1.amazonaws.com</Endpoint>",
        ),
        2,
        ("region", "eu-west-1"),
    ),
    "missing bucket": Case(
        Refuses(404, "NoSuchBucket", "The specified bucket does not exist"),
        3,
        ("the bucket is not there", "check its name and region, or create it"),
    ),
    "clock skew": Case(
        Refuses(
            403,
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
            ahead=timedelta(hours=3),
        ),
        11,
        ("request time", "set this machine's clock"),
    ),
    "expired token": Case(
        Refuses(400, "ExpiredToken", "The provided token has expired."),
        11,
        ("token has expired", "sign in again"),
        token=True,
    ),
    "throttled": Case(
        Refuses(503, "SlowDown", "Please reduce your request rate."), 5, ("fewer requests", "try again later")
    ),
}


@pytest.fixture(params=CASES)
def case(request, environment) -> Iterator[Case]:
    """Each case, with its server as the endpoint."""
    found = CASES[request.param]
    if found.token:
        environment.setenv("AWS_SESSION_TOKEN", TOKEN)
    with ScriptedServer([Repeat([found.step])]) as server:
        environment.setenv("AWS_ENDPOINT_URL", server.url)
        yield found


@covers(147, 148)
def test_what_the_service_refuses_is_told_by_a_process(case):
    result = process("ls", "s3://media")
    assert result.code == case.code
    assert result.out == ""
    is_clear(result.err, case.words)
    assert result.seconds < STARTING


def test_and_by_check(case, mgs):
    is_found(mgs("check", "s3://media"), case.words)


@pytest.mark.parametrize(
    "arguments",
    [
        ["stat", "s3://media/k"],
        ["cat", "s3://media/k"],
        ["get", "s3://media/k", "file"],
        ["put", "-", "s3://media/k"],
        ["rm", "-r", "s3://media/folder"],
        ["cp", "s3://media/k", "file"],
        ["uploads", "ls", "s3://media"],
        ["versions", "ls", "s3://media?versions=true"],
        ["mb", "s3://media"],
    ],
    ids=" ".join,
)
def test_whatever_the_command_is(case, mgs, work, arguments):
    """Also where the first request is a HEAD, which is answered without a word."""
    result = mgs(*arguments, stdin=b"x")
    assert result.code == case.code
    is_clear(result.err, case.words[-1:])
    assert list(work.iterdir()) == []


def test_a_program_can_tell_them_apart(case, mgs):
    (error,) = mgs("ls", "s3://media", "--json").errors
    assert error["code"] == case.code
    assert error["retryable"] is (case.code == 5)
    assert all(word in error["message"] for word in case.words)


class Taken:
    """Refuses to make the bucket, which is somebody else's, and to show it."""

    def play(self, conversation: Conversation) -> None:
        head = conversation.take_until(b"\r\n\r\n")
        conversation.put_back(head)
        if head.startswith(b"PUT "):
            Refuses(409, "BucketAlreadyExists", "The requested bucket name is not available.").play(conversation)
        else:
            Refuses(403, "AccessDenied", "Access Denied").play(conversation)


def test_a_name_that_somebody_else_has_taken(environment, mgs):
    """Nothing is made, and the answer says so."""
    with ScriptedServer([Repeat([Taken()])]) as server:
        environment.setenv("AWS_ENDPOINT_URL", server.url)
        result = mgs("mb", "s3://media")
    assert result.code in {11, 13}
    is_clear(result.err, ("create: ",))


# ---- no way to it


class Way(NamedTuple):
    """A way to a storage that does not lead there: the endpoint, options that shorten the waiting, and what is told."""

    url: str
    options: str
    code: int
    words: tuple[str, ...]
    seconds: float


@contextmanager
def nobody_listens(_: Authority) -> Iterator[Way]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ("connection refused", "check address and port, and that the server runs")
    yield Way(f"http://127.0.0.1:{port}", "", 5, words, 3.0)


@contextmanager
def unknown_name(_: Authority) -> Iterator[Way]:
    # No resolver asks the network for a label of more than 63 letters.
    words = ("cannot be resolved", "check its spelling, the network and DNS")
    yield Way(f"https://{'x' * 64}.example", "", 5, words, 3.0)


@contextmanager
def nobody_answers(_: Authority) -> Iterator[Way]:
    with ScriptedServer([Receive(), Hang()]) as server:
        words = ("did nothing for 0.5 s",)
        yield Way(server.url, "?idle_timeout=0.5&attempts=2", 5, words, 2.0)


@contextmanager
def nobody_accepts(_: Authority) -> Iterator[Way]:
    """Connections pile up in a queue that is full, as behind a firewall that drops what it does not like."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _each in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        port = listening.getsockname()[1]
        words = ("no connection within 0.5 s", "check the network, a firewall or proxy may be in the way")
        yield Way(f"http://127.0.0.1:{port}", "?connect_timeout=0.5&attempts=2", 5, words, 2.0)


@contextmanager
def unknown_authority(authority: Authority) -> Iterator[Way]:
    with ScriptedServer([Hang()], tls=authority.server()) as server:
        words = ("not signed by a CA known here", "give the CA's certificate as ca_file")
        yield Way(server.url, "", 2, words, 1.0)


@contextmanager
def expired_certificate(authority: Authority) -> Iterator[Way]:
    with ScriptedServer([Hang()], tls=authority.server(days=(-5, -1))) as server:
        words = ("it has expired", "the server needs a new one")
        yield Way(server.url, f"?ca_file={authority.ca_file}", 2, words, 1.0)


@contextmanager
def another_hosts_certificate(authority: Authority) -> Iterator[Way]:
    with ScriptedServer([Hang()], tls=authority.server(names=("elsewhere.example",))) as server:
        words = ("made for another host name", "check the endpoint's name")
        yield Way(server.url, f"?ca_file={authority.ca_file}", 2, words, 1.0)


@contextmanager
def no_tls_there(_: Authority) -> Iterator[Way]:
    with ScriptedServer([Send(b"HTTP/1.1 400 Bad Request\r\n\r\n")]) as server:
        words = ("no TLS connection", "check that this port speaks https")
        yield Way(server.url.replace("http:", "https:"), "", 5, words, 3.0)


@contextmanager
def no_http_there(_: Authority) -> Iterator[Way]:
    with ScriptedServer([Receive(), Send(b"220 mail.example ESMTP\r\n")]) as server:
        yield Way(server.url, "?retry_base=0.01", 5, ("not valid HTTP", "check that this is the right port"), 3.0)


WAYS = [
    nobody_listens,
    unknown_name,
    nobody_answers,
    nobody_accepts,
    unknown_authority,
    expired_certificate,
    another_hosts_certificate,
    no_tls_there,
    no_http_there,
]


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(params=WAYS, ids=lambda each: each.__name__)
def way(request, environment, authority) -> Iterator[Way]:
    with request.param(authority) as found:
        environment.setenv("AWS_ENDPOINT_URL", found.url)
        yield found


@covers(146)
def test_a_storage_that_cannot_be_reached_is_told_by_a_process_in_time(way):
    result = process("ls", f"s3://media{way.options}")
    assert result.code == way.code
    assert result.out == ""
    is_clear(result.err, (*way.words, way.url))
    assert result.seconds < way.seconds + STARTING


def test_the_time_limits_are_kept_and_check_tells_it_too(way, mgs):
    """Without the start of an interpreter: what was allowed, for each attempt, and little more."""
    began = time.monotonic()
    result = mgs("cat", f"s3://media/k{way.options}")
    assert time.monotonic() - began < way.seconds + STARTING
    assert result.code == way.code
    is_clear(result.err, way.words)
    is_found(mgs("check", f"s3://media{way.options}"), way.words)


# ---- nobody to be


def test_without_credentials(environment, mgs):
    """Where to put them is said, and no server is asked."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        environment.delenv(name)
    # Where the chain of the vendor is installed it would ask the network of a cloud.
    environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with ScriptedServer() as server:
        environment.setenv("AWS_ENDPOINT_URL", server.url)
        result = mgs("ls", "s3://media")
        assert result.code in {2, 11}  # whether that chain is missing, or finds nothing
        assert "AWS_ACCESS_KEY_ID" in result.err
        other = mgs("ls", f"minio://{server.url.removeprefix('http://')}/media")
        assert other.code == 2
        assert "MINIO_ACCESS_KEY" in other.err
        assert server.connections == 0


def test_credentials_that_are_kept_from_a_server_are_not_asked_for(environment, mgs):
    """They are set: to say "set them" would lead nowhere."""
    for url in ("s3://media?service=seaweedfs&endpoint=https://elsewhere.example", "s3://media?service=r2&account=a"):
        result = mgs("ls", url)
        assert result.code == 2
        is_clear(result.err, ("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set", "use a profile"))


def test_a_program_gets_the_same_in_fields(environment, mgs):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    result = mgs("ls", "s3://media", "--json")
    (error,) = [json.loads(line) for line in result.err.splitlines()]
    assert (error["error"], error["code"], error["retryable"]) == ("ConnectionLostError", 5, True)
