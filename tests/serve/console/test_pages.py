"""The console over a gateway that runs: who sees what, what every answer carries, and what is said when things fail."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import threading
from typing import NamedTuple
from urllib.parse import quote, urlencode

import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

import mediagit_storage as mgs
from mediagit_storage import errors
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.secrets import Secret
from mediagit_storage.serve.app import build
from mediagit_storage.serve.console import routes
from mediagit_storage.serve.console.failing import failure_of
from mediagit_storage.serve.console.replies import policy
from mediagit_storage.serve.links import Signer
from mediagit_storage.serve.settings import ServeSettings
from mediagit_storage.storage import Storage
from mediagit_storage.testing.console.samples import HOSTILE, fill
from mediagit_storage.types import Attributes, Checksum

from .pages import Document

TOKEN = "a token that nobody guesses"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
BASIC = {"Authorization": "Basic " + base64.b64encode(f"me:{TOKEN}".encode()).decode()}
WRITABLE = {"console": True, "writable": True, "token": Secret(TOKEN)}


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture
def samples(memory):
    """A storage with something of everything."""
    fill(memory)
    return memory


def document(answer, status: int = 200) -> Document:
    """The page that came, which is one."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return Document(answer.body.decode())


def paths(store: Storage) -> list[str]:
    """Pages of every kind."""
    views = [f"/-/view/{quote(info.key)}" for info in store.list() if not info.key.startswith("many/")]
    folders = ["", "projects/", "projects/iceland/stills/", "hostile/", "many/", "none/"]
    searches = [
        "/-/browse/?q=a",
        "/-/browse/?q=a&in=contains",
        "/-/browse/?q=%22%3E%3Cb%3E&in=contains",
        "/-/browse/many/?after=many/frame-00100.dpx",
    ]
    more = ["/-/health", "/-/view/none", "/-/none", "/-/view/LICENSE?versions=1", "/-/view/logo.svg?large=1"]
    return [*(f"/-/browse/{folder}" for folder in folders), *searches, *views, *more]


def test_every_page_is_strict_and_whole(serve, samples):
    """Each is well-formed, has one heading, names for everything that can be used, and nothing that a policy would stop."""
    served = serve(samples, **WRITABLE)
    nonces: list[str] = []
    for path in paths(samples):
        answer = served.get(path)
        page = document(answer, 404 if "none" in path.rpartition("-/")[2].split("/") and "browse" not in path else 200)
        (nonce,) = {values["nonce"] for tag, values in page.elements if "nonce" in values}
        assert answer.headers["content-security-policy"] == policy(nonce)
        sheets = [values for values, _ in page.all("link") if values["rel"] == "stylesheet"]
        assert {values["nonce"] for values in [*sheets, *(values for values, _ in page.all("script"))]} == {nonce}
        nonces.append(nonce)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "private, no-cache"
        assert len(page.all("h1")) == 1, path
        ids = [values["id"] for _, values in page.elements if "id" in values]
        assert len(ids) == len(set(ids))
        for tag, values in page.elements:
            assert not [name for name in values if name.startswith("on") or name == "style"], (path, tag, values)
            for name in ("src", "href", "action", "data-url", "data-back", "data-to"):
                url = values.get(name) or "/"
                assert url.startswith(("/-/", "#")) or url == "/", (path, tag, url)
        for values, text in page.all("script"):
            assert values["src"]
            assert text == ""
        assert page.all("style") == []
        assert all("alt" in values for values, _ in page.all("img"))
        named = {values["for"] for values, _ in page.all("label") if "for" in values}
        for values, text in page.all("input") + page.all("button"):
            inside = values.get("type") in {"radio", "checkbox", "hidden"}
            assert (
                text.strip()
                or inside
                or values.get("aria-label")
                or values.get("id") in named
                or "aria-hidden" in values
            ), values
        for values, _ in page.all("dialog"):
            assert values["aria-labelledby"] in ids
    assert len(set(nonces)) == len(nonces), "a nonce that comes twice can be known beforehand"


