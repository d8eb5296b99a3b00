"""A secret that was given to a storage is nowhere to be seen, however things go wrong and however much is logged."""

from __future__ import annotations

import io
import logging
import pickle
import traceback
from types import SimpleNamespace

import pytest

from mediagit_storage.errors import StorageError
from mediagit_storage.secrets import Secret
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.scripted_server import Receive, Reset, answer

from .answers import DATE, refused

KEY = "Y2FuYXJ5LWFjY291bnQta2V5LTAwMDE="
SIGNATURE = "canary-signature%2F0002"
TOKEN = "canary-token-0003"
CANARIES = {"key": (KEY,), "sas": (SIGNATURE, "canary-signature/0002"), "token": (TOKEN,)}


class Credential:
    def get_token(self, *scopes):
        return SimpleNamespace(token=TOKEN, expires_on=4102444800)


WAYS = {
    "key": {"account_key": Secret(KEY)},
    "sas": {"sas_token": Secret(f"sv=2024-08-04&sp=rwdl&sig={SIGNATURE}")},
    "token": {"identity": "given", "made": {"credential": Credential()}},
}


class Echo:
    """Refuses a request and shows it."""

    def play(self, conversation):
        text = conversation.server.received[-1].replace(b"<", b"&lt;").replace(b"&", b"&amp;").replace(b"\r\n", b" ")
        body = b"<Error><Code>AuthenticationFailed</Code><Message>you sent " + text + b"</Message></Error>"
        answer(403, body, [DATE]).play(conversation)


FAILURES = {
    "refused": refused(403, "AuthorizationFailure", f"{KEY} and {TOKEN} and canary-signature/0002 are no good"),
    "failing": refused(500, "InternalError"),
    "unknown": refused(418, "Teapot"),
    "torn": (Receive(), Reset()),
    "echo": (Receive(), Echo()),
}


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


@covers(208)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("call", ["get", "put", "blocks", "list", "delete", "many", "copy", "check", "create"])
def test_a_canary_is_seen_nowhere(play, log, failure, call, way):
    options = dict(WAYS[way])
    if way == "key":
        # The fixture's own key is another one.
        options = {"connection_string": Secret(f"AccountName=media;AccountKey={KEY}")}
    # The server, which may show what it got, is not kept here: this frame is looked at, too.
    store = play(FAILURES[failure], **options, attempts=2, part_size=1000, multipart_threshold=1000)[0]
    calls = {
        "get": lambda: store.get("k"),
        "put": lambda: store.put("k", b"x", if_absent=True),
        "blocks": lambda: store.put("k", bytes(3000)),
        "list": lambda: list(store.list("")),
        "delete": lambda: store.delete("k"),
        "many": lambda: [str(each.error) for each in store.delete_many(["a", "b"])],
        "copy": lambda: store.copy("k", "l"),
        "check": lambda: str([*store.check(), *store.backend.check()]),
        "create": store.backend.create,
    }
    try:
        text = str(calls[call]())
    except StorageError as error:
        text = "".join([str(error), repr(error), *traceback.format_exception(error)])
        text += "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    text += log.getvalue() + repr(store) + repr(store.backend) + str(store.backend.config)
    text += str(store.connection_info().to_json())
    assert [line.strip()[:200] for line in text.splitlines() if any(each in line for each in CANARIES[way])] == []


@covers(208)
@pytest.mark.parametrize("way", ["sas", "token"])
def test_a_storage_with_a_literal_secret_is_not_pickled(play, way):
    store, _ = play(FAILURES["refused"], **WAYS[way])
    with pytest.raises((TypeError, ValueError)):
        pickle.dumps(store.backend)
