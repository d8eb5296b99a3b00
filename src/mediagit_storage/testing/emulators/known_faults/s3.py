"""What servers of S3 are known to do wrong, each with the requests that show it."""

from __future__ import annotations

import base64
import hashlib
import http.client
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from typing import Final

from mediagit_storage.testing.emulators.kinds import Running
from mediagit_storage.testing.emulators.known_faults.fault import fault
from mediagit_storage.testing.emulators.raw import Answer
from mediagit_storage.testing.emulators.raw_s3 import call

__all__ = ["S3_FAULTS"]


_OTHER_ETAG: Final = f'"{"0" * 32}"'


def _put(server: Running, bucket: str, key: str, *headers: tuple[str, str], body: bytes = b"1") -> Answer:
    return call(server, "PUT", f"{bucket}/{key}", headers=headers, body=body)


def _get(server: Running, bucket: str, key: str, *headers: tuple[str, str]) -> Answer:
    return call(server, "GET", f"{bucket}/{key}", headers=headers)


def _listed(server: Running, bucket: str) -> list[str]:
    body = call(server, "GET", bucket, [("list-type", "2")]).body
    return [unescape(key.decode()) for key in re.findall(rb"<Key>(.*?)</Key>", body, re.DOTALL)]


def _stores_as(server: Running, bucket: str, key: str, other: str) -> bool:
    return _put(server, bucket, key).status == 200 and _listed(server, bucket) == [other]


def _signature_unchecked(server: Running, bucket: str) -> bool:
    return call(server, "GET", bucket, [("list-type", "2")], secret="wrong" * 5).status == 200


def _link_unchecked(server: Running, bucket: str) -> bool:
    _put(server, bucket, "k")
    link = [("X-Amz-Algorithm", "AWS4-HMAC-SHA256"), ("X-Amz-Credential", "a/20200101/us-east-1/s3/aws4_request")]
    link += [("X-Amz-Date", "20200101T000000Z"), ("X-Amz-Expires", "1"), ("X-Amz-SignedHeaders", "host")]
    return call(server, "GET", f"{bucket}/k", [*link, ("X-Amz-Signature", "0" * 64)], signed=False).status == 200


def _folds_slashes(server: Running, bucket: str) -> bool:
    return _stores_as(server, bucket, "a//b", "a/b")


def _drops_leading_slash(server: Running, bucket: str) -> bool:
    return _stores_as(server, bucket, "/lead", "lead")


def _empties_folder_objects(server: Running, bucket: str) -> bool:
    return _put(server, bucket, "folder/").status == 200 and _get(server, bucket, "folder/").body == b""


def _lists_out_of_order(server: Running, bucket: str) -> bool:
    for key in ("a b", "a/b/c"):
        _put(server, bucket, key)
    return _listed(server, bucket) == ["a/b/c", "a b"]


def _drops_empty_metadata(server: Running, bucket: str) -> bool:
    _put(server, bucket, "k", ("x-amz-meta-full", "1"), ("x-amz-meta-empty", ""))
    headers = call(server, "HEAD", f"{bucket}/k").headers
    return "x-amz-meta-full" in headers and "x-amz-meta-empty" not in headers


def _makes_up_content_type(server: Running, bucket: str) -> bool:
    _put(server, bucket, "picture.png", body=b"plain text")
    kind = call(server, "HEAD", f"{bucket}/picture.png").headers.get("content-type", "")
    return kind.startswith(("text/plain", "image/png"))


def _range_as_whole(server: Running, bucket: str) -> bool:
    _put(server, bucket, "k", body=b"0123456789")
    answer = _get(server, bucket, "k", ("Range", "bytes=2-4"))
    return (answer.status, answer.body) == (200, b"234")


def _ignores_if_none_match(server: Running, bucket: str) -> bool:
    return {_put(server, bucket, "k", ("If-None-Match", "*")).status for _ in range(2)} == {200}


def _ignores_if_match_on_read(server: Running, bucket: str) -> bool:
    _put(server, bucket, "k")
    return _get(server, bucket, "k", ("If-Match", _OTHER_ETAG)).status == 200


def _ignores_delete_if_match(server: Running, bucket: str) -> bool:
    _put(server, bucket, "k")
    return call(server, "DELETE", f"{bucket}/k", headers=[("If-Match", _OTHER_ETAG)]).status == 204


