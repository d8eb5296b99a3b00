"""What no real server shows when one wants to see it: odd answers, lies, locks, redirects, full disks."""

from __future__ import annotations

import pickle

import pytest

import mediagit_storage as mgs
from mediagit_storage.backends.webdav import WebDAVBackend
from mediagit_storage.errors import (
    BucketNotFoundError,
    CapacityError,
    ConfigError,
    ConnectionLostError,
    IntegrityError,
    KeyConflictError,
    NotFoundError,
    PermissionDeniedError,
    StorageError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)
from mediagit_storage.events import on_event
from mediagit_storage.secrets import Secret
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.scripted_server import Close, ReceiveHead, Send, answer
from mediagit_storage.types import ConnectionInfo

TIME = "Sun, 22 Nov 2026 00:42:16 GMT"


def resource(href, *, folder=False, size=4, etag='"e"', status=""):
    kind = "<collection/>" if folder else ""
    length = "" if folder else f"<getcontentlength>{size}</getcontentlength>"
    prop = f"<prop><resourcetype>{kind}</resourcetype>{length}<getetag>{etag}</getetag><getlastmodified>{TIME}</getlastmodified></prop>"
    return (
        f"<response><href>{href}</href><propstat>{prop}<status>HTTP/1.1 200 OK</status></propstat>{status}</response>"
    )


def listed(*resources):
    body = f'<multistatus xmlns="DAV:">{"".join(resources)}</multistatus>'.encode()
    return answer(207, body, [("Content-Type", "application/xml"), ("Connection", "close")])


def said(status, body=b"", **fields):
    headers = [(name.replace("_", "-"), value) for name, value in fields.items()]
    return answer(status, body, [*headers, ("Connection", "close")])


BASE = listed(resource("/dav/", folder=True))
FILE = listed(resource("/dav/k"))
FOLDER = listed(resource("/dav/k/", folder=True))
GONE = said(404)


def requests(server):
    return [each.split(b" HTTP/", 1)[0].decode() for each in server.received]


# ---- reading


def test_a_page_for_people_is_no_object(play):
    """Some servers show a listing in HTML where a folder is."""
    store, _ = play(said(200, b"<html>index of k</html>", content_type="text/html"), FOLDER, BASE)
    with pytest.raises(NotFoundError):
        store.get("k")


def test_a_missing_object_is_only_missing_in_a_storage_that_is_there(play):
    store, _ = play(GONE, BASE)
    with pytest.raises(NotFoundError) as caught:
        store.get("k")
    assert type(caught.value) is NotFoundError
    store, _ = play(GONE, GONE)
    with pytest.raises(BucketNotFoundError):
        store.get("k")


@covers(224)
def test_a_server_that_says_403_for_everything_proves_nothing(play):
    store, _ = play(said(403))
    for read in (store.get, store.stat, store.exists):
        with pytest.raises(PermissionDeniedError):
            read("k")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(play, me, status):
    """The credentials stay with the host that they were given for."""
    with pytest.MonkeyPatch.context():
        elsewhere = "http://127.0.0.1:9/dav/k"
        store, server = play(said(status, location=elsewhere), FILE, said(status, location=elsewhere), **me)
        with pytest.raises(ConfigError, match="elsewhere") as caught:
            store.get("k")
        assert "canary" not in str(caught.value)
        assert all(request.partition(" ")[2] == "/dav/k" for request in requests(server))


