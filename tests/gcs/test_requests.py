"""Single requests: what travels, what is believed, and what an answer means."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from mediagit_storage.backend import BatchLimits, DeleteOperation
from mediagit_storage.errors import (
    AlreadyExistsError,
    BucketNotFoundError,
    ChecksumError,
    ConfigError,
    ConnectionLostError,
    IntegrityError,
    InvalidKeyError,
    InvalidRangeError,
    LimitExceededError,
    NotFoundError,
    NotModifiedError,
    PermissionDeniedError,
    PreconditionError,
    StorageError,
    UnsupportedError,
)
from mediagit_storage.secrets import Secret
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.scripted_server import Receive, Reset, answer
from mediagit_storage.types import Attributes, Checksum, ReadOptions, Retention

from .answers import GENERATION, body_of, crc, document, header, lines, media, refused, resource, stored

OPEN = {"anonymous": True}
NO_OBJECT = refused(404, "notFound", "No such object: bucket/k")
NO_BUCKET = refused(404, "notFound", "The specified bucket does not exist.")
EMPTY = document({"kind": "storage#objects"})


def described(request):
    """The description in a multipart body."""
    return json.loads(body_of(request).split(b"\r\n\r\n", 2)[1].split(b"\r\n--")[0])


# ---- writes


def test_a_put_is_one_request_with_its_digest(play):
    store, server = play(stored(b"hello"), **OPEN)
    info = store.put("a b/é", b"hello", attributes=Attributes(metadata={"n": "1"}))
    [request] = server.received
    asked = "fields=generation%2Csize%2CtimeCreated%2Cupdated%2Ccrc32c%2Cmd5Hash&uploadType=multipart"
    assert lines(server) == [f"POST /upload/storage/v1/b/bucket/o?{asked}"]
    assert described(request) == {
        "name": "a b/é", "crc32c": crc(b"hello"), "contentType": "binary/octet-stream", "metadata": {"n": "1"}
    }  # fmt: skip
    assert b"\r\n\r\nhello\r\n--" in request
    assert header(request, "authorization") is None
    assert (info.size, info.etag, info.version) == (5, GENERATION, GENERATION)


def test_without_its_library_md5_takes_the_place_of_crc32c(play, monkeypatch):
    monkeypatch.setattr("mediagit_storage.backends.gcs.digests.crc32c_at_hand", lambda: False)
    md5 = base64.b64encode(hashlib.md5(b"hello").digest()).decode()
    composite = media(b"hello")
    whole = media(b"hello", ("x-goog-hash", f"md5={md5}"))
    wrong = media(b"hello", ("x-goog-hash", f"md5={base64.b64encode(bytes(16)).decode()}"))
    store, server = play(stored(b"hello", md5Hash=md5), whole, wrong, composite, **OPEN)
    store.put("k", b"hello")
    assert described(server.received[0])["md5Hash"] == md5
    assert store.get("k") == b"hello"
    with pytest.raises(ChecksumError):
        store.get("k")
    assert store.get("k") == b"hello", "a composite object has none, and is read unchecked"


@pytest.mark.parametrize("first", [(Receive(), Reset()), refused(500, "backendError"), refused(503, "backendError")])
def test_a_plain_put_is_repeated(play, first):
    store, server = play(first, stored(b"x"), **OPEN)
    assert store.put("k", b"x").etag == GENERATION
    assert len(server.received) == 2


def test_throttling_by_403_is_waited_for(play):
    store, server = play(refused(403, "rateLimitExceeded"), refused(429, "rateLimitExceeded"), stored(b"x"), **OPEN)
    store.put("k", b"x")
    assert len(server.received) == 3


def own_object(server, token=None):
    """The answer to a look that shows the token of the first request."""

    class Own:
        def play(self, conversation):
            told = token or described(server().received[0])["metadata"]["mgs-token"]
            stored(b"hello", metadata={"mgs-token": told}).play(conversation)

    return Own()


@pytest.mark.parametrize("first", [(Receive(), Reset()), refused(500, "backendError")], ids=["reset", "500"])
def test_our_own_object_is_no_conflict(play, first):
    holder = []
    store, server = play(first, refused(412, "conditionNotMet"), own_object(lambda: holder[0]), **OPEN)
    holder.append(server)
    assert store.put("k", b"hello", if_absent=True).etag == GENERATION
    tokens = {described(each)["metadata"]["mgs-token"] for each in server.received[:2]}
    assert len(tokens) == 1, "the repeated request is the same write"


def test_somebody_elses_object_is_a_conflict(play):
    holder = []
    store, server = play(
        (Receive(), Reset()), refused(412, "conditionNotMet"), own_object(lambda: holder[0], "another"), **OPEN
    )
    holder.append(server)
    with pytest.raises(AlreadyExistsError):
        store.put("k", b"hello", if_absent=True)


def test_a_conflict_at_the_first_try_is_believed(play):
    store, server = play(refused(412, "conditionNotMet"), **OPEN)
    with pytest.raises(PreconditionError):
        store.put("k", b"hello", if_match="17")
    assert "ifGenerationMatch=17" in lines(server)[0]
    assert len(server.received) == 1


def test_other_bytes_than_were_sent_are_removed_again(play):
    store, server = play(document({**resource(b"x"), "crc32c": "AAAAAA=="}), answer(204, b""), **OPEN)
    with pytest.raises(ChecksumError):
        store.put("k", b"x")
    assert lines(server)[1] == f"DELETE /storage/v1/b/bucket/o/k?ifGenerationMatch={GENERATION}"


def test_what_the_service_does_not_keep_is_refused_unread(play):
    store, server = play(stored(b""), **OPEN)
    with pytest.raises(InvalidKeyError):
        store.put("a\nb", b"")
    with pytest.raises(UnsupportedError):
        store.put("k", b"", attributes=Attributes(tags={"a": "b"}))
    with pytest.raises(UnsupportedError):
        store.put("k", b"", legal_hold=True)
    with pytest.raises(LimitExceededError):
        store.put("k", b"", attributes=Attributes(metadata={"n": "x" * 9000}))
    assert server.received == []


def test_holds_and_retention_where_the_bucket_keeps_them(play, monkeypatch):
    from datetime import UTC, datetime

    store, server = play(stored(b"x"), refused(403, "objectUnderActiveHold"), object_retention=True, **OPEN)
    until = datetime(2099, 1, 1, tzinfo=UTC)
    store.put("k", b"x", retention=Retention("governance", until), legal_hold=True)
    sent = described(server.received[0])
    assert sent["retention"] == {"mode": "Unlocked", "retainUntilTime": "2099-01-01T00:00:00.000Z"}
    assert sent["temporaryHold"] is True
    with pytest.raises(PermissionDeniedError):
        store.delete("k")


def test_keys_of_customers_and_the_project_that_pays(play):
    key = base64.b64encode(bytes(32)).decode()
    store, server = play(
        stored(b"x"), media(b"x"), stored(b"x"), stored(b"x"), document({"done": True, "resource": resource(b"x")}),
        customer_key=Secret(key), user_project="payer-1", **OPEN,
    )  # fmt: skip
    store.put("k", b"x")
    store.get("k")
    store.stat("k")
    store.copy("k", "l")
    assert all("userProject=payer-1" in line for line in lines(server))
    assert [header(each, "x-goog-encryption-key") for each in server.received] == [key] * 5
    assert header(server.received[4], "x-goog-copy-source-encryption-key") == key
    assert key not in repr(store) + str(store.connection_info().to_json())


def test_keys_of_the_kms(play):
    name = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
    store, server = play(stored(b"x"), stored(b"x"), document({"done": True, "resource": resource(b"x")}), kms_key_name=name, **OPEN)  # fmt: skip
    store.put("k", b"x")
    store.copy("k", "l")
    assert "kmsKeyName=projects%2Fp%2F" in lines(server)[0]
    assert "destinationKmsKeyName=projects%2Fp%2F" in lines(server)[2]


# ---- reads


def test_a_read_is_one_request_as_stored(play):
    store, server = play(media(b"hello"), **OPEN)
    assert store.get("a/b") == b"hello"
    assert lines(server) == ["GET /storage/v1/b/bucket/o/a%2Fb?alt=media"]
    assert header(server.received[0], "accept-encoding") == "gzip"


def test_damaged_bytes_are_never_given_out(play):
    store, _ = play(media(b"hello", digest="AAAAAA=="), **OPEN)
    with pytest.raises(ChecksumError):
        store.get("k")
    with pytest.raises(ChecksumError):
        b"".join(store.stream("k"))
    store, _ = play(media(b"hello", digest="AAAAAA=="), verify_reads=False, **OPEN)
    assert store.get("k") == b"hello"


def test_the_digest_of_what_was_read_in_ranges(play):
    """What a download in ranges is checked by, of the very generation that was read."""
    asked = ReadOptions(version="12")
    store, server = play(document({**resource(b"hello"), "generation": "12"}), refused(503, "backendError"), **OPEN)
    assert store.backend.content_checksum("k", asked) == Checksum("crc32c", base64.b64decode(crc(b"hello")))
    assert lines(server) == ["GET /storage/v1/b/bucket/o/k?generation=12"]
    assert store.backend.content_checksum("k", asked) is None, "what cannot be told now is no error"
    store, server = play(stored(b"hello"), verify_reads=False, **OPEN)
    assert store.backend.content_checksum("k", ReadOptions()) is None
    assert server.received == []


def test_an_object_that_was_unpacked_on_the_way_is_an_error(play):
    unpacked = answer(200, b"plain", [("x-goog-generation", "1"), ("x-goog-stored-content-encoding", "gzip"), ("connection", "close")])  # fmt: skip
    store, _ = play(unpacked, **OPEN)
    with pytest.raises(IntegrityError):
        store.get("k")


def test_an_answer_without_a_generation_is_none(play):
    store, _ = play(answer(200, b"a proxy's page", [("connection", "close")]), **OPEN)
    with pytest.raises(IntegrityError):
        store.get("k")


def test_conditions_of_reads(play):
    store, server = play(refused(412, "conditionNotMet"), answer(304, b""), media(b"x"), **OPEN)
    with pytest.raises(PreconditionError):
        store.get("k", if_match="17")
    with pytest.raises(NotModifiedError):
        store.get("k", if_none_match="17")
    assert store.get("k", if_none_match="0") == b"x"
    assert [line.partition("&")[2] for line in lines(server)] == [
        "ifGenerationMatch=17", "ifGenerationNotMatch=17", "ifGenerationNotMatch=1"
    ]  # fmt: skip


def test_a_condition_that_the_server_did_not_look_at_holds_all_the_same(play):
    store, _ = play(media(b"x"), **OPEN)
    for read in (store.get, store.stream):
        with pytest.raises(PreconditionError):
            read("k", if_match="17")
        with pytest.raises(NotModifiedError):
            read("k", if_none_match=GENERATION)
    assert store.get("k", if_match=GENERATION) == b"x"


def test_absence_is_proven(play):
    store, server = play(answer(404, b"No such object: bucket/k", [("connection", "close")]), **OPEN)
    with pytest.raises(NotFoundError) as caught:
        store.get("k")
    assert not isinstance(caught.value, BucketNotFoundError)
    assert len(server.received) == 1, "who says which object is missing has the bucket"
    store, server = play(answer(404, b"Not Found", [("connection", "close")]), NO_OBJECT, **OPEN)
    with pytest.raises(NotFoundError):
        store.get("k")
    assert lines(server)[1] == "GET /storage/v1/b/bucket/o/k"
    store, server = play(answer(404, b"<html>nginx</html>", [("connection", "close")]), **OPEN)
    for look in (store.get, store.exists, store.stat):
        with pytest.raises(StorageError) as caught:
            look("k")
        assert not isinstance(caught.value, FileNotFoundError)


def test_whose_absence_it_is(play):
    bare = refused(404, "notFound", "Not Found")
    store, server = play(bare, NO_BUCKET, **OPEN)
    with pytest.raises(BucketNotFoundError):
        store.stat("k")
    assert lines(server)[1].startswith("GET /storage/v1/b/bucket/o?")
    store, server = play(bare, EMPTY, bare, **OPEN)
    for _ in range(2):
        with pytest.raises(NotFoundError) as caught:
            store.stat("k")
        assert not isinstance(caught.value, BucketNotFoundError)
    assert len(server.received) == 3, "the bucket is looked for once"


def test_versions_that_can_be_none_are_not_asked_for(play):
    store, server = play(stored(b""), **OPEN)
    for version in ("made-up", "0", "deleted-12"):
        with pytest.raises(NotFoundError):
            store.get("k", version=version)
    store.delete("k", version="made-up")
    with pytest.raises(NotFoundError):
        store.delete("k", version="made-up", missing_ok=False)
    assert server.received == []


def test_a_version_is_read_and_deleted_by_its_generation(play):
    store, server = play(media(b"x", generation="12"), answer(204, b""), **OPEN)
    assert store.get("k", version="12") == b"x"
    store.delete("k", version="12")
    assert [line.partition("?")[2] for line in lines(server)] == ["alt=media&generation=12", "generation=12"]


@pytest.mark.parametrize("status", [416])
def test_a_range_past_the_end(play, status):
    store, _ = play(answer(status, b"", [("connection", "close")]), **OPEN)
    with pytest.raises(InvalidRangeError):
        store.get("k", offset=10)


# ---- deletes


@pytest.mark.parametrize("status", [200, 204])
def test_a_delete(play, status):
    store, server = play(answer(status, b"", [("connection", "close")]), **OPEN)
    store.delete("a//b", if_match="17")
    assert lines(server) == ["DELETE /storage/v1/b/bucket/o/a%2F%2Fb?ifGenerationMatch=17"]


def test_deleting_what_is_not_there(play):
    store, _ = play(NO_OBJECT, **OPEN)
    store.delete("k")
    with pytest.raises(NotFoundError):
        store.delete("k", missing_ok=False)
    with pytest.raises(PreconditionError):
        store.delete("k", if_match="17")
    store, _ = play(NO_BUCKET, **OPEN)
    with pytest.raises(BucketNotFoundError):
        store.delete("k")
    store, _ = play(answer(404, b"<html>", [("connection", "close")]), **OPEN)
    with pytest.raises(StorageError) as caught:
        store.delete("k")
    assert not isinstance(caught.value, NotFoundError)


def test_a_delete_whose_answer_was_lost(play):
    store, _ = play((Receive(), Reset()), NO_OBJECT, **OPEN)
    store.delete("k", missing_ok=False)


def batch_answer(*statuses):
    parts = []
    for number, (status, body) in enumerate(statuses):
        parts.append(
            f"--B\r\nContent-Type: application/http\r\nContent-ID: <response-call-{number}>\r\n\r\n"
            f"HTTP/1.1 {status} Word\r\nContent-Type: application/json\r\n\r\n{json.dumps(body) if body else ''}\r\n"
        )
    fields = [("content-type", "multipart/mixed; boundary=B"), ("connection", "close")]
    return answer(200, ("".join(parts) + "--B--\r\n").encode(), fields)


def failure(status, reason, message="no"):
    return {"error": {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}}


@covers(12)
def test_many_deletes_in_one_request_each_with_its_own_end(play):
    answers = batch_answer(
        (204, None), (404, failure(404, "notFound", "No such object: bucket/k1")),
        (403, failure(403, "retentionPolicyNotMet")), (503, failure(503, "backendError")),
    )  # fmt: skip
    store, server = play(answers, answer(204, b"", [("connection", "close")]), **OPEN)
    # One of them passed too many requests: it is deleted by itself.
    outcomes = [*store.delete_many(["k0", "k1", "k2", "k3"])]
    assert [type(each.error) for each in outcomes] == [type(None), type(None), PermissionDeniedError, type(None)]
    assert lines(server) == ["POST /batch/storage/v1", "DELETE /storage/v1/b/bucket/o/k3"]


def test_a_hundred_go_together(opened, play):
    store, server = play(batch_answer(*[(204, None)] * 100), batch_answer((204, None)), **OPEN)
    assert store.delete_many([f"k{number}" for number in range(101)]).run() == 101
    assert lines(server) == ["POST /batch/storage/v1"] * 2


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (batch_answer((204, None)), IntegrityError),
        (refused(403, "forbidden"), PermissionDeniedError),
        (document({}), IntegrityError),
    ],
)
def test_what_nobody_answered_for_is_an_error(play, step, kind):
    backend = play(step, **OPEN)[0].backend
    feed = iter([DeleteOperation("k0"), DeleteOperation("k1")])
    completions = [*backend.batch(feed, BatchLimits())]
    assert type(completions[-1].error) is kind


# ---- copies


def test_a_copy_goes_on_until_the_service_is_done(play):
    store, server = play(
        stored(b"x", contentType="a/b", storageClass="NEARLINE", contentLanguage="de"),
        document({"done": False, "rewriteToken": "t/1"}), document({"done": False, "rewriteToken": "t2"}),
        document({"done": True, "resource": resource(b"x", "l")}), **OPEN,
    )  # fmt: skip
    info = store.copy("a/k", "l")
    assert (info.key, info.etag) == ("l", GENERATION)
    targets = [line.partition("?")[2] for line in lines(server)[1:]]
    assert targets == [
        f"sourceGeneration={GENERATION}", f"rewriteToken=t%2F1&sourceGeneration={GENERATION}",
        f"rewriteToken=t2&sourceGeneration={GENERATION}",
    ]  # fmt: skip
    assert lines(server)[1].startswith("POST /storage/v1/b/bucket/o/a%2Fk/rewriteTo/b/bucket/o/l?")
    kept = json.loads(body_of(server.received[1]))
    assert kept == {"contentType": "a/b", "storageClass": "NEARLINE", "contentLanguage": "de", "metadata": {}}


def test_a_copy_that_never_ends_is_an_error(play):
    store, _ = play(stored(b"x"), document({"done": False}), **OPEN)
    with pytest.raises(IntegrityError):
        store.copy("k", "l")


def test_a_source_that_changes_meanwhile(play):
    store, _ = play(stored(b"x"), NO_OBJECT, **OPEN)
    with pytest.raises(ConnectionLostError):
        store.copy("k", "l")


def test_a_create_only_copy(play):
    store, server = play(stored(b"x"), refused(412, "conditionNotMet"), **OPEN)
    with pytest.raises(AlreadyExistsError):
        store.copy("k", "l", if_absent=True)
    assert "ifGenerationMatch=0" in lines(server)[1]


def test_our_own_copy_is_no_conflict(play):
    class Own:
        def play(self, conversation):
            token = json.loads(body_of(server.received[1]))["metadata"]["mgs-token"]
            stored(b"x", "l", metadata={"mgs-token": token}).play(conversation)

    store, server = play(stored(b"x"), (Receive(), Reset()), refused(412, "conditionNotMet"), Own(), **OPEN)
    assert store.copy("k", "l", if_absent=True).key == "l"


# ---- listings


def page(names, token=None, prefixes=(), **more):
    body = {"items": [resource(b"x", name, **more) for name in names], "prefixes": [*prefixes]}
    return document({**body, **({"nextPageToken": token} if token else {})})


def test_what_a_listing_asks_for_is_encoded(play):
    store, server = play(EMPTY, **OPEN)
    assert [*store.list("x&y", start_after="Ä")] == []
    assert "prefix=x%26y" in lines(server)[0]
    assert "startOffset=%C3%84" in lines(server)[0]


@covers(56)
def test_every_page(play):
    store, server = play(page(["a", "b"], "to/ken=="), page(["c"]), **OPEN)
    assert [info.key for info in store.list()] == ["a", "b", "c"]
    assert "pageToken=to%2Fken%3D%3D" in lines(server)[1]


def test_start_after_is_left_out_though_the_service_includes_it(play):
    store, server = play(page(["b", "c"]), **OPEN)
    assert [info.key for info in store.list(start_after="b")] == ["c"]
    assert "startOffset=b" in lines(server)[0]


def test_a_listing_out_of_order_or_in_a_circle(play):
    store, _ = play(page(["b", "a"]), **OPEN)
    with pytest.raises(IntegrityError):
        [*store.list()]
    store, _ = play(page(["a"], "t"), page([], "t"), **OPEN)
    with pytest.raises(IntegrityError):
        [*store.list()]


def test_folders_and_objects_come_sorted_together_over_pages(play):
    """Also from a server that tells all folders with the first page, and again with the next."""
    folders = ["a/", "c/", "z/"]
    store, _ = play(page(["a", "b"], "t", folders), page(["c", "d"], None, folders), **OPEN)
    found = [getattr(each, "prefix", None) or each.key for each in store.list_dir()]
    assert found == ["a", "a/", "b", "c", "c/", "d", "z/"]


def test_pages_of_folders_alone(play):
    store, _ = play(page([], "t", ["a/", "b/"]), page([], None, ["c/"]), **OPEN)
    assert [each.prefix for each in store.list_dir()] == ["a/", "b/", "c/"]


def test_every_version_newest_first_with_marks_of_deletions(play):
    """The service lists the oldest first, and tells of a deletion by a time; keys may span pages."""

    def version(name, generation, deleted=None):
        found = {"name": name, "generation": str(generation), "size": "1", "timeCreated": "2026-11-22T00:00:00Z"}
        return {**found, **({"timeDeleted": deleted} if deleted else {})}

    gone = "2026-11-22T00:00:01.5Z"
    first = document(
        {"items": [version("a", 1, gone), version("a", 2, gone), version("b", 3, gone)], "nextPageToken": "t"}
    )
    second = document({"items": [version("b", 4), version("c", 5, gone)]})
    store, server = play(first, second, **OPEN)
    listed = [(each.key, each.version, each.deleted) for each in store.list(versions=True)]
    assert listed == [
        ("a", "deleted-2", True), ("a", "2", False), ("a", "1", False), ("b", "4", False), ("b", "3", False),
        ("c", "deleted-5", True), ("c", "5", False),
    ]  # fmt: skip
    assert "versions=true" in lines(server)[0]


def test_deleting_a_mark_brings_the_object_back(play):
    found = document({**resource(b"x"), "generation": "5"})
    store, server = play(found, document({"done": True, "resource": resource(b"x")}), **OPEN)
    store.delete("k", version="deleted-5")
    assert lines(server)[0].endswith("?generation=5")
    assert "ifGenerationMatch=0&sourceGeneration=5" in lines(server)[1]
    store, server = play(found, refused(412, "conditionNotMet"), **OPEN)
    store.delete("k", version="deleted-5")
    assert len(server.received) == 2, "there is an object again: that deletion is no more"


# ---- buckets


def test_a_bucket_is_made_where_it_is_wanted(play):
    store, server = play(
        document({"name": "bucket"}), project="project-1", location="EU", object_retention=True, **OPEN
    )
    store.create(versioning=True)
    assert lines(server) == ["POST /storage/v1/b?enableObjectRetention=true&project=project-1"]
    assert json.loads(body_of(server.received[0])) == {
        "name": "bucket",
        "location": "EU",
        "versioning": {"enabled": True},
    }


def test_a_bucket_that_is_there(play):
    store, server = play(refused(409, "conflict"), EMPTY, document({}), project="project-1", **OPEN)
    store.create(versioning=False)
    assert lines(server)[2] == "PATCH /storage/v1/b/bucket"
    assert json.loads(body_of(server.received[2])) == {"versioning": {"enabled": False}}


def test_somebody_elses_bucket(play):
    store, _ = play(refused(409, "conflict"), refused(403, "forbidden"), project="project-1", **OPEN)
    with pytest.raises(PermissionDeniedError):
        store.create()


def test_a_bucket_needs_a_project(play):
    store, server = play(EMPTY, **OPEN)
    with pytest.raises(ConfigError, match="GCS_PROJECT_ID"):
        store.create()
    assert server.received == []


def test_what_check_finds(play):
    bucket = document({"name": "bucket", "location": "EU", "storageClass": "STANDARD", "versioning": {"enabled": True}})
    allowed = document({"permissions": ["storage.objects.get", "storage.objects.list"]})
    store, _ = play(EMPTY, bucket, allowed, **OPEN)
    found = {each.name: each for each in store.check(write=False)}
    assert found["bucket"].detail == "EU, STANDARD"
    assert found["versions"].detail == "kept"
    assert found["permissions"].detail == "without storage.objects.create, storage.objects.delete"
    assert found["checksums"].level.value == "ok"
    store, _ = play(EMPTY, NO_BUCKET, **OPEN)
    assert {each.name: each.level.value for each in store.check(write=False)}["bucket"] == "failed"
    store, _ = play(EMPTY, refused(403, "forbidden"), allowed, **OPEN)
    assert {each.name: each.level.value for each in store.check(write=False)}["bucket"] == "warning"
