"""What servers of Google Cloud Storage's API are known to do wrong, each with the requests that show it."""

from __future__ import annotations

import base64
import json
from typing import Final

from mediagit_storage.testing.emulators.kinds import Running
from mediagit_storage.testing.emulators.known_faults.fault import fault
from mediagit_storage.testing.emulators.raw import Answer
from mediagit_storage.testing.emulators.raw_gcs import call, make_bucket, object_path, upload
from mediagit_storage.types import JSON

__all__ = ["GCS_FAULTS"]

_JSON: Final = ("content-type", "application/json")
_NOBODYS: Final = ("ifGenerationMatch", "1")
_KIB: Final = 1024


def _listed(server: Running, bucket: str, *query: tuple[str, str]) -> list[dict[str, JSON]]:
    items = call(server, "GET", f"/storage/v1/b/{bucket}/o", query).json.get("items")
    return [each for each in items if isinstance(each, dict)] if isinstance(items, list) else []


def _multipart(server: Running, bucket: str, key: str, **more: object) -> Answer:
    document = json.dumps({"name": key, **more}).encode()
    body = (
        b"--b\r\ncontent-type: application/json\r\n\r\n" + document + b"\r\n--b\r\ncontent-type: a/b\r\n\r\n1\r\n--b--"
    )
    kind = ("content-type", "multipart/related; boundary=b")
    return call(server, "POST", f"/upload/storage/v1/b/{bucket}/o", [("uploadType", "multipart")], [kind], body)


def _begun(server: Running, bucket: str, key: str, *query: tuple[str, str], **more: object) -> str:
    asked = [("uploadType", "resumable"), ("name", key), *query]
    document = json.dumps({"name": key, **more}).encode()
    answer = call(server, "POST", f"/upload/storage/v1/b/{bucket}/o", asked, [_JSON], document)
    return answer.headers.get("location", "").removeprefix(server.url)


def _sent(server: Running, place: str, body: bytes, content_range: str) -> Answer:
    return call(server, "PUT", place, headers=[("content-range", content_range)], body=body)


def _ignores_checksums(server: Running, bucket: str) -> bool:
    wrong = base64.b64encode(bytes(4)).decode()
    return _multipart(server, bucket, "k", crc32c=wrong).status == 200


def _ignores_read_conditions(server: Running, bucket: str) -> bool:
    upload(server, bucket, "k")
    return call(server, "GET", object_path(bucket, "k"), [("alt", "media"), _NOBODYS]).status == 200


def _ignores_delete_conditions(server: Running, bucket: str) -> bool:
    upload(server, bucket, "k")
    return call(server, "DELETE", object_path(bucket, "k"), [_NOBODYS]).status == 200


def _ignores_copy_conditions(server: Running, bucket: str) -> bool:
    for key in ("a", "b"):
        upload(server, bucket, key)
    path = f"{object_path(bucket, 'a')}/rewriteTo/b/{bucket}/o/b"
    return call(server, "POST", path, [("ifGenerationMatch", "0")]).status == 200


def _ignores_session_conditions(server: Running, bucket: str) -> bool:
    upload(server, bucket, "k")
    place = _begun(server, bucket, "k", ("ifGenerationMatch", "0"))
    return bool(place) and _sent(server, place, b"other", "bytes 0-4/5").status == 200


def _question_ends_the_upload(server: Running, bucket: str) -> bool:
    place = _begun(server, bucket, "k")
    _sent(server, place, bytes(256 * _KIB), f"bytes 0-{256 * _KIB - 1}/*")
    return _sent(server, place, b"", "bytes */*").status == 200 and len(_listed(server, bucket)) == 1


def _doubles_what_is_repeated(server: Running, bucket: str) -> bool:
    place, part = _begun(server, bucket, "k"), bytes(256 * _KIB)
    for _ in range(2):
        _sent(server, place, part, f"bytes 0-{len(part) - 1}/{len(part) + 1}")
    _sent(server, place, b"x", f"bytes {len(part)}-{len(part)}/{len(part) + 1}")
    return [each["size"] for each in _listed(server, bucket)] == [str(2 * len(part) + 1)]


def _cancels_nothing(server: Running, bucket: str) -> bool:
    place = _begun(server, bucket, "k")
    cancelled = call(server, "DELETE", place).status == 499
    return cancelled and _sent(server, place, b"x", "bytes 0-0/1").status == 200