def test_an_answer_without_a_length_is_refused(play):
    store, _ = play((ReceiveHead(), Send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf"), Close()), attempts=1)
    with pytest.raises(IntegrityError):
        store.get("k")


def test_the_etag_of_the_answer_decides(play):
    store, server = play(said(200, b"body", etag='W/"now"', last_modified=TIME))
    assert store.get("k", if_match="now") == b"body"
    with pytest.raises(mgs.PreconditionError):
        store.get("k", if_match="before")
    with pytest.raises(mgs.NotModifiedError):
        store.get("k", if_none_match="now")
    assert b"If-Match" not in b"".join(server.received)


# ---- listings


@covers(223)
@pytest.mark.parametrize("href", ["/etc/passwd", "/dav/../secret", "http://evil.example/other/x", "/dav/%2e%2e/x"])
def test_a_listing_that_leads_elsewhere_is_an_error(play, href):
    store, _ = play(listed(resource("/dav/", folder=True), resource(href)))
    with pytest.raises(IntegrityError):
        [*store.list()]


@covers(223)
def test_references_of_every_form(play):
    hrefs = ["http://internal:81/dav/a", "/dav/b%20c", "d", "/dav/e%252F", "//other/dav/f"]
    store, server = play(listed(resource("/dav/", folder=True), *(resource(href) for href in hrefs)))
    assert [info.key for info in store.list()] == ["a", "b c", "d", "e%2F", "f"]
    assert requests(server) == ["PROPFIND /dav/"]


def test_what_cannot_be_a_key_is_left_out_and_told(play):
    store, _ = play(
        listed(resource("/dav/", folder=True), resource("/dav/a%2Fb"), resource("/dav/ok"), resource("/dav/deep/er"))
    )
    events = []
    with on_event(events.append):
        assert [info.key for info in store.list()] == ["ok"]
    assert [event.kind for event in events] == ["webdav.skipped"]


def test_one_file_that_the_server_cannot_read_is_left_out(play):
    store, _ = play(
        listed(
            resource("/dav/", folder=True),
            resource("/dav/ok"),
            "<response><href>/dav/bad</href><status>HTTP/1.1 403 No</status></response>",
        )
    )
    assert [info.key for info in store.list()] == ["ok"]


def test_a_file_in_the_place_of_a_folder_lists_nothing(play):
    store, _ = play(listed(resource("/dav/d")), BASE)
    assert [*store.list("d/")] == []


@covers(219)
def test_a_doctype_in_a_listing(play):
    body = b'<!DOCTYPE m [<!ENTITY x SYSTEM "file:///etc/passwd">]><multistatus xmlns="DAV:">&x;</multistatus>'
    store, _ = play(answer(207, body, [("Connection", "close")]))
    with pytest.raises(IntegrityError):
        [*store.list()]


def test_a_server_that_is_no_webdav_server(play):
    store, _ = play(said(405))
    with pytest.raises(UnsupportedError, match="WebDAV"):
        [*store.list()]


# ---- writing


def test_a_put_on_a_careful_server_takes_three_requests_and_a_look(play):
    look = listed(resource("/dav/up"))
    store, server = play(said(201), look, said(201), FILE, service="generic")
    assert store.put("k", b"body").etag == "e"
    first, second, third, fourth = requests(server)
    assert first.startswith("PUT /dav/~mgs-upload-")
    assert second == first.replace("PUT", "PROPFIND")
    assert third == first.replace("PUT", "MOVE")
    assert fourth == "PROPFIND /dav/k"
    move = server.received[2].decode()
    assert "Overwrite: F" in move.title() or "overwrite: F" in move
    assert f"{server.url}/dav/k" in move


def test_targets_can_be_named_by_their_path_alone(play):
    store, server = play(said(201), listed(resource("/dav/up")), said(201), FILE, service="generic", destination="path")
    store.put("k", b"body")
    assert b"destination: /dav/k\r\n" in server.received[2]


def test_an_upload_that_arrived_short_is_never_published(play):
    store, server = play(said(201), listed(resource("/dav/up", size=3)), said(204), service="generic")
    with pytest.raises(IntegrityError, match="3 bytes of 4"):
        store.put("k", b"body")
    assert [request.split()[0] for request in requests(server)] == ["PUT", "PROPFIND", "DELETE"]


def test_an_upload_that_vanished_is_an_error(play):
    store, server = play(said(201), GONE, BASE, said(204), service="generic")
    with pytest.raises(ConnectionLostError):
        store.put("k", b"body")
    assert "MOVE" not in {request.split()[0] for request in requests(server)}


def test_over_a_folder_there_is_never_a_move_that_overwrites(play):
    """It would delete everything in it."""
    up = listed(resource("/dav/up"))
    used = listed(resource("/dav/k/", folder=True), resource("/dav/k/inside"))
    store, server = play(said(201), up, said(412), FOLDER, FOLDER, used, said(204), service="generic")
    with pytest.raises(KeyConflictError):
        store.put("k", b"body")
    assert not [each for each in server.received if b"overwrite: T" in each]
    deleted = [request for request in requests(server) if request.startswith("DELETE")]
    assert len(deleted) == 1
    assert "~mgs-upload-" in deleted[0]


def methods(server):
    return [request.split()[0] for request in requests(server)]


def test_how_many_requests_a_put_takes(play):
    """Sent, seen whole, moved; over another object it is looked at first, and the second time nothing is tried in vain."""
    up = listed(resource("/dav/up"))
    once = [said(201), up, said(201)]
    over = [said(201), up, said(412), FILE, said(204)]
    again = [said(201), up, FILE, said(204)]
    store, server = play(*once, *over, *again, service="wsgidav")
    store.put("new", b"body")
    store.put("k", b"body")
    store.put("k", b"body")
    assert methods(server) == [
        *("PUT", "PROPFIND", "MOVE"),
        *("PUT", "PROPFIND", "MOVE", "PROPFIND", "MOVE"),
        *("PUT", "PROPFIND", "PROPFIND", "MOVE"),
    ]  # fmt: skip
    assert [b"overwrite: T" in each for each in server.received if each.startswith(b"MOVE")] == [
        False,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize("now", [FOLDER, GONE], ids=["a folder", "nothing"])
def test_what_was_written_before_need_not_be_there(play, now):
    """Then the careful MOVE decides, as ever."""
    up = listed(resource("/dav/up"))
    store, server = play(said(201), up, said(201), said(201), up, now, said(201), service="wsgidav")
    store.put("k", b"body")
    store.put("k", b"body")
    assert methods(server)[3:] == ["PUT", "PROPFIND", "PROPFIND", "MOVE"]
    assert not [each for each in server.received if b"overwrite: T" in each]


def test_a_look_whose_answer_broke_off_is_repeated(play):
    torn = answer(207, b'<multistatus xmlns="DAV:"><response>', [("Connection", "close")])
    store, server = play(torn, FILE)
    assert store.stat("k").size == 4
    assert methods(server) == ["PROPFIND", "PROPFIND"]
    store, _ = play(torn)
    with pytest.raises(StorageError):
        store.stat("k")


def test_each_attempt_has_a_name_of_its_own(play):
    """The first may still be being written when the second begins."""
    store, server = play(
        (ReceiveHead(), Close()), said(201), listed(resource("/dav/up")), said(201), said(204), FILE, service="generic"
    )
    store.put("k", b"body")
    names = [request.split()[1] for request in requests(server) if request.startswith(("PUT", "MOVE"))]
    assert names[0] != names[1] == names[2]
    assert f"DELETE {names[0]}" in requests(server)


@covers(21)
def test_a_server_that_wants_a_length_gets_one(play):
    """Refused before the body: it is put into a temporary file and sent again."""
    refusal = (ReceiveHead(), said(411), Close())
    store, server = play(GONE, refusal, said(201), listed(resource("/dav/k", size=2_000_000)))
    store.put("k", iter([bytes(1_000_000), bytes(1_000_000)]))
    assert b"content-length: 2000000" in server.received[2].lower()


def test_a_folder_that_others_make_at_the_same_moment(play):
    """The parent came after the server had looked for it, and then the folder: Apache answers 409, then 403."""
    above = listed(resource("/dav/a/", folder=True))
    made = listed(resource("/dav/a/b/", folder=True))
    written = listed(resource("/dav/a/b/k"))
    store, server = play(said(409), BASE, above, GONE, said(403), BASE, above, made, said(201), written)
    store.put("a/b/k", b"body")
    assert methods(server) == ["MKCOL", *["PROPFIND"] * 3, "MKCOL", *["PROPFIND"] * 3, "PUT", "PROPFIND"]


def test_a_folder_that_may_not_be_made(play):
    store, server = play(said(403), BASE, GONE, said(403), BASE, GONE)
    with pytest.raises(PermissionDeniedError):
        store.put("a/k", b"body")
    assert methods(server) == ["MKCOL", "PROPFIND", "PROPFIND"] * 2


def test_a_lock_of_somebody_else(play):
    store, _ = play(said(423), said(423), said(201), FILE)
    assert store.put("k", b"body").size == 4
    store, _ = play(said(423))
    with pytest.raises(UnavailableError, match="locked"):
        store.put("k", b"body")


@pytest.mark.parametrize(
    ("status", "kind"), [(507, CapacityError), (413, mgs.LimitExceededError), (403, PermissionDeniedError)]
)
def test_refused_uploads(play, status, kind):
    store, _ = play(said(status))
    with pytest.raises(kind):
        store.put("k", b"body")


def test_part_of_a_delete_that_failed(play):
    store, _ = play(FILE, listed("<response><href>/dav/k</href><status>HTTP/1.1 423 Locked</status></response>"))
    with pytest.raises(UnavailableError):
        store.delete("k")


def test_a_folder_is_never_deleted_by_its_key(play):
    store, server = play(FOLDER)
    store.delete("k")
    assert requests(server) == ["PROPFIND /dav/k"]


def test_nothing_is_sent_for_keys_that_no_path_has(play):
    store, server = play(BASE)
    for key in ("a//b", "a/../b", "/a", "a/"):
        with pytest.raises(NotFoundError):
            store.get(key)
        store.delete(key)
    assert set(requests(server)) <= {"PROPFIND /dav/"}


# ---- who is asking


def test_digest_after_basic_was_refused(play, me):
    challenge = 'Digest realm="r", nonce="n1", qop="auth", algorithm=SHA-256, Digest realm="r", nonce="n2", qop="auth"'
    store, server = play(
        said(401, www_authenticate=challenge), said(200, b"body", etag='"e"', last_modified=TIME), **me
    )
    assert store.get("k") == b"body"
    assert store.get("k") == b"body"
    kinds = [each.lower().partition(b"authorization: ")[2].split(b" ")[0] for each in server.received]
    assert kinds == [b"basic", b"digest", b"digest"]
    assert b"nc=00000001" in server.received[1]
    assert b"nc=00000002" in server.received[2]
    assert b"algorithm=SHA-256" in server.received[1]


def test_a_nonce_that_has_grown_old(play, me):
    first = 'Digest realm="r", nonce="n1", qop="auth"'
    stale = 'Digest realm="r", nonce="n2", qop="auth", stale=true'
    good = said(200, b"body", etag='"e"', last_modified=TIME)
    store, server = play(
        said(401, www_authenticate=first), good, said(401, www_authenticate=stale), good, auth="digest", **me
    )
    assert [store.get("k"), store.get("k")] == [b"body", b"body"]
    assert b'nonce="n2"' in server.received[3]


@pytest.mark.parametrize("challenge", ['Basic realm="x"', 'Digest realm="r", nonce="n", qop="auth"', "Negotiate", ""])
def test_a_wrong_password(play, me, challenge):
    fields = {"www_authenticate": challenge} if challenge else {}
    store, server = play(said(401, **fields), **me)
    for attempt in (lambda: store.get("k"), lambda: store.put("k", b"x"), lambda: [*store.list()]):
        with pytest.raises(UnauthenticatedError) as caught:
            attempt()
        assert "canary" not in str(caught.value) + repr(caught.value)
    assert len(server.received) <= 6, "a wrong password is not tried again and again"


def test_no_secret_shows_anywhere(opened, me):
    backend = opened("http://127.0.0.1:1", **me)
    store = mgs.Storage(backend)
    text = repr(backend) + repr(store) + repr(backend.config) + str(store.connection_info().to_json())
    with pytest.raises(StorageError) as caught:
        store.get("k")
    assert "canary" not in text + str(caught.value)
    with pytest.raises(TypeError):
        pickle.dumps(backend)


# ---- opening


def test_urls_and_environment():
    environ = {"WEBDAV_URL": "https://h.example/dav", "WEBDAV_USERNAME": "me", "WEBDAV_PASSWORD": "canary-hush"}
    for url, description in (
        ("davs://h.example/dav/x", "davs://h.example"),
        ("davs:///x", "davs://h.example/dav"),
        ("dav://127.0.0.1:81/x", "dav://127.0.0.1:81"),
    ):
        with mgs.open_storage(url, environ=environ) as store:
            assert store.description.startswith(description)
            inner = store.backend
            while not isinstance(inner, WebDAVBackend):
                inner = inner.inner
            assert (inner.config.password is not None) == ("127" not in url), (
                "a link from elsewhere gets no credentials"
            )


def test_from_env_says_what_is_missing():
    with pytest.raises(ConfigError, match="WEBDAV_URL"):
        WebDAVBackend.from_env({})
    with pytest.raises(ConfigError, match="WEBDAV_PASSWORD"):
        WebDAVBackend.from_env({"WEBDAV_URL": "https://h/x", "WEBDAV_USERNAME": "me"})


def test_it_opens_again_from_what_it_tells(monkeypatch):
    monkeypatch.setenv("WEBDAV_URL", "https://h.example/dav")
    monkeypatch.setenv("WEBDAV_USERNAME", "me")
    monkeypatch.setenv("WEBDAV_PASSWORD", "canary-hush")
    backend = WebDAVBackend.from_env()
    info = backend.connection_info()
    assert "canary" not in str(info.to_json())
    assert pickle.loads(pickle.dumps(backend)).connection_info() == info
    with mgs.open_storage(ConnectionInfo.from_json(info.to_json())) as store:
        assert store.connection_info() == info
    backend.close()


def test_plain_http_to_another_machine_is_refused():
    with pytest.raises(ConfigError, match="plain http"):
        mgs.open_storage("dav://files.example/x", environ={})
    with mgs.open_storage("dav://files.example/x?allow_http=true", environ={}) as store:
        assert store.description.startswith("dav://files.example")


def test_a_url_carries_no_password():
    with pytest.raises(ConfigError, match="never carries"):
        mgs.open_storage("davs://h.example/x?password=canary", environ={})


def test_opening_asks_nothing(play):
    store, server = play(BASE)
    assert store.capabilities.batch
    assert server.received == []


def test_what_a_server_is_not_known_for_is_refused_before_anything_is_sent(play):
    store, server = play(BASE, service="generic")
    for options in ({"if_absent": True}, {"if_match": "e"}, {"attributes": mgs.Attributes(content_type="x/y")}):
        with pytest.raises(UnsupportedError):
            store.put("k", b"x", **options)
    assert server.received == []


def test_check_only_looks(play):
    quota = b'<multistatus xmlns="DAV:"><response><href>/dav/</href><propstat><prop><quota-available-bytes>1000</quota-available-bytes><quota-used-bytes>5</quota-used-bytes></prop></propstat></response></multistatus>'
    store, server = play(
        BASE,
        said(200, dav="1, 2", server="rclone/v1.75", date=TIME, allow="OPTIONS, PUT, MOVE"),
        answer(207, quota, [("Connection", "close")]),
        service="generic",
    )
    findings = {each.name: each for each in store.check(write=False)}
    assert findings["quota"].level.value == "warning"
    assert "service=rclone" in findings["service"].advice
    assert {request.split()[0] for request in requests(server)} == {"PROPFIND", "OPTIONS"}


def test_username_may_be_a_secret(opened):
    assert opened("http://127.0.0.1:1", username=Secret("a"), password=Secret("b")).config.username == Secret("a")