def test_names_and_contents_that_mean_harm_are_text(serve, samples):
    served = serve(samples, console=True)
    page = document(served.get("/-/browse/hostile/"))
    names = {text for _, text in page.all("a", class_="entry")}
    assert "<img src=x onerror=alert(1)>.svg" in names
    assert "\\u202egpj.exe" in names
    for key, content in HOSTILE.items():
        page = document(served.get(f"/-/view/{quote(key)}"))
        assert [values["src"] for values, _ in page.all("script") if not values["src"].startswith("/-/static/")] == []
        if not key.endswith(".svg"):
            assert page.one("pre")[1] == content
        details = page.one("section", class_="details")[1]
        assert key.replace("\u202e", "\\u202e") in details


def test_strange_keys_of_other_software_are_seen(serve):
    """Dots and empty segments, line ends, bytes that are no UTF-8: listed, opened, and not given out as links that fail."""
    store = Storage(MemoryBackend(), keys="raw")
    keys = ["a/../b", "./c", "d//e", "folder/", "line\nend", "/rooted", "caf\u00e9", "tab\t"]
    for key in keys:
        store.put(key, b"in it")
    served = serve(store, console=True)
    seen, todo = [], ["/-/browse/"]
    while todo:
        for values, _ in document(served.get(todo.pop())).all("a", class_="entry"):
            if values["href"].startswith("/-/browse/"):
                todo.append(values["href"])
            else:
                page = document(served.get(values["href"]))
                assert page.one("pre")[1] == "in it"
                seen.append(values["href"])
                for link, _ in page.all("a", download=None):
                    assert link
                downloads = [each for each, _ in page.all("a", class_="primary")]
                assert [served.get(each["href"]).status for each in downloads] == [200] * len(downloads)
    assert len(seen) == len(keys)


