"""Secrets show themselves nowhere, and references lead to where they are kept."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import pickle
import pprint
import traceback

import pytest

from mediagit_storage.errors import ConfigError
from mediagit_storage.secrets import REDACTED, Secret, SecretRef, resolve_secret

CANARY = "canary-5Zq81"


@pytest.mark.parametrize(
    "show",
    [
        repr, str, ascii, "{}".format, "{!r}".format, "{:>30}".format, "%s".__mod__, "%r".__mod__, pprint.pformat,
        lambda secret: f"{secret}{secret!r}{secret!s:>40}", lambda secret: repr([secret, {"a": secret}]),
        lambda secret: json.dumps({"a": secret}, default=str),
    ],
)  # fmt: skip
def test_it_does_not_show(show):
    text = show(Secret(CANARY))
    assert CANARY not in text
    assert REDACTED in text


def test_it_is_not_logged(caplog):
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("x").debug("with %s and %r", Secret(CANARY), {"k": Secret(CANARY)})
    assert CANARY not in caplog.text


def test_it_is_not_in_a_traceback_with_values():
    def fail(secret):
        raise ValueError(f"could not use {secret}")

    try:
        fail(Secret(CANARY))
    except ValueError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "could not use ***" in shown
    assert CANARY not in shown


def test_json_refuses_it():
    with pytest.raises(TypeError):
        json.dumps(Secret(CANARY))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_refuses_it_and_says_what_to_do(protocol):
    with pytest.raises(TypeError, match=r"refuses to be pickled.*pickle_secrets=True"):
        pickle.dumps({"a": Secret(CANARY)}, protocol)


def test_a_pickle_takes_it_when_that_was_asked_for_and_again():
    once = pickle.loads(pickle.dumps(Secret(CANARY, picklable=True)))
    twice = pickle.loads(pickle.dumps(once))
    assert twice.reveal() == CANARY


def test_copies_are_no_pickles():
    secret = Secret(CANARY)
    assert copy.copy(secret) is secret
    assert copy.deepcopy({"a": secret})["a"] is secret

    @dataclasses.dataclass(frozen=True)
    class Config:
        secret: Secret

    assert dataclasses.asdict(Config(secret))["secret"] == secret
    assert CANARY not in repr(Config(secret))


def test_equality_and_truth():
    assert Secret("a") == Secret("a") == Secret("a", picklable=True)
    assert hash(Secret("a")) == hash(Secret("a"))
    assert Secret("a") != Secret("b")
    assert Secret("\u00e9\ud800") == Secret("\u00e9\ud800")
    assert Secret("a") != "a"
    assert not Secret("")
    assert Secret("x").reveal() == "x"


@pytest.mark.parametrize("text", [b"x", None, 1])
def test_a_secret_is_text(text):
    with pytest.raises(TypeError, match="a secret is a str"):
        Secret(text)


@pytest.mark.parametrize("places", [{}, {"env": "A", "file": "b"}])
def test_a_reference_names_one_place(places):
    with pytest.raises(ConfigError, match="names either"):
        SecretRef(**places)


def test_a_reference_is_plain_data():
    assert SecretRef(env="A").as_config() == {"env": "A"}
    assert SecretRef(file="~/f").as_config() == {"file": "~/f"}
    assert pickle.loads(pickle.dumps(SecretRef(env="A"))) == SecretRef(env="A")


def test_a_literal_resolves_to_itself():
    secret = Secret(CANARY)
    assert resolve_secret(secret) is secret


def test_a_variable_is_read_when_it_is_needed(monkeypatch):
    reference = SecretRef(env="MY_SECRET")
    with pytest.raises(ConfigError, match="MY_SECRET is not set"):
        resolve_secret(reference)
    monkeypatch.setenv("MY_SECRET", CANARY)
    assert resolve_secret(reference).reveal() == CANARY
    assert resolve_secret(reference, {"MY_SECRET": "other"}).reveal() == "other"
    with pytest.raises(ConfigError, match="not set or empty"):
        resolve_secret(reference, {"MY_SECRET": ""})


@pytest.mark.parametrize(
    ("written", "read"), [("s", "s"), ("s\n", "s"), ("s\r\n", "s"), ("s\n\n", "s\n"), (" s ", " s ")]
)
def test_a_file_is_read_without_its_last_newline(tmp_path, written, read):
    (tmp_path / "f").write_bytes(written.encode())
    assert resolve_secret(SecretRef(file=str(tmp_path / "f"))).reveal() == read


def test_a_file_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "f").write_text(CANARY)
    assert resolve_secret(SecretRef(file="~/f")).reveal() == CANARY


def test_a_file_that_does_not_do_is_named_and_not_shown(tmp_path):
    with pytest.raises(ConfigError, match=r"missing cannot be read: No such file"):
        resolve_secret(SecretRef(file=str(tmp_path / "missing")))
    with pytest.raises(ConfigError, match="cannot be read"):
        resolve_secret(SecretRef(file=str(tmp_path)))
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        resolve_secret(SecretRef(file="~no-such-user/x"))
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        resolve_secret(SecretRef(file=str(tmp_path / "empty")))
    (tmp_path / "binary").write_bytes(CANARY.encode() + b"\xff")
    with pytest.raises(ConfigError, match="not text") as caught:
        resolve_secret(SecretRef(file=str(tmp_path / "binary")))
    assert CANARY not in "".join(traceback.format_exception(caught.value))
