"""A secret that was given to a storage is nowhere to be seen, however things go wrong and however much is logged."""

from __future__ import annotations

import io
import json
import logging
import pickle
import re
import traceback

import pytest

import mediagit_storage as mgs
from mediagit_storage.backends.s3 import S3Backend, S3Config
from mediagit_storage.errors import StorageError
from mediagit_storage.secrets import Secret
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.s3_answers import DATE, ok, refused
from mediagit_storage.testing.scripted_server import Receive, Reset, answer

ACCESS, SECRET, TOKEN = "AKCANARY0001", "canary-secret-0002", "canary-token-0003"
CUSTOMER = "Y2FuYXJ5LWN1c3RvbWVyLWtleS0wMDA0LTAwMDAwMDA="
CANARIES = (SECRET, TOKEN, CUSTOMER)
SECRETS = {"access_key_id": Secret(ACCESS), "secret_access_key": Secret(SECRET), "session_token": Secret(TOKEN)}


def shown(error: BaseException) -> str:
    """All that a caught error shows: its words, its representation, its trace with the values of its frames."""
    trace = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join([str(error), repr(error), *trace.format()])


@pytest.fixture
def log():
    """Everything that any library logs meanwhile."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def echoed(request: bytes) -> bytes:
    """What a talkative server sends back of a request."""
    return b"<Error><Code>SignatureDoesNotMatch</Code><Message>you sent " + request + b"</Message></Error>"


class Echo:
    """Refuses a request and shows it."""

    def play(self, conversation):
        text = conversation.server.received[-1].replace(b"<", b"&lt;").replace(b"\r\n", b" ")
        answer(403, echoed(text), [DATE]).play(conversation)


FAILURES = {
    "refused": refused(403, "AccessDenied", f"the token {TOKEN} of {ACCESS} is no good"),
    "failing": refused(500, "InternalError"),
    "unknown": refused(418, "Teapot"),
    "torn": (Receive(), Reset()),
    "echo": (Receive(), Echo()),
}


@covers(208)
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("call", ["get", "put", "list", "delete", "presign", "check", "create"])
def test_a_canary_is_seen_nowhere(play, log, failure, call):
    store, _ = play(FAILURES[failure], **SECRETS, attempts=2)
    calls = {
        "get": lambda: store.get("k"),
        "put": lambda: store.put("k", b"x"),
        "list": lambda: list(store.list("")),
        "delete": lambda: store.delete("k"),
        "presign": lambda: store.presign("k") and "",
        "check": lambda: str(list(store.check())),
        "create": store.backend.create,
    }
    try:
        text = str(calls[call]())
    except StorageError as error:
        text = "".join([str(error), repr(error), *traceback.format_exception(error)])
    text += log.getvalue() + repr(store) + repr(store.backend) + str(store.backend.config)
    assert not [each for each in CANARIES if each in text]


@covers(208)
def test_nor_in_what_is_kept_of_a_storage():
    config = S3Config(bucket="bucket", encryption="sse-c", customer_key=Secret(CUSTOMER), **SECRETS)
    with mgs.Storage(S3Backend.from_config(config)) as store:
        text = repr(config) + repr(store) + repr(store.backend)
        info = store.connection_info()
        text += repr(info) + json.dumps(info.config)
        with pytest.raises(Exception, match="secret") as caught:
            pickle.dumps(store)
        text += str(caught.value)
    assert not [each for each in (*CANARIES, ACCESS) if each in text]


@covers(208)
def test_a_link_is_a_secret_that_errors_do_not_show(play):
    store, _ = play(ok())
    link = store.presign("k")
    signature = re.search(r"X-Amz-Signature=([0-9a-f]+)", link)
    assert signature is not None
    with pytest.raises(mgs.ConfigError) as caught:
        mgs.open_storage(f"s3://bucket/k?{link.partition('?')[2]}")
    assert signature[1] not in shown(caught.value).partition("Traceback")[0]


@covers(213)
@pytest.mark.parametrize("place", ["http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/latest/"])
def test_a_redirect_never_leads_to_the_metadata_of_a_machine(play, place):
    moved = answer(307, b"", [DATE, ("Location", place)])
    store, server = play(moved, attempts=1)
    with pytest.raises(StorageError):
        store.get("k")
    assert len(server.received) == 1
