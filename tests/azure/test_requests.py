"""What travels to the service, and what its answers mean: above all what the emulator cannot show."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from mediagit_storage.backends.azure import copying
from mediagit_storage.clock import SystemClock
from mediagit_storage.errors import (
    AlreadyExistsError,
    ChecksumError,
    ConfigError,
    ConnectionLostError,
    IntegrityError,
    InvalidRangeError,
    NotFoundError,
    PermissionDeniedError,
    StorageError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)
from mediagit_storage.http.encoding import parse_http_date
from mediagit_storage.secrets import Secret
from mediagit_storage.storage import Storage
from mediagit_storage.testing.authority import Authority
from mediagit_storage.testing.scripted_server import Receive, Reset, ScriptedServer
from mediagit_storage.types import Attributes

from .answers import blob, created, header, lines, ok, refused

MIB = 1024 * 1024
BLOCKS = {"part_size": MIB, "multipart_threshold": MIB, "concurrency": 2}


# ---- one request


def test_a_put_is_one_signed_and_checked_request(play):
    store, server = play(created())
    info = store.put("a b/é", b"hello", attributes=Attributes(metadata={"x-y": "1"}))
    [request] = server.received
    assert lines(server) == ["PUT /pics/a%20b/%C3%A9"]
    assert request.endswith(b"\r\n\r\nhello")
    assert header(request, "content-md5") == base64.b64encode(hashlib.md5(b"hello").digest()).decode()
    assert header(request, "x-ms-blob-type") == "BlockBlob"
    assert header(request, "x-ms-meta-x__2dy") == "1"
    assert header(request, "x-ms-version") == "2024-08-04"
    assert str(header(request, "authorization")).startswith("SharedKey media:")
    assert (info.etag, info.size) == ("0x1", 5)


def test_a_body_that_is_not_what_the_service_keeps_is_an_error(play):
    wrong = ("Content-MD5", base64.b64encode(bytes(16)).decode())
    store, _ = play(ok(200, b"hello", wrong))
    with pytest.raises(ChecksumError):
        store.get("k")
    with pytest.raises(ChecksumError):
        b"".join(store.stream("k"))
    store, _ = play(ok(200, b"hello", wrong), verify_reads=False)
    assert store.get("k") == b"hello"


def test_a_damaged_body_is_told(play):
    store, _ = play(refused(400, "Md5Mismatch"))
    with pytest.raises(ChecksumError):
        store.put("k", b"x")


def test_an_absence_needs_the_services_own_word(play):
    store, _ = play(ok(404, b"<html>not here</html>"))
    with pytest.raises(StorageError) as caught:
        store.get("k")
    assert not isinstance(caught.value, NotFoundError)
    with pytest.raises(StorageError):
        store.exists("k")


def test_a_look_that_is_refused_without_a_word_is_asked_aloud(play):
    store, server = play(ok(403), refused(403, "AuthorizationPermissionMismatch"))
    with pytest.raises(PermissionDeniedError, match="Storage Blob Data"):
        store.stat("k")
    assert [line.split()[0] for line in lines(server)] == ["HEAD", "GET"]


def test_a_suffix_is_looked_for_first(play):
    store, server = play(blob(10), ok(206, b"89", ("Content-Range", "bytes 8-9/10")))
    assert store.get("k", suffix=2) == b"89"
    assert header(server.received[1], "x-ms-range") == "bytes=8-9"
    assert header(server.received[1], "if-match") == '"0x1"'


def test_a_suffix_of_what_is_overwritten_meanwhile(play):
    part = ok(206, b"xyz", ("Content-Range", "bytes 2-4/5"), etag='"0x2"')
    store, _ = play(blob(10), refused(412, "ConditionNotMet"), blob(5, etag='"0x2"'), blob(5, etag='"0x2"'), part)
    assert store.get("k", suffix=3) == b"xyz"


@pytest.mark.parametrize("part", ["bytes 5-4/5", "bytes 0--1/0"])
def test_no_bytes_at_the_end_are_no_range(play, part):
    """How Azurite answers for a range that begins at the end, where the service says 416."""
    size = int(part[-1])
    store, _ = play(ok(206, b"", ("Content-Range", part)))
    for read in (store.get, lambda key, **options: b"".join(store.stream(key, **options))):
        with pytest.raises(InvalidRangeError):
            read("k", offset=size, length=3)


# ---- who asks


class Credential:
    """Hands out numbered tokens."""

    def __init__(self, lives=3600, fails=None):
        self.lives, self.fails, self.given, self.lock = lives, fails, 0, threading.Lock()

    def get_token(self, *scopes):
        assert scopes == ("https://storage.azure.com/.default",)
        if self.fails:
            raise self.fails
        with self.lock:
            self.given += 1
            expires = int(datetime.now(UTC).timestamp()) + self.lives
            return SimpleNamespace(token=f"canary-token-{self.given}", expires_on=expires)


def by_credential(credential):
    return {"identity": "given", "made": {"credential": credential}}


def test_a_token_is_fetched_once_and_again_when_it_is_refused(play):
    credential = Credential()
    store, server = play(
        ok(200, b"x"),
        ok(200, b"x"),
        refused(401, "InvalidAuthenticationInfo"),
        ok(200, b"x"),
        **by_credential(credential),
    )
    for _ in range(3):
        assert store.get("k") == b"x"
    tokens = [header(each, "authorization") for each in server.received]
    assert tokens == ["Bearer canary-token-1"] * 3 + ["Bearer canary-token-2"]


def test_a_token_that_is_about_to_end_is_renewed(play):
    credential = Credential(lives=100)
    store, _ = play(ok(200, b"x"), **by_credential(credential))
    store.get("k")
    store.get("k")
    assert credential.given == 2


def test_a_token_that_stays_refused_is_an_error_without_it(play):
    store, _ = play(refused(401, "InvalidAuthenticationInfo", "bad canary-token-2"), **by_credential(Credential()))
    with pytest.raises(UnauthenticatedError) as caught:
        store.get("k")
    assert "canary" not in str(caught.value)


def test_a_credential_that_fails_says_why(play):
    store, server = play(ok(), **by_credential(Credential(fails=RuntimeError("az login first https://x/?code=canary"))))
    with pytest.raises(UnauthenticatedError, match="az login first") as caught:
        store.get("k")
    assert "canary" not in str(caught.value)
    assert server.received == []


def test_the_extra_is_named_where_it_is_missing(opened, monkeypatch):
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(ConfigError, match=r"mediagit-storage\[azure\]"):
        opened("http://127.0.0.1:1", identity="default")


@pytest.mark.parametrize("identity", ["default", "environment", "managed", "cli", "powershell", "developer"])
def test_credentials_by_name(opened, identity):
    pytest.importorskip("azure.identity")
    backend = opened("http://127.0.0.1:1", identity=identity)
    assert backend.connection_info().config["identity"] == identity


def test_a_bearer_token_wants_https(opened):
    with pytest.raises(ConfigError, match="https"):
        opened("http://storage.example", allow_http=True, **by_credential(Credential()))


class Wrong(SystemClock):
    """A clock that is hours wrong."""

    def now_ns(self):
        return super().now_ns() + 3 * 3600 * 10**9


def test_a_clock_that_is_wrong_is_set_by_the_service(play):
    now = datetime.now(UTC)
    date = ("Date", now.strftime("%a, %d %b %Y %H:%M:%S GMT"))
    store, server = play(
        refused(403, "AuthenticationFailed", date=date), ok(200, b"x", date=date), made={"clock": Wrong()}
    )
    assert store.get("k") == b"x"
    first, second = (parse_http_date(str(header(each, "x-ms-date"))) for each in server.received)
    assert first - second > timedelta(hours=2)
    assert abs(second - now) < timedelta(minutes=1)


def test_a_wrong_key_is_not_tried_again(play):
    date = ("Date", datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"))
    store, server = play(refused(403, "AuthenticationFailed", "the key c2VjcmV0LWNhbmFyeS1rZXk= is wrong", date=date))
    with pytest.raises(UnauthenticatedError, match="check the account, its key") as caught:
        store.get("k")
    assert len(server.received) == 1
    assert "c2VjcmV0" not in str(caught.value)


def test_a_sas_token_is_in_every_url_and_in_no_error(play):
    token = "sv=2024-08-04&se=2040-01-01&sig=canary%2Fsignature"
    store, server = play(refused(403, "AuthenticationFailed", "sig=canary/signature"), sas_token=Secret(token))
    with pytest.raises(UnauthenticatedError, match="expired at 2040-01-01") as caught:
        store.get("k")
    assert lines(server) == [f"GET /pics/k?{token}"]
    assert "canary" not in str(caught.value)
    assert header(server.received[0], "authorization") is None


# ---- blocks


def test_what_a_lost_commit_came_to_is_found_out(routed):
    token = []

    class Own:
        def play(self, conversation):
            token.append(
                next(
                    header(each, "x-ms-meta-mgs__2dtoken")
                    for each in conversation.server.received
                    if b"blocklist" in each
                )
            )
            blob(3, ("x-ms-meta-mgs__2dtoken", token[0]), etag='"0x9"').play(conversation)

    store, _ = routed(
        ("comp=blocklist", [Reset(), refused(400, "InvalidBlockList")]),
        ("comp=block", created()),
        ("HEAD", Own()),
        **BLOCKS,
    )
    assert store.put("k", bytes(3 * MIB)).etag == "0x9"
    assert token[0]


def test_blocks_that_another_writer_discarded_are_sent_again(routed):
    store, server = routed(
        ("comp=blocklist", [refused(400, "InvalidBlockList"), created('"0x7"')]),
        ("comp=block", created()),
        ("DELETE", refused(412, "ConditionNotMet")),
        **BLOCKS,
    )
    assert store.put("k", bytes(3 * MIB)).etag == "0x7"
    names = {re.search(rb"blockid=([^&\s]+)", each)[1] for each in server.received if b"blockid=" in each}
    assert len(names) == 6, "the second beginning has names of its own"


def test_a_stream_whose_blocks_were_discarded_can_only_be_told(routed):
    store, _ = routed(
        ("comp=blocklist", refused(400, "InvalidBlockList")),
        ("comp=block", created()),
        ("DELETE", refused(404, "BlobNotFound")),
        **BLOCKS,
    )
    with pytest.raises(UnavailableError, match="write it again"):
        store.put("k", iter([bytes(MIB)] * 3))


def test_another_creators_blocks_decide_a_create(routed):
    store, _ = routed(
        ("comp=blocklist", refused(400, "InvalidBlockList")),
        ("comp=block", created()),
        ("DELETE", refused(412, "ConditionNotMet")),
        ("HEAD", blob(1)),
        **BLOCKS,
    )
    with pytest.raises(AlreadyExistsError):
        store.put("k", bytes(3 * MIB), if_absent=True)


def test_what_a_failed_upload_asks_for(routed):
    store, server = routed(
        ("comp=block", refused(403, "AuthorizationFailure")), ("DELETE", refused(404, "BlobNotFound")), **BLOCKS
    )
    with pytest.raises(PermissionDeniedError):
        store.put("k", bytes(3 * MIB))
    [removal] = [each for each in server.received if each.startswith(b"DELETE")]
    assert header(removal, "if-unmodified-since") == "Thu, 01 Jan 1970 00:00:00 GMT", "an object would stay"


# ---- copies


def test_a_copy_reads_its_source_by_a_link_of_its_own(play):
    store, server = play(blob(5), ok(202, b"", ("x-ms-copy-status", "success"), etag='"0x2"'))
    assert store.copy("a", "b").etag == "0x2"
    copy = server.received[1]
    source = str(header(copy, "x-ms-copy-source"))
    assert re.search(r"/pics/a\?sv=.*&sr=c&sp=r&sig=", source)
    assert header(copy, "x-ms-requires-sync") == "true"
    assert header(copy, "x-ms-source-if-match") == '"0x1"'


def test_a_copy_by_entra_id_sends_the_token_for_its_source(play):
    store, server = play(blob(5), ok(202), **by_credential(Credential()))
    store.copy("a", "b")
    assert header(server.received[1], "x-ms-copy-source-authorization") == "Bearer canary-token-1"
    assert "?" not in str(header(server.received[1], "x-ms-copy-source"))


def test_a_copy_with_another_type_is_put_from_its_url(play):
    store, server = play(blob(5, ("Content-Type", "text/plain"), ("x-ms-meta-a", "1")), created('"0x3"'))
    assert store.copy("a", "a", attributes=Attributes(content_type="image/png")).etag == "0x3"
    put = server.received[1]
    assert header(put, "x-ms-blob-type") == "BlockBlob"
    assert header(put, "x-ms-copy-source-blob-properties") == "false"
    assert header(put, "x-ms-blob-content-type") == "image/png"
    assert header(put, "x-ms-meta-a") is None
    assert header(put, "x-ms-requires-sync") is None


def test_a_large_copy_goes_block_by_block(routed, monkeypatch):
    monkeypatch.setattr(copying, "_COPY_BLOCK", 4 * MIB)
    monkeypatch.setattr(copying, "MAX_SYNC_COPY", MIB)
    store, server = routed(("HEAD", blob(10 * MIB)), ("comp=blocklist", created('"0x8"')), ("comp=block", created()))
    info = store.copy("a", "b", if_absent=True)
    assert (info.etag, info.size) == ("0x8", 10 * MIB)
    staged = [each for each in server.received if b"blockid=" in each]
    ranges = sorted(str(header(each, "x-ms-source-range")) for each in staged)
    assert ranges == ["bytes=0-4194303", "bytes=4194304-8388607", "bytes=8388608-10485759"]
    assert all(header(each, "x-ms-source-if-match") == '"0x1"' for each in staged)
    [commit] = [each for each in server.received if b"blocklist" in each]
    assert header(commit, "if-none-match") == "*"


def test_a_source_that_changes_is_told(routed):
    store, _ = routed(("HEAD", blob(5)), ("PUT", refused(412, "SourceConditionNotMet")))
    with pytest.raises(ConnectionLostError, match="overwritten while it was copied"):
        store.copy("a", "b")


@pytest.mark.parametrize("ends", ["success", "failed", "aborted"])
def test_a_pending_copy_is_waited_for(routed, monkeypatch, ends):
    monkeypatch.setattr(copying, "MAX_SYNC_COPY", 1)
    monkeypatch.setattr(copying, "_LOOK", (0.001, 0.002))
    copy = ("x-ms-copy-id", "C1")
    target = [
        blob(5, copy, ("x-ms-copy-status", "pending")),
        blob(5, copy, ("x-ms-copy-status", "pending")),
        blob(5, copy, ("x-ms-copy-status", ends)),
    ]
    store, server = routed(
        ("HEAD /pics/a", blob(5)), ("HEAD /pics/b", target), ("PUT", ok(202, b"", copy, ("x-ms-copy-status", "pending"))), service="azurite",
    )  # fmt: skip
    if ends == "success":
        assert store.copy("a", "b").size == 5
    else:
        with pytest.raises(ConnectionLostError, match=ends):
            store.copy("a", "b")
    assert sum(line.startswith("HEAD /pics/b") for line in lines(server)) == 3


def test_a_pending_copy_that_is_cancelled_is_aborted(routed, monkeypatch):
    monkeypatch.setattr(copying, "MAX_SYNC_COPY", 1)
    monkeypatch.setattr(copying, "_LOOK", (0.001, 0.002))
    copy = ("x-ms-copy-id", "C1")
    store, server = routed(
        ("HEAD /pics/a", blob(5)), ("HEAD /pics/b", refused(403, "AuthorizationFailure")), ("comp=copy", ok(204)),
        ("PUT", ok(202, b"", copy, ("x-ms-copy-status", "pending"))), service="azurite",
    )  # fmt: skip
    with pytest.raises(PermissionDeniedError):
        store.copy("a", "b")
    [abort] = [each for each in server.received if b"comp=copy" in each]
    assert b"copyid=C1" in abort
    assert header(abort, "x-ms-copy-action") == "abort"


def test_a_new_head_moves_nothing_else(routed):
    store, server = routed(("HEAD", blob(10 * MIB)), ("comp=blocklist", created('"0x8"')), ("comp=block", created()))
    info = store.backend.replace_head("k", b"new head", 100, if_match="0x1")
    assert (info.etag, info.size) == ("0x8", 10 * MIB - 100 + 8)
    staged = [each for each in server.received if b"blockid=" in each]
    assert [each.partition(b"\r\n\r\n")[2] for each in staged] == [b"new head", b""]
    assert header(staged[1], "x-ms-source-range") == f"bytes=100-{10 * MIB - 1}"
    [commit] = [each for each in server.received if b"blocklist" in each]
    assert header(commit, "if-match") == '"0x1"'


# ---- listings


def page(*names, marker="", versions=()):
    rows = "".join(
        f"<Blob><Name>{name}</Name>{f'<VersionId>{version}</VersionId>' if version else ''}<Properties><Last-Modified>"
        f"Sun, 06 Nov 2044 08:49:37 GMT</Last-Modified><Etag>e</Etag><Content-Length>1</Content-Length></Properties></Blob>"
        for name, version in zip(names, versions or [""] * len(names), strict=True)
    )
    return ok(
        200, f"<EnumerationResults><Blobs>{rows}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>".encode()
    )


def test_pages_are_walked_by_their_markers(routed):
    store, server = routed(("marker=m%261", page("c", "d")), ("comp=list", page("a", "b", marker="m&amp;1")))
    assert [each.key for each in store.list()] == ["a", "b", "c", "d"]
    assert lines(server)[0] == "GET /pics?comp=list&restype=container"


def test_versions_are_newest_first(play):
    store, server = play(page("a", "a", "b", versions=["2026-01-01", "2026-01-02", "2026-01-01"]), versions="versions")
    assert [(each.key, each.version) for each in store.list(versions=True)] == [
        ("a", "2026-01-02"), ("a", "2026-01-01"), ("b", "2026-01-01"),
    ]  # fmt: skip
    assert "include=versions" in lines(server)[0]


def test_a_version_is_read_and_deleted_by_its_name(play):
    store, server = play(ok(200, b"x", ("x-ms-version-id", "V:1")), ok(202), versions="versions")
    assert store.get("k", version="V:1") == b"x"
    store.delete("k", version="V:1")
    assert lines(server) == ["GET /pics/k?versionid=V%3A1", "DELETE /pics/k?versionid=V%3A1"]


def test_a_version_of_an_impossible_name_is_not_there(play):
    store, _ = play(refused(400, "InvalidQueryParameterValue"), versions="versions")
    for read in (store.get, store.stat):
        with pytest.raises(NotFoundError):
            read("k", version="made-up")


def test_an_order_of_its_own_is_an_error(play):
    store, _ = play(page("a/b", "a-b"))
    with pytest.raises(IntegrityError, match="hierarchical namespace"):
        list(store.list())


def test_the_account_tells_that_it_has_folders(routed):
    store, _ = routed(
        ("comp=properties", ok(200, b"", ("x-ms-is-hns-enabled", "true"), ("x-ms-account-kind", "StorageV2"))),
        ("restype=container", ok(200)),
    )
    [finding] = [each for each in store.backend.check() if each.name == "account"]
    assert (finding.level, finding.advice) == ("warning", "open the storage with ordered=false")


# ---- deletes in batches


def batch_answer(*statuses):
    parts = [
        f"--B\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\nHTTP/1.1 {status} Word\r\n"
        f"x-ms-error-code: {code}\r\n\r\n\r\n"
        for number, (status, code) in enumerate(statuses)
    ]
    return ok(202, ("".join(parts) + "--B--").encode(), ("Content-Type", "multipart/mixed; boundary=B"))


def test_each_delete_of_a_batch_is_signed_and_answered(play):
    store, server = play(batch_answer((202, ""), (404, "BlobNotFound"), (403, "AuthorizationFailure")))
    found = {each.key: type(each.error) for each in store.delete_many(["a b", "gone", "mine", "silent"])}
    assert found == {"a b": type(None), "gone": type(None), "mine": PermissionDeniedError, "silent": IntegrityError}
    [request] = server.received
    assert lines(server) == ["POST /pics?comp=batch&restype=container"]
    assert request.count(b"authorization: SharedKey media:") == 1 + 4
    assert b"DELETE /pics/a%20b HTTP/1.1" in request
    assert request.count(b"x-ms-version") + request.count(b"X-Ms-Version") == 1, "only around the batch"


def test_a_batch_that_is_refused_is_every_keys_error(play):
    store, _ = play(refused(403, "AuthorizationFailure"))
    assert [type(each.error) for each in store.delete_many(["a", "b"])] == [PermissionDeniedError] * 2


# ---- links by a user

DELEGATION = (
    b"<UserDelegationKey><SignedOid>oid</SignedOid><SignedTid>tid</SignedTid><SignedStart>2026-01-01T00:00:00Z"
    b"</SignedStart><SignedExpiry>2026-01-08T00:00:00Z</SignedExpiry><SignedService>b</SignedService><SignedVersion>"
    b"2024-08-04</SignedVersion><Value>c2VjcmV0</Value></UserDelegationKey>"
)


def test_links_by_a_user_ask_for_a_key_once(play):
    store, server = play(ok(200, DELEGATION), **by_credential(Credential()))
    links = [store.presign("k", expires=600), store.presign("l", method="PUT", expires=600)]
    assert all("skoid=oid" in link and "sig=" in link for link in links)
    [request] = server.received
    assert lines(server) == ["POST /?comp=userdelegationkey&restype=service"]
    assert re.search(rb"<KeyInfo><Start>[0-9TZ:-]+</Start><Expiry>[0-9TZ:-]+</Expiry></KeyInfo>", request)
    with pytest.raises(ConfigError, match="7 days"):
        store.presign("k", expires=8 * 86400)


# ---- the rest


def test_scopes_are_named_in_writes(play):
    store, server = play(created(), ok(200, b"x"), encryption_scope="secret-scope")
    store.put("k", b"x")
    store.get("k")
    assert header(server.received[0], "x-ms-encryption-scope") == "secret-scope"
    assert header(server.received[1], "x-ms-encryption-scope") is None


def test_a_customers_key_is_in_every_request_about_content(tmp_path, opened):
    authority = Authority(tmp_path)
    key = base64.b64encode(bytes(range(32))).decode()
    copied = [blob(1), ok(200, b"x"), created()]
    steps = [created(), ok(200, b"x"), blob(1), *copied]
    with ScriptedServer(*[(Receive(), each) for each in steps], tls=authority.server()) as server:
        store = Storage(opened(server.url, encryption_key=Secret(key), ca_file=str(authority.ca_file)))
        store.put("k", b"x")
        store.get("k")
        store.stat("k")
        # The service cannot read what it has no key for.
        store.copy("k", "l")
    assert len(server.received) == 6
    for request in server.received:
        assert header(request, "x-ms-encryption-key") == key
        digest = hashlib.sha256(bytes(range(32))).digest()
        assert header(request, "x-ms-encryption-key-sha256") == base64.b64encode(digest).decode()
    assert key not in repr(store.backend.config)


def test_a_container_that_is_there_and_may_not_be_made(routed):
    store, _ = routed(("PUT", refused(403, "AuthorizationFailure")), ("HEAD", ok(200)))
    store.create()
    store, _ = routed(("PUT", refused(403, "AuthorizationFailure")), ("HEAD", ok(404)))
    with pytest.raises(PermissionDeniedError):
        store.create()


def test_versions_are_not_switched_here(play):
    store, server = play(ok(), versions="versions")
    with pytest.raises(UnsupportedError):
        store.create(versioning=True)
    assert server.received == []


@pytest.mark.parametrize(("status", "code"), [(503, "ServerBusy"), (500, "OperationTimedOut"), (500, "InternalError")])
def test_what_passes_is_asked_again(play, status, code):
    store, server = play(refused(status, code), ok(200, b"x"))
    assert store.get("k") == b"x"
    assert len(server.received) == 2


def test_nothing_is_asked_before_the_first_call(play):
    store, server = play((Receive(), Reset()))
    assert store.capabilities.if_absent
    assert "az://pics" in store.description
    assert server.received == []