def _ignores_copy_condition(server: Running, bucket: str) -> bool:
    for key in ("a", "b"):
        _put(server, bucket, key)
    source = ("x-amz-copy-source", f"/{bucket}/a")
    return call(server, "PUT", f"{bucket}/b", headers=[source, ("If-None-Match", "*")]).status == 200


def _ignores_checksums(server: Running, bucket: str) -> bool:
    wrong = base64.b64encode(bytes(32)).decode()
    return _put(server, bucket, "k", ("x-amz-checksum-sha256", wrong)).status == 200


def _refused_puts_destroy(server: Running, bucket: str) -> bool:
    """A put with a wrong checksum is refused; then the object that was there is read, and no answer comes."""
    _put(server, bucket, "k", body=b"old")
    wrong = base64.b64encode(bytes(32)).decode()
    if _put(server, bucket, "k", ("x-amz-checksum-sha256", wrong)).status != 400:
        return False
    try:
        return call(server, "GET", f"{bucket}/k", timeout=5).body != b"old"
    except TimeoutError:
        return True


def _copies_no_parts(server: Running, bucket: str) -> bool:
    _put(server, bucket, "a")
    query = [("partNumber", "1"), ("uploadId", _upload(server, bucket))]
    answer = call(server, "PUT", f"{bucket}/k", query, [("x-amz-copy-source", f"/{bucket}/a")])
    return answer.status == 200 and not answer.body


def _sends_no_checksums(server: Running, bucket: str) -> bool:
    """Stored with a CRC32C, and read with the wish to see it."""
    _put(server, bucket, "k", ("x-amz-checksum-crc32c", "kPWZ4w=="))
    return "x-amz-checksum-crc32c" not in _get(server, bucket, "k", ("x-amz-checksum-mode", "ENABLED")).headers


def _ignores_md5(server: Running, bucket: str) -> bool:
    wrong = base64.b64encode(bytes(16)).decode()
    return _put(server, bucket, "k", ("Content-MD5", wrong)).status == 200


def _object_shadows_folder(server: Running, bucket: str) -> bool:
    return _put(server, bucket, "a").status == 200 and _put(server, bucket, "a/b").status == 500


def _long_segment_fails(server: Running, bucket: str) -> bool:
    return _put(server, bucket, "s" * 300).status == 500


def _ignores_lock(server: Running, bucket: str) -> bool:
    locked = f"{bucket}-locked"
    call(server, "PUT", locked, headers=[("x-amz-bucket-object-lock-enabled", "true")])
    digest = base64.b64encode(hashlib.md5(b"1", usedforsecurity=False).digest()).decode()
    held = _put(server, locked, "k", ("x-amz-object-lock-legal-hold", "ON"), ("Content-MD5", digest))
    version = held.headers.get("x-amz-version-id", "")
    return held.status == 200 and call(server, "DELETE", f"{locked}/k", [("versionId", version)]).status == 204


def _part_of_unknown_upload(server: Running, bucket: str) -> bool:
    query = [("partNumber", "1"), ("uploadId", "0" * 32)]
    return call(server, "PUT", f"{bucket}/k", query, body=b"x").status == 500


def _line_feed_lost(server: Running, bucket: str) -> bool:
    return _put(server, bucket, "n\nl").status == 404


def _upload(server: Running, bucket: str, *headers: tuple[str, str]) -> str:
    answer = call(server, "POST", f"{bucket}/k", [("uploads", "")], headers)
    return answer.body.partition(b"<UploadId>")[2].partition(b"</UploadId>")[0].decode()


def _uploads_times_made_up(server: Running, bucket: str) -> bool:
    _upload(server, bucket)
    return b"<Initiated>2010-" in call(server, "GET", bucket, [("uploads", "")]).body


def _multipart_ignores_if_match(server: Running, bucket: str) -> bool:
    _put(server, bucket, "k")
    upload = _upload(server, bucket)
    part = call(server, "PUT", f"{bucket}/k", [("partNumber", "1"), ("uploadId", upload)], body=b"2")
    tag = part.headers["etag"]
    body = (
        f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part></CompleteMultipartUpload>"
    )
    query = [("uploadId", upload)]
    return call(server, "POST", f"{bucket}/k", query, [("If-Match", _OTHER_ETAG)], body.encode()).status == 200


