"""What servers of Azure's API are known to do wrong, each with the requests that show it."""

from __future__ import annotations

import base64
import re
from html import unescape
from typing import Final

from mediagit_storage.testing.emulators.kinds import Running
from mediagit_storage.testing.emulators.known_faults.fault import fault
from mediagit_storage.testing.emulators.raw import Answer
from mediagit_storage.testing.emulators.raw_azure import call

__all__ = ["AZURE_FAULTS"]

_BLOCK: Final = base64.b64encode(b"block-1").decode()


def _put(server: Running, container: str, key: str, *headers: tuple[str, str], body: bytes = b"1") -> Answer:
    kind = ("x-ms-blob-type", "BlockBlob")
    return call(server, "PUT", f"{container}/{key}", headers=[kind, *headers], body=body)


def _list(server: Running, container: str, prefix: str = "") -> Answer:
    query = [("restype", "container"), ("comp", "list"), *([("prefix", prefix)] if prefix else [])]
    return call(server, "GET", container, query)


def _listed(server: Running, container: str) -> list[str]:
    body = _list(server, container).body
    return [unescape(name.decode()) for name in re.findall(rb"<Name>(.*?)</Name>", body, re.DOTALL)]


def _stage(server: Running, container: str, key: str) -> Answer:
    return call(server, "PUT", f"{container}/{key}", [("comp", "block"), ("blockid", _BLOCK)], body=b"1")


def _commit(server: Running, container: str, key: str) -> Answer:
    body = f"<BlockList><Latest>{_BLOCK}</Latest></BlockList>".encode()
    return call(server, "PUT", f"{container}/{key}", [("comp", "blocklist")], body=body)


def _backslash_is_a_slash(server: Running, container: str) -> bool:
    return _put(server, container, "a\\b").status == 201 and _listed(server, container) == ["a/b"]


def _control_characters_fail(server: Running, container: str) -> bool:
    return _list(server, container, "bell\a").status == 500


def _range_at_the_end(server: Running, container: str) -> bool:
    _put(server, container, "k", body=b"12345")
    answer = call(server, "GET", f"{container}/k", headers=[("x-ms-range", "bytes=5-9")])
    return (answer.status, answer.headers.get("content-range")) == (206, "bytes 5-4/5")


def _conditions_before_absence(server: Running, container: str) -> bool:
    return call(server, "GET", f"{container}/gone", headers=[("if-match", '"0x1"')]).status == 412


def _lists_in_utf16(server: Running, container: str) -> bool:
    for key in ("\uff61", "\U0001f600"):
        _put(server, container, key)
    return _listed(server, container) == ["\U0001f600", "\uff61"]


def _blocks_are_an_object(server: Running, container: str) -> bool:
    _stage(server, container, "k")
    return _put(server, container, "k", ("if-none-match", "*")).code == "BlobAlreadyExists"


def _blocks_survive_a_put(server: Running, container: str) -> bool:
    _stage(server, container, "k")
    _put(server, container, "k")
    return _commit(server, container, "k").status == 201


def _wrong_md5_is_an_operation(server: Running, container: str) -> bool:
    wrong = base64.b64encode(bytes(16)).decode()
    return _put(server, container, "k", ("content-md5", wrong)).code == "InvalidOperation"


AZURE_FAULTS: Final = (
    fault("azure-backslash-is-a-slash", "azurite", "`a\\b` is stored as `a/b`, as Azure does", _backslash_is_a_slash),
    fault("control-characters-in-a-prefix-fail", "azurite", "a prefix with one is answered with 500", _control_characters_fail),
    fault("range-at-the-end-succeeds", "azurite", "a range that begins at the end is answered with no bytes", _range_at_the_end),
    fault("conditions-before-absence", "azurite", "an absent object under a condition is 412, not 404", _conditions_before_absence),
    fault("lists-in-utf16-order", "azurite", "characters beyond U+FFFF come before those of U+E000 and up", _lists_in_utf16),
    fault("blocks-are-an-object", "azurite", "a create-only put beside waiting blocks is refused", _blocks_are_an_object),
    fault("blocks-survive-a-put", "azurite", "blocks can still be committed after the key was written", _blocks_survive_a_put),
    fault("wrong-md5-is-an-operation", "azurite", "a wrong Content-MD5 is InvalidOperation, not Md5Mismatch", _wrong_md5_is_an_operation),
)  # fmt: skip
