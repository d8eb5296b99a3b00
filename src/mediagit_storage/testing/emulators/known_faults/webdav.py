"""What WebDAV servers are known to do wrong, each with the requests that show it."""

from __future__ import annotations

import base64
import http.client
import socket
from typing import Final
from urllib.parse import urlsplit

from mediagit_storage.testing.emulators.kinds import Running
from mediagit_storage.testing.emulators.known_faults.fault import fault
from mediagit_storage.testing.emulators.raw_webdav import call, url_of

__all__ = ["WEBDAV_FAULTS"]

_DEPTH_1: Final = [("Depth", "1")]


def _put(server: Running, folder: str, name: str, body: bytes = b"1") -> int:
    return call(server, "PUT", f"{folder}/{name}", body=body).status


def _move(server: Running, folder: str, source: str, target: str, overwrite: str = "F") -> int:
    headers = [("Destination", url_of(server, f"{folder}/{target}")), ("Overwrite", overwrite)]
    return call(server, "MOVE", f"{folder}/{source}", headers).status


def _there(server: Running, folder: str, name: str) -> bool:
    return call(server, "GET", f"{folder}/{name}").status == 200


def _etags_of_whole_seconds(server: Running, folder: str) -> bool:
    seen = set()
    for number in range(20):
        _put(server, folder, "k", bytes([number]))
        seen.add(call(server, "HEAD", f"{folder}/k").headers["etag"].removeprefix("W/"))
    return len(seen) < 20


def _hides_dot_names(server: Running, folder: str) -> bool:
    _put(server, folder, ".x")
    return _there(server, folder, ".x") and b"/.x" not in call(server, "PROPFIND", f"{folder}/", _DEPTH_1).body


def _misreads_destinations(server: Running, folder: str) -> bool:
    _put(server, folder, "k")
    _move(server, folder, "k", "a?b")
    return _there(server, folder, "a")


def _breaks_on_foreign_names(server: Running, folder: str) -> bool:
    try:
        return call(server, "GET", f"{folder}/\udcff").status not in {400, 403, 404}
    except (OSError, http.client.HTTPException):
        return True


def _normalises_file_names(server: Running, folder: str) -> bool:
    _put(server, folder, "\u00e9")
    return call(server, "GET", f"{folder}/e\u0301").status == 200


def _wrong_range_of_nothing(server: Running, folder: str) -> bool:
    _put(server, folder, "k", b"")
    answer = call(server, "GET", f"{folder}/k", [("Range", "bytes=-5")])
    return answer.headers.get("content-range") == "bytes 0--1/0"


def _listings_wait_for_writers(server: Running, folder: str) -> bool:
    pair = base64.b64encode(f"{server.access_key}:{server.secret_key}".encode()).decode()
    path = urlsplit(url_of(server, f"{folder}/k")).path
    head = (
        f"PUT {path} HTTP/1.1\r\nHost: {server.host}\r\nAuthorization: Basic {pair}\r\n"
        "Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
    )
    host, _, port = server.host.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as writer:
        writer.sendall(head.encode())
        # A server that asks for the body is about to write it: the listing below cannot come before.
        writer.recv(1000)
        writer.sendall(bytes(500_000))
        try:
            call(server, "PROPFIND", f"{folder}/", _DEPTH_1, timeout=3)
        except TimeoutError:
            return True
    return False


def _move_of_nothing_deletes(server: Running, folder: str) -> bool:
    _put(server, folder, "k")
    _move(server, folder, "gone", "k", "T")
    return not _there(server, folder, "k")


def _ignores_put_conditions(server: Running, folder: str) -> bool:
    _put(server, folder, "k")
    return call(server, "PUT", f"{folder}/k", [("If-None-Match", "*")], b"2").status in {200, 201, 204}


def _files_answer_as_folders(server: Running, folder: str) -> bool:
    _put(server, folder, "k")
    return _there(server, folder, "k/")


WEBDAV_FAULTS: Final = (
    fault("etags-of-whole-seconds", "wsgidav nginx", "two contents of one second and size have one ETag", _etags_of_whole_seconds),
    fault("hides-dot-names", "nginx", "names that begin with a dot are not listed", _hides_dot_names),
    fault("misreads-destinations", "wsgidav", "a file that is moved to `a?b` becomes `a`", _misreads_destinations),
    fault("breaks-on-foreign-names", "wsgidav", "a name that is not UTF-8 gets no answer", _breaks_on_foreign_names),
    fault("normalises-file-names", "rclone-webdav", "a composed and a decomposed name are one file", _normalises_file_names),
    fault("wrong-range-of-nothing", "rclone-webdav", "a part of an empty file comes as `bytes 0--1/0`", _wrong_range_of_nothing),
    fault("listings-wait-for-writers", "rclone-webdav", "a folder is listed when nobody writes in it any more", _listings_wait_for_writers),
    fault("move-of-nothing-deletes", "rclone-webdav", "a move of what is not there deletes its target", _move_of_nothing_deletes),
    fault("ignores-put-conditions", "rclone-webdav nginx", "PUT overwrites in spite of If-None-Match", _ignores_put_conditions),
    fault("files-answer-as-folders", "wsgidav", "`k/` gets the file `k`", _files_answer_as_folders),
)  # fmt: skip