def _copy(server: Running, bucket: str, *headers: tuple[str, str]) -> Answer:
    _put(server, bucket, "a")
    return call(server, "PUT", f"{bucket}/b", headers=[("x-amz-copy-source", f"/{bucket}/a"), *headers])


def _copy_keeps_checksum_of_parts(server: Running, bucket: str) -> bool:
    upload = _upload(server, bucket, ("x-amz-checksum-algorithm", "CRC32C"))
    checksum = ("x-amz-checksum-crc32c", "kPWZ4w==")
    part = call(server, "PUT", f"{bucket}/k", [("partNumber", "1"), ("uploadId", upload)], [checksum], b"1")
    found = f"<PartNumber>1</PartNumber><ETag>{part.headers['etag']}</ETag><ChecksumCRC32C>kPWZ4w==</ChecksumCRC32C>"
    body = f"<CompleteMultipartUpload><Part>{found}</Part></CompleteMultipartUpload>".encode()
    call(server, "POST", f"{bucket}/k", [("uploadId", upload)], body=body)
    call(server, "PUT", f"{bucket}/l", headers=[("x-amz-copy-source", f"/{bucket}/k")])
    copied = call(server, "HEAD", f"{bucket}/l", headers=[("x-amz-checksum-mode", "ENABLED")]).headers
    return copied.get("x-amz-checksum-crc32c") not in {None, "kPWZ4w=="} and "-" not in copied["x-amz-checksum-crc32c"]


def _copy_gains_metadata(server: Running, bucket: str) -> bool:
    _copy(server, bucket)
    return "x-amz-meta-mtime" in call(server, "HEAD", f"{bucket}/b").headers


def _copy_onto_itself_says_nothing(server: Running, bucket: str) -> bool:
    _put(server, bucket, "k")
    headers = [("x-amz-copy-source", f"/{bucket}/k"), ("x-amz-metadata-directive", "REPLACE")]
    return b"<ETag>" not in call(server, "PUT", f"{bucket}/k", headers=headers).body


def _no_uploads_is_an_error(server: Running, bucket: str) -> bool:
    return call(server, "GET", bucket, [("uploads", "")]).code == "NoSuchUpload"


def _long_suffix_is_refused(server: Running, bucket: str) -> bool:
    _put(server, bucket, "k")
    return _get(server, bucket, "k", ("Range", "bytes=-100")).status == 416


def _normalises(server: Running, bucket: str) -> bool:
    _put(server, bucket, "\u00e9")
    return call(server, "HEAD", f"{bucket}/e\u0301").status == 200


def _slash_is_no_prefix(server: Running, bucket: str) -> bool:
    _put(server, bucket, "a/b")
    return b"<Key>a/b</Key>" in call(server, "GET", bucket, [("list-type", "2"), ("prefix", "/")]).body


def _folder_deletes_fail(server: Running, bucket: str) -> bool:
    _put(server, bucket, "a/b")
    return call(server, "DELETE", f"{bucket}/a").status == 500


def _folder_is_an_object(server: Running, bucket: str) -> bool:
    _put(server, bucket, "a/b")
    return call(server, "HEAD", f"{bucket}/a/").status == 200


def _backslash_is_a_slash(server: Running, bucket: str) -> bool:
    return _stores_as(server, bucket, "\\/w", "w")


def _double_slash_fails(server: Running, bucket: str) -> bool:
    return _put(server, bucket, "//").status == 500


def _marks_are_listed_last(server: Running, bucket: str) -> bool:
    body = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    call(server, "PUT", bucket, [("versioning", "")], body=body)
    _put(server, bucket, "k")
    call(server, "DELETE", f"{bucket}/k")
    listed = re.findall(rb"<(Version|DeleteMarker)>", call(server, "GET", bucket, [("versions", "")]).body)
    return listed == [b"Version", b"DeleteMarker"]


def _suspending_loses_versions(server: Running, bucket: str) -> bool:
    def switch(status: str) -> None:
        body = f"<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>".encode()
        call(server, "PUT", bucket, [("versioning", "")], body=body)

    switch("Enabled")
    version = _put(server, bucket, "k").headers.get("x-amz-version-id", "")
    switch("Suspended")
    _put(server, bucket, "k", body=b"2")
    call(server, "DELETE", f"{bucket}/k")
    return call(server, "GET", f"{bucket}/k", [("versionId", version)]).code == "NoSuchVersion"