def test_files_of_the_console_may_be_kept_and_no_other_is_given_out(serve, memory):
    served = serve(memory, console=True)
    page = document(served.get("/-/browse/"))
    urls = [values["src"] for values, _ in page.all("script")] + [values["href"] for values, _ in page.all("link")]
    for url in urls:
        answer = served.get(url)
        assert (answer.status, answer.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert served.ask("HEAD", url).headers["content-length"] == str(len(answer.body))
        release, _, name = url.rpartition("/")
        for wrong in (f"/-/static/{name}", f"{release}/../{name}", f"{release}/__init__.py", f"{release}/"):
            assert served.get(wrong).status == 404
    assert served.ask("POST", "/-/browse/").status == 405
    assert served.ask("GET", "/-/api/token").headers["allow"] == "POST"
    assert served.get("/-/").headers["location"] == "/-/browse/"


# ---- who sees what


def test_a_gateway_that_reads_with_a_token_shows_its_console_with_it(serve, samples):
    served = serve(samples, console=True, reads="token", token=Secret(TOKEN), signer=Signer([Secret("s" * 32)]))
    for path in ("/-/browse/", "/-/view/LICENSE", "/-/health", "/-/api/status"):
        refused = served.get(path)
        assert "Basic" in refused.headers["www-authenticate"]
        assert b"LICENSE" not in refused.body.replace(b"/-/view/LICENSE", b"")
        document(refused, 401)
        for right in (BEARER, BASIC):
            assert served.ask("GET", path, right).status == 200
    # A link that lends the right to read this one object.
    assert len(document(served.ask("GET", "/-/view/LICENSE", BASIC)).all("button", data_sign="LICENSE")) == 1
    form = urlencode({"key": "LICENSE"}).encode()
    assert served.ask("POST", "/-/api/link", body=form).status == 401
    link = json.loads(served.ask("POST", "/-/api/link", BASIC, form).body)["url"]
    assert served.get(link).body.startswith(b"Everybody may")
    assert served.get(link.replace("LICENSE", "logo.svg")).status == 403
    assert served.ask("POST", "/-/api/link", BASIC, b"key=" + b"x" * 9000).status == 413
    assert served.ask("POST", "/-/api/link", BASIC, b"").status == 400


def test_links_are_offered_only_where_they_lend_something(serve, samples):
    served = serve(samples, console=True, signer=Signer([Secret("s" * 32)]))
    assert b"data-sign" not in served.get("/-/view/LICENSE").body
    assert served.ask("POST", "/-/api/link", body=b"key=LICENSE").status == 404


def test_a_gateway_without_lists_has_no_console(serve, samples):
    served = serve(samples, console=True, listing=False)
    for path in ("/-/browse/", "/-/view/LICENSE", "/-/health", "/-/api/status"):
        page = document(served.get(path), 403)
        assert page.one("h1")[1] == "This gateway shows no lists"


def test_nothing_to_change_where_nothing_can_be_changed(serve, samples):
    served = serve(samples, console=True)
    for path in ("/-/browse/", "/-/view/LICENSE"):
        page = document(served.get(path))
        for name in ("upload", "delete", "token", "conflict", "deletion", "uploads"):
            assert not [values for _, values in page.elements if values.get("id") == name], name
        assert not [values for values, _ in page.all("script") if "upload" in values["src"]]


def test_the_token_is_tried_without_a_password_window(serve, memory):
    """Never a 401, at which a browser opens a window of its own; and pages of other sites are told nothing."""
    served = serve(memory, **WRITABLE)
    cases = [({}, False), ({"Authorization": "Bearer wrong"}, False), (BEARER, True)]
    cases += [
        ({**BEARER, "Origin": "https://evil.example"}, False),
        ({**BEARER, "Sec-Fetch-Site": "cross-site"}, False),
    ]
    for headers, accepted in cases:
        answer = served.ask("POST", "/-/api/token", headers)
        assert (answer.status, json.loads(answer.body)["accepted"]) == (200, accepted)


def test_what_a_browser_adds_to_an_upload_is_not_stored(serve, memory):
    """It sends a Cache-Control of its own with every PUT, which would keep the object out of every cache."""
    served = serve(memory, **WRITABLE)
    origin = {"Origin": served.url, "Cache-Control": "max-age=0"}
    for headers, kept in (
        (origin, None),
        ({**origin, "Cache-Control": "max-age=60"}, "max-age=60"),
        ({"Cache-Control": "max-age=0"}, "max-age=0"),
    ):
        assert served.ask("PUT", "/-/o/a", {**BEARER, **headers}, b"x").status == 204
        assert memory.stat("a").attributes.cache_control == kept


# ---- one object


def test_all_that_is_known_of_an_object_is_shown(serve, memory):
    attributes = Attributes(
        "text/x-odd", "max-age=60", None, 'attachment; filename="x"', {"camera": "<b>", "note": "\u202e"}, "COLD", {"t&g": "1"},
    )  # fmt: skip
    info = memory.put(
        "a/b.txt",
        b"12345",
        attributes=attributes,
        checksum=Checksum("md5", hashlib.md5(b"12345").digest()),
    )
    assert info.size == 5
    served = serve(memory, console=True)
    shown = document(served.get("/-/view/a/b.txt")).one("section", class_="details")[1]
    for text in (
        "a/b.txt",
        "5 bytes",
        "text/x-odd",
        "max-age=60",
        "attachment",
        "camera",
        "<b>",
        "\\u202e",
        "COLD",
        "t&g",
    ):
        assert text in shown
    tag = served.get("/-/o/a/b.txt").headers["etag"]
    assert tag in shown


def test_versions_are_shown_and_old_ones_read(serve):
    backend = MemoryBackend()
    backend.create(versioning=True)
    store = Storage(backend)
    for text in ("first", "second"):
        store.put("a.txt", text.encode())
    served = serve(store, **WRITABLE)
    link, _ = document(served.get("/-/view/a.txt")).one("a", href="/-/view/a.txt?versions=1#versions")
    page = document(served.get(link["href"].partition("#")[0]))
    versions = [values["href"] for values, _ in page.all("a") if "?version=" in values["href"]]
    assert len(versions) == 2
    old = document(served.get(versions[1]))
    assert old.one("pre")[1] == "first"
    # The gateway gives out and deletes the current one only.
    assert not old.all("button", id="delete")
    assert not [values for values, _ in old.all("a") if values["href"].startswith("/-/o/")]
    assert served.get("/-/view/a.txt?version=none").status == 404


def test_what_is_large_is_shown_when_asked_for(serve, memory):
    memory.put("huge.png", bytes(34_000_000))
    memory.put("long.txt", b"x" * 300_000)
    served = serve(memory, console=True)
    page = document(served.get("/-/view/huge.png"))
    assert not page.all("img")
    link, _ = page.one("a", href="/-/view/huge.png?large=1")
    assert document(served.get(link["href"])).one("img")[0]["src"] == "/-/o/huge.png"
    page = document(served.get("/-/view/long.txt"))
    assert len(page.one("pre")[1]) == 256 * 1024
    assert "The first 262 kB of 300 kB" in page.one("p", class_="note")[1]
    assert not document(served.get("/-/browse/")).all("img"), "no thumbnail of a large picture"


# ---- searching and paging


def test_a_search_keeps_its_words_from_page_to_page(serve, samples):
    served = serve(samples, console=True)
    page = document(served.get("/-/browse/many/?q=FRAME&in=contains"))
    assert page.one("input", type="search")[0]["value"] == "FRAME"
    assert [values["value"] for values, _ in page.all("input", type="radio") if "checked" in values] == ["contains"]
    names = [text for _, text in page.all("a", class_="entry")]
    while more := page.all("a", id="more"):
        page = document(served.get(more[0][0]["href"]))
        names += [text for _, text in page.all("a", class_="entry")]
    assert names == [f"frame-{index:05}.dpx" for index in range(450)]


def test_nothing_is_uploaded_where_it_would_land_elsewhere(serve, memory):
    """A browser resolves dots, and what is no folder is no place to drop files into."""
    served = serve(memory, **WRITABLE)
    for path, offered in (
        ("", 1),
        ("a/b/", 1),
        ("a%20b/", 1),
        ("a", 0),
        ("?prefix=a/../", 0),
        ("?prefix=./", 0),
        ("/", 0),
        ("a%0Ab/", 0),
    ):
        page = document(served.get(f"/-/browse/{path}"))
        assert len(page.all("button", id="upload")) == len(page.all("section", id="uploads")) == offered, path


def test_a_folder_with_dots_is_searched_in(serve):
    """The query of a form's own address is dropped by browsers, and such a folder stands there."""
    store = Storage(MemoryBackend(), keys="raw")
    store.put("a/../x1", b"")
    store.put("a/../y1", b"")
    served = serve(store, console=True)
    page = document(served.get("/-/browse/?prefix=a/../"))
    form = {
        values["name"]: values["value"] for values, _ in page.all("input") if values.get("type") in {"hidden", "search"}
    }
    action = page.one("form", class_="search")[0]["action"].partition("?")[0]
    found = document(served.get(f"{action}?{urlencode({**form, 'q': 'y'})}"))
    assert [text for _, text in found.all("a", class_="entry")] == ["y1"]


@pytest.mark.parametrize(
    "query", ["after=%ff", "q=%ff", "q=%ff&in=contains", "prefix=%ff%00", "q=" + "a&b=c" * 30, "after=" + "x" * 5000]
)
def test_any_query_is_answered(serve, memory, tmp_path, query):
    """With a page, whatever bytes it holds."""
    memory.put("a", b"")
    (tmp_path / "a").write_bytes(b"")
    with mgs.open_storage(str(tmp_path)) as local:
        for store in (memory, local):
            document(asked(store.backend, f"/-/browse/?{query}"))


# ---- when things go wrong

TROUBLES = [
    (errors.BucketNotFoundError, 502), (errors.NotFoundError, 404), (errors.InvalidKeyError, 400), (errors.UnauthenticatedError, 502),
    (errors.PermissionDeniedError, 502), (errors.ThrottledError, 503), (errors.StorageTimeoutError, 504), (errors.ConnectionLostError, 503),
    (errors.KeyUnavailableError, 502), (errors.ChecksumError, 502), (errors.UnsupportedError, 501), (errors.StorageError, 502),
    (RuntimeError, 500), (ZeroDivisionError, 500),
]  # fmt: skip


class Sick(MemoryBackend):
    """Fails every listing with one error."""

    error: Exception = errors.StorageError("never used")

    def list_dir(self, prefix, options):
        raise self.error


def asked(backend: MemoryBackend, path: str, **options) -> Answer:
    """One GET of a console over a storage, without a server."""
    gateway = build(Storage(backend), ServeSettings(), CollectorRegistry())
    app = Starlette(routes=routes(gateway.context, **options))
    path, _, query = path.partition("?")
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "server": ("x", 80), "root_path": "",
        "path": path, "raw_path": path.encode(), "query_string": query.encode(), "headers": [],
    }  # fmt: skip
    sent: list[dict] = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    try:
        asyncio.run(app(scope, receive, send))
    finally:
        if isinstance(backend, Stuck):
            backend.let_go.set()
        gateway.close()
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], headers, b"".join(each.get("body", b"") for each in sent[1:]))