def _sessions_drop_storage_class(server: Running, bucket: str) -> bool:
    place = _begun(server, bucket, "k", storageClass="NEARLINE")
    return _sent(server, place, b"x", "bytes 0-0/1").json.get("storageClass") == "STANDARD"


def _versioned(server: Running, bucket: str) -> str:
    name = f"{bucket}-v"
    make_bucket(server, name, {"versioning": {"enabled": True}})
    return name


def _deletes_the_live_generation(server: Running, bucket: str) -> bool:
    name = _versioned(server, bucket)
    first = str(upload(server, name, "k").json["generation"])
    upload(server, name, "k")
    call(server, "DELETE", object_path(name, "k"), [("generation", first)])
    return call(server, "GET", object_path(name, "k")).status == 404


def _suspending_loses_the_live_version(server: Running, bucket: str) -> bool:
    name = _versioned(server, bucket)
    live = str(upload(server, name, "k").json["generation"])
    off = json.dumps({"versioning": {"enabled": False}}).encode()
    call(server, "PATCH", f"/storage/v1/b/{name}", headers=[_JSON], body=off)
    upload(server, name, "k")
    return call(server, "GET", object_path(name, "k"), [("generation", live)]).status == 404


def _forgets_deletions(server: Running, bucket: str) -> bool:
    name = _versioned(server, bucket)
    upload(server, name, "k")
    call(server, "DELETE", object_path(name, "k"))
    upload(server, name, "k")
    return len(_listed(server, name, ("versions", "true"))) == 2


def _ranges_of_nothing(server: Running, bucket: str) -> bool:
    upload(server, bucket, "k", b"")
    answer = call(server, "GET", object_path(bucket, "k"), [("alt", "media")], [("range", "bytes=-9")])
    return (answer.status, answer.headers.get("content-range")) == (206, "bytes 0--1/0")


def _ignores_holds(server: Running, bucket: str) -> bool:
    _multipart(server, bucket, "k", temporaryHold=True)
    return call(server, "DELETE", object_path(bucket, "k")).status == 200


def _takes_credentials_for_granted(server: Running, bucket: str) -> bool:
    return call(server, "GET", f"/storage/v1/b/{bucket}/o", headers=[("authorization", "Bearer wrong")]).status == 200


_FAKE: Final = "fake-gcs-server"

GCS_FAULTS: Final = (
    fault("gcs-ignores-checksums", _FAKE, "a wrong digest of what is uploaded is not refused", _ignores_checksums),
    fault("gcs-ignores-read-conditions", _FAKE, "reads ignore ifGenerationMatch", _ignores_read_conditions),
    fault("gcs-ignores-delete-conditions", _FAKE, "deletes ignore ifGenerationMatch", _ignores_delete_conditions),
    fault("gcs-ignores-copy-conditions", _FAKE, "copies ignore ifGenerationMatch", _ignores_copy_conditions),
    fault(
        "gcs-ignores-session-conditions", _FAKE, "resumable uploads ignore ifGenerationMatch",
        _ignores_session_conditions,
    ),
    fault(
        "gcs-question-ends-the-upload", _FAKE, "asking how much of an upload is there ends it, however little is",
        _question_ends_the_upload,
    ),
    fault(
        "gcs-doubles-what-is-repeated", _FAKE, "bytes of a chunk that is sent again are stored twice",
        _doubles_what_is_repeated,
    ),
    fault("gcs-cancels-nothing", _FAKE, "a cancelled session goes on", _cancels_nothing),
    fault("gcs-sessions-drop-storage-class", _FAKE, "resumable uploads drop the storage class", _sessions_drop_storage_class),
    fault("gcs-deletes-the-live-generation", _FAKE, "who deletes an old generation loses the live one", _deletes_the_live_generation),
    fault(
        "gcs-suspending-loses-the-live-version", _FAKE,
        "what is live when versions are switched off goes with its overwrite, as the service documents it",
        _suspending_loses_the_live_version,
    ),
    fault(
        "gcs-forgets-deletions", _FAKE, "that an object was deleted once cannot be seen when it is there again, as in the service",
        _forgets_deletions,
    ),
    fault("gcs-ranges-of-nothing", _FAKE, "the last bytes of an empty object are answered by an impossible one", _ranges_of_nothing),
    fault("gcs-ignores-holds", _FAKE, "objects under a hold can be deleted", _ignores_holds),
    fault("gcs-checks-no-credentials", _FAKE, "any token is taken", _takes_credentials_for_granted),
)  # fmt: skip