def _refuses_odd_keys(server: Running, bucket: str) -> bool:
    return {_put(server, bucket, key).status for key in ("a//b", "/lead", "x/../y")} == {400}


def _start_after_encoded(server: Running, bucket: str) -> bool:
    _put(server, bucket, "é")
    query = [("list-type", "2"), ("encoding-type", "url"), ("start-after", "a")]
    return b"<Key>" not in call(server, "GET", bucket, query).body


def _slash_is_the_bucket(server: Running, bucket: str) -> bool:
    return call(server, "GET", f"{bucket}//").status == 200


def _head_has_no_tag_count(server: Running, bucket: str) -> bool:
    _put(server, bucket, "k", ("x-amz-tagging", "a=b"))
    name = "x-amz-tagging-count"
    return name in _get(server, bucket, "k").headers and name not in call(server, "HEAD", f"{bucket}/k").headers


def _folders_sorted_encoded(server: Running, bucket: str) -> bool:
    for key in ("a/1", "é/1"):
        _put(server, bucket, key)
    query = [("list-type", "2"), ("delimiter", "/"), ("encoding-type", "url")]
    found = re.findall(rb"<Prefix>(.*?/)</Prefix>", call(server, "GET", bucket, query).body)
    return found == [b"%C3%A9/", b"a/"]


def _folders_outlive_objects(server: Running, bucket: str) -> bool:
    _put(server, bucket, "d/k")
    call(server, "DELETE", f"{bucket}/d/k")
    return b"<Prefix>d/</Prefix>" in call(server, "GET", bucket, [("list-type", "2"), ("delimiter", "/")]).body


def _reads_meet_overwrites(server: Running, bucket: str) -> bool:
    """Three readers and one writer: where reads can be spoilt, the first overwrites do it."""
    bodies = [bytes([number]) * (10_000 + 100 * number) for number in range(20)]
    _put(server, bucket, "k", body=bodies[0])
    over, spoilt = threading.Event(), threading.Event()

    def look() -> None:
        while not over.is_set() and not spoilt.is_set():
            try:
                answer = _get(server, bucket, "k")
            except http.client.IncompleteRead:
                spoilt.set()
            else:
                if answer.body not in bodies:
                    spoilt.set()

    with ThreadPoolExecutor(3) as pool:
        looking = [pool.submit(look) for _ in range(3)]
        for number in range(100):
            if not spoilt.is_set():
                _put(server, bucket, "k", body=bodies[number % 20])
        over.set()
        for each in looking:
            each.result()
    return spoilt.is_set()


def _times_are_finer_in_lists(server: Running, bucket: str) -> bool:
    for key in "abcd":  # one in a thousand comes at a whole second
        _put(server, bucket, key)
    body = call(server, "GET", bucket, [("list-type", "2")]).body
    return re.search(rb"<LastModified>[^<]*\.(?!000Z)\d+Z<", body) is not None


