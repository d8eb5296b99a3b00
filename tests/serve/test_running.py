"""The command that serves: what it says, what it refuses, and how it ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mediagit_storage.errors import ConfigError
from mediagit_storage.events import on_event
from mediagit_storage.serve.app import build
from mediagit_storage.serve.running import Listener, ListenOptions, is_loopback, room_for
from mediagit_storage.serve.secret_files import new_token, read_signer, read_token
from mediagit_storage.serve.settings import ServeSettings
from mediagit_storage.testing.command_line import call_mgs
from mediagit_storage.testing.covers import covers

SERVE = [sys.executable, "-m", "mediagit_storage", "serve"]


@contextlib.contextmanager
def _started(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, object]]]:
    """A gateway in a process of its own, and the line that it starts with."""
    words = [*SERVE, str(folder), "--port", "0", "--json", *options]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield process, json.loads(line)
        finally:
            process.kill()


def _ask(url: object, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection(str(url).removeprefix("http://"), timeout=60)) as connection:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "a.txt").write_text("hello")
    return tmp_path / "store"


@covers(240)
def test_by_default_this_machine_reads(folder: Path) -> None:
    with _started(folder, "--access-log") as (process, line):
        assert line == {"v": 1, "type": "serving", "url": line["url"], "access": "open", "writable": False}
        assert str(line["url"]).startswith("http://127.0.0.1:")
        assert _ask(line["url"], "/a.txt") == (200, b"hello")
        assert _ask(line["url"], "/b.txt", "PUT", b"x")[0] == 405
        assert _ask(line["url"], "/a.txt", Host="evil.example")[0] == 421
        assert _ask(line["url"], "/")[0] == 307
        assert _ask(line["url"], "/-/browse/")[0] == 200
        logged = [json.loads(process.stdout.readline()) for _ in range(3)]
        assert [(each["type"], each["target"], each["status"]) for each in logged] == [
            ("request", "/a.txt", 200), ("request", "/b.txt", 405), ("request", "/a.txt", 421),
        ]  # fmt: skip
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stderr.read() == ""


def test_a_storage_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    words = [*SERVE, str(tmp_path / "nothing"), "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip().removesuffix("/")
            said = process.stderr.readline()
            assert said.startswith(f"mgs: file://{tmp_path}/nothing cannot be read now: the folder")
            assert _ask(url, "/readyz")[0] == 503
        finally:
            process.kill()


@covers(240)
def test_who_writes_needs_the_token(folder: Path, tmp_path: Path) -> None:
    with _started(folder, "--write") as (process, line):
        bearer = {"Authorization": f"Bearer {line['token']}"}
        assert _ask(line["url"], "/b.txt", "PUT", b"x")[0] == 401
        assert _ask(line["url"], "/b.txt", "PUT", b"x", **bearer)[0] == 204
        assert (folder / "b.txt").read_bytes() == b"x"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    file = tmp_path / "token"
    with _started(folder, "--private", "--token-file", str(file)) as (process, line):
        assert "token" not in line
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert _ask(line["url"], "/a.txt")[0] == 401
        assert _ask(line["url"], "/a.txt", Authorization=f"Bearer {file.read_text().strip()}")[0] == 200


def test_the_end_waits_for_requests_and_not_for_ever(folder: Path) -> None:
    (folder / "large").write_bytes(bytes(30_000_000))
    with _started(folder, "--drain", "30") as (process, line):
        port = int(str(line["url"]).rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as reader:
            reader.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
            first = reader.recv(65536)
            process.send_signal(signal.SIGTERM)
            rest = 0
            while piece := reader.recv(1_000_000):
                rest += len(piece)
            assert len(first) + rest > 30_000_000
        assert process.wait(60) == 0
    with _started(folder, "--drain", "0") as (process, line):
        port = int(str(line["url"]).rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as reader:
            reader.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert reader.recv(65536)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


def test_a_port_that_is_taken(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = call_mgs("serve", folder, "--port", taken.getsockname()[1])
    assert done.code == 2
    assert "is in use: choose another one with --port" in done.err
    assert done.out == ""


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--private", "--public"], 2, "exclude each other"),
        (["--public-listing"], 2, "--public"),
        (["--link", "a"], 2, "--sign-key-file"),
        (["--host", "no.such.host.invalid", "--quiet", "--token-file", "t"], 2, "no address"),
        (["--write", "--quiet", "--port", "0"], 2, "--token-file"),
        (["--url", "files.example.org"], 2, "--url is an address"),
        (["--cors", "https://their.example/"], 2, "is no origin"),
        (["--server-name", "files.example.org:80"], 2, "no name of a server"),
        (["--sign-key-file", "k", "--link", "a/../b"], 2, "gives out no object of that name"),
    ],
)
def test_what_does_not_fit_together(
    folder: Path, tmp_path: Path, monkeypatch, options: list[str], code: int, words: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    if "--host" in options:
        monkeypatch.setattr("socket.getaddrinfo", refuse)
    done = call_mgs("serve", folder, *options, folder=tmp_path)
    assert done.code == code, done.err
    assert words in done.err


def test_who_it_is_for_is_told_to_the_gateway(folder: Path, monkeypatch) -> None:
    told: list[ServeSettings] = []

    def stop(_: object, settings: ServeSettings) -> None:
        told.append(settings)
        raise ConfigError("enough")

    monkeypatch.setattr("mediagit_storage.serve.app.build", stop)
    for options in ([], ["--public"], ["--url", "http://[::1]:80/", "--server-name", "Files.example.org"]):
        assert call_mgs("serve", folder, *options).code == 2
    assert [each.public for each in told] == [False, True, False]
    own = {"localhost", "127.0.0.1", "[::1]"}
    assert [each.hosts for each in told] == [own, own, {*own, "files.example.org"}]


@covers(243)
def test_a_missing_extra_is_named(folder: Path) -> None:
    program = (
        "import sys; sys.modules['uvicorn'] = None;"
        f"from mediagit_storage.cli.main import run; sys.exit(run(['serve', {os.fspath(folder)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'mediagit-storage[serve]'" in done.stderr


def test_links_are_made_where_they_are_checked(folder: Path, tmp_path: Path) -> None:
    keys = tmp_path / "links.key"
    with _started(folder, "--private", "--sign-key-file", str(keys), "--token-file", str(tmp_path / "t")) as (_, line):
        made = call_mgs("serve", folder, "--sign-key-file", keys, "--link", "a.txt", "--url", line["url"])
        assert made.code == 0, made.err
        assert made.lines[0].startswith(f"{line['url']}/-/o/a.txt?mgs-expires=")
        assert _ask(line["url"], made.lines[0].removeprefix(str(line["url"]))) == (200, b"hello")
        as_json = call_mgs("serve", folder, "--sign-key-file", keys, "--link", "a.txt", "--method", "put", "--json")
        assert as_json.records[0] | {"url": ""} == {
            "v": 1,
            "type": "link",
            "key": "a.txt",
            "method": "PUT",
            "expires_in": 3600,
            "url": "",
        }


# ---- the parts


@covers(240)
def test_files_of_secrets(tmp_path: Path) -> None:
    token = read_token(tmp_path / "new" / "token")
    assert stat.S_IMODE((tmp_path / "new" / "token").stat().st_mode) == 0o600
    assert read_token(tmp_path / "new" / "token") == token
    assert len(token.reveal()) >= 40
    assert token.reveal() not in repr(token)
    keys = tmp_path / "keys"
    keys.write_text(f"# of this year\n{new_token().reveal()}\n\n{new_token().reveal()}\n")
    heard = []
    with on_event(heard.append):
        assert repr(read_signer(keys)) == "<Signer of 2 secrets>"
    assert [event.kind for event in heard] == (["serve.readable_secret"] if keys.stat().st_mode & 0o077 else [])
    with pytest.raises(ConfigError, match="one token"):
        read_token(keys)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError):
        read_token(tmp_path / "file" / "below")
    empty = tmp_path / "empty"
    empty.write_text("# nothing\n")
    with pytest.raises(ConfigError):
        read_signer(empty)


@pytest.mark.parametrize(
    ("addresses", "loopback"),
    [(["127.0.0.1"], True), (["::1", "127.0.0.1"], True), (["0.0.0.0"], False), (["127.0.0.1", "10.0.0.1"], False)],
)
def test_what_is_loopback(monkeypatch, addresses: list[str], loopback: bool) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", (each, 0)) for each in addresses])
    assert is_loopback("a.name") is loopback


def test_a_listener_that_never_runs_or_is_stopped_twice(memory) -> None:
    gateway = build(memory, ServeSettings(console=False))
    listener = Listener(gateway, ListenOptions(port=0))
    with listener:
        assert listener.url == f"http://127.0.0.1:{listener.port}"
        assert _ask(listener.url, "/-/healthz") == (200, b"ok\n")
        listener.stop()
    listener.stop()
    with pytest.raises(ConfigError, match="in use"), socket.create_server(("127.0.0.1", 0)) as taken:
        Listener(gateway, ListenOptions(port=taken.getsockname()[1]))


def test_no_more_connections_than_the_process_has_descriptors_for(serve, memory, monkeypatch) -> None:
    memory.put("a", b"x")
    monkeypatch.setattr("mediagit_storage.serve.running.room_for", lambda connections: min(connections, 2))
    served = serve(memory)
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(served.connect()) for _ in range(5)]
        assert served.get("/a").body == b"x"
        assert idle[0].recv(1) == b""


def test_descriptors_for_connections(monkeypatch) -> None:
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr("resource.setrlimit", lambda _, limits: raised.append(limits))
    for limits, room in (
        ((1024, 4096), 1984),
        ((1024, 1024), 448),
        ((100, 100), 1),
        ((-1, -1), 2000),
        ((9999, 9999), 2000),
    ):
        monkeypatch.setattr("resource.getrlimit", lambda _, limits=limits: limits)
        assert room_for(2000) == room
    assert raised[0] == (4096, 4096)