@pytest.mark.parametrize(("kind", "status"), TROUBLES)
def test_a_failure_is_a_page_without_the_storages_own_words(kind, status):
    backend = Sick()
    backend.error = kind("secret.internal:9000 said 0xBAD")
    answer = asked(backend, "/-/browse/?q=x%22")
    page = document(answer, status)
    assert page.one("h1")[1] == failure_of(backend.error).title
    assert page.one("p", class_="status")[1] == f"Error {status}"
    assert b"0xBAD" not in answer.body
    assert b"Traceback" not in answer.body
    again = [values["href"] for values, text in page.all("a") if text == "Try again"]
    assert again == (["/-/browse/?q=x%22"] if failure_of(backend.error).again else [])
    assert ("retry-after" in answer.headers) == (status == 503)


class Stuck(MemoryBackend):
    """Does not answer, and does not heed a time limit, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def list_dir(self, prefix, options):
        self.let_go.wait(60)
        return super().list_dir(prefix, options)


def test_a_storage_that_hangs_is_told_of_in_time():
    page = document(asked(Stuck(), "/-/browse/", patience=0.05), 504)
    assert page.one("h1")[1] == "The storage takes too long to answer"


def test_a_form_that_does_not_come_is_not_waited_for():
    settings = ServeSettings(reads="token", token=Secret(TOKEN), signer=Signer([Secret("s" * 32)]))
    gateway = build(Storage(MemoryBackend()), settings, CollectorRegistry())
    app = Starlette(routes=routes(gateway.context, patience=0.05))
    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "server": ("x", 80), "root_path": "",
        "path": "/-/api/link", "raw_path": b"/-/api/link", "query_string": b"",
        "headers": [(b"authorization", BEARER["Authorization"].encode())],
    }  # fmt: skip
    sent: list[dict] = []

    async def send(message):
        sent.append(message)

    async def receive():
        await asyncio.Event().wait()

    asyncio.run(app(scope, receive, send))
    gateway.close()
    assert sent[0]["status"] == 408


def test_health_and_numbers(serve, samples):
    served = serve(samples, **WRITABLE)
    served.get("/-/view/LICENSE")
    served.get("/-/o/none")
    page = document(served.get("/-/health"))
    assert page.one("p", id="state")[1] == "Everything answers"
    assert "1 refused" in page.one("p", data_text="errors")[1]
    told = json.loads(served.get("/-/api/status").body)
    assert told["ready"] is True
    assert told["requests"] >= 3
    assert told["errors"] == 0
    assert told["sent"] > 1000
    assert [each["up"] for each in told["backends"]] == [True]
    assert set(told["texts"]) == {values["data-text"] for _, values in page.elements if "data-text" in values}
    assert {"requests", "errors", "sent", "received", "latency"} == {
        values["data-line"] for _, values in page.elements if "data-line" in values
    }


def test_a_storage_that_is_down_is_told_to_be(serve):
    class Down(MemoryBackend):
        def stat(self, key, version=None):
            raise errors.ConnectionLostError("secret.internal said 0xBAD")

    served = serve(Storage(Down()), console=True)
    answer = served.get("/-/health")
    page = document(answer)
    assert page.one("p", id="state")[1] == "The storage does not answer"
    assert "mgs check" in answer.body.decode()
    assert b"0xBAD" not in answer.body
    told = json.loads(served.get("/-/api/status").body)
    assert (told["ready"], told["backends"][0]["up"]) == (False, False)