S3_FAULTS: Final = (
    fault("signatures-unchecked", "moto localstack", "a wrong secret is as good as the right one", _signature_unchecked),
    fault("links-unchecked", "moto", "a link opens long after its end and with any signature", _link_unchecked),
    fault("folds-slashes", "seaweedfs", "`a//b` is stored as `a/b`", _folds_slashes),
    fault("drops-leading-slash", "seaweedfs", "`/lead` is stored as `lead`", _drops_leading_slash),
    fault("empties-folder-objects", "seaweedfs", "the bytes of `folder/` are lost", _empties_folder_objects),
    fault("lists-out-of-order", "seaweedfs", "`a/b/c` is listed before `a b`", _lists_out_of_order),
    fault("drops-empty-metadata", "seaweedfs", "metadata with an empty value are lost", _drops_empty_metadata),
    fault("makes-up-content-types", "seaweedfs rclone", "an object without a content type gets a guessed one", _makes_up_content_type),
    fault("range-status-200", "rclone", "the bytes of a range come with the status of a whole object", _range_as_whole),
    fault("ignores-if-none-match", "rclone", "a create-only put overwrites", _ignores_if_none_match),
    fault("ignores-if-match", "rclone", "a read on condition of another ETag succeeds", _ignores_if_match_on_read),
    fault("ignores-delete-if-match", "rclone localstack", "a delete on condition of another ETag deletes", _ignores_delete_if_match),
    fault("ignores-copy-conditions", "moto rclone localstack", "a create-only copy overwrites", _ignores_copy_condition),
    fault("ignores-checksums", "moto rclone", "a body that is not what its SHA-256 says is stored", _ignores_checksums),
    fault("refused-puts-destroy", "localstack", "a put that is refused for its checksum takes the old object with it", _refused_puts_destroy),
    fault("copies-no-parts", "rclone", "a part copied from an object is taken for an empty one", _copies_no_parts),
    fault("sends-no-checksums", "moto", "a checksum that came with an object is not told to its readers", _sends_no_checksums),
    fault("ignores-md5", "moto", "a body that is not what its Content-MD5 says is stored", _ignores_md5),
    fault("object-shadows-folder", "rclone", "beside an object `a` there is no `a/b`, and the answer is 500", _object_shadows_folder),
    fault("long-segments-fail", "rclone", "names over 255 bytes are answered with 500", _long_segment_fails),
    fault("ignores-locks", "rclone", "an object under legal hold is deleted", _ignores_lock),
    fault("unknown-upload-is-500", "moto", "a part of an unknown upload is answered with 500", _part_of_unknown_upload),
    fault("upload-times-made-up", "moto", "every unfinished upload was begun in 2010", _uploads_times_made_up),
    fault("multipart-ignores-if-match", "moto rclone", "an upload in parts overwrites whatever is there", _multipart_ignores_if_match),
    fault("copies-keep-the-checksum-of-parts", "moto", "a copy of what came in parts has a CRC32C of none of its bytes", _copy_keeps_checksum_of_parts),
    fault("copies-gain-metadata", "rclone", "a copy has an entry `mtime` more", _copy_gains_metadata),
    fault("copy-onto-itself-says-nothing", "rclone", "the answer to it has no ETag", _copy_onto_itself_says_nothing),
    fault("no-uploads-is-an-error", "rclone", "a bucket that never had an upload answers NoSuchUpload", _no_uploads_is_an_error),
    fault("long-suffix-is-refused", "rclone", "the last 100 bytes of a smaller object are an invalid range", _long_suffix_is_refused),
    fault("normalises-names", "rclone", "a composed and a decomposed name are one object", _normalises),
    fault("slash-is-no-prefix", "rclone", "the prefix `/` finds everything", _slash_is_no_prefix),
    fault("folder-deletes-fail", "rclone", "deleting the absent `a` beside `a/b` is answered with 500", _folder_deletes_fail),
    fault("folders-are-objects", "seaweedfs", "beside `a/b` there is an object `a/`", _folder_is_an_object),
    fault("folders-outlive-objects", "seaweedfs", "a folder is listed long after its last object went", _folders_outlive_objects),
    fault("reads-meet-overwrites", "rclone", "a read that meets an overwrite is cut, or has bytes of both", _reads_meet_overwrites),
    fault("backslash-is-a-slash", "seaweedfs", "the backslash separates folders, which then fold", _backslash_is_a_slash),
    fault("double-slash-fails", "localstack", "the key `//` is answered with 500", _double_slash_fails),
    fault("marks-are-listed-last", "moto", "a delete mark comes after the versions that it hides", _marks_are_listed_last),
    fault("folders-sorted-encoded", "localstack", "folders are listed in the order of their percent-encoded names", _folders_sorted_encoded),
    fault("times-are-finer-in-lists", "rclone", "a listing tells milliseconds, HEAD only seconds", _times_are_finer_in_lists),
    fault("suspending-loses-versions", "moto", "older versions are gone after a delete with versions off", _suspending_loses_versions),
    fault("refuses-odd-keys", "rclone", "`a//b`, `/lead` and `x/../y` are invalid", _refuses_odd_keys),
    fault("start-after-compares-encoded", "localstack", "a listing after `a` has no `é`", _start_after_encoded),
    fault("slash-is-the-bucket", "rclone localstack", "the key `/` is taken for the bucket", _slash_is_the_bucket),
    fault("head-has-no-tag-count", "localstack", "GET tells how many tags there are, HEAD does not", _head_has_no_tag_count),
    fault("loses-line-feeds", "moto", "a key with a line feed cannot be stored", _line_feed_lost),
)  # fmt: skip
