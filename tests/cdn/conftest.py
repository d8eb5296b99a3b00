"""CDNs over a storage in memory, a clock that stands still, an API that plays scripts, and an nginx that checks links."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

import mediagit_storage as mgs
from mediagit_storage.cdn import CDN
from mediagit_storage.http.retry import RetryPolicy, Rules
from mediagit_storage.secrets import Secret
from mediagit_storage.testing.emulators.kinds import free_ports
from mediagit_storage.testing.manual_clock import ManualClock
from mediagit_storage.testing.scripted_server import Receive, ScriptedServer, answer

#: Seconds since the Unix epoch.
NOW = 1_800_000_000

#: What breaks a URL that is put together carelessly.
HOSTILE = [
    "plain.png",
    "a/b/c.tar.gz",
    "a//b",
    "folder/",
    "what?.png",
    "#1.png",
    "100%.txt",
    "a%2Fb",
    "%2e%2e/x",
    "a+b c.txt",
    "a&b=c;d,e.txt",
    "quote'\"`.txt",
    "back\\slash",
    "[x]{y}<z>|^",
    "tilde~*!$@:()",
    "größe/日本/😀.jpg",
    "..a/b../c..d",
    ".hidden",
]


def pem_of(key) -> Secret:
    """A private key as a profile names it."""
    form = serialization.PrivateFormat.PKCS8
    return Secret(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode())


@pytest.fixture(scope="session")
def rsa_key():
    """A key of 2,048 bits."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def ec_key():
    """A key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def clock() -> ManualClock:
    """It is `NOW`."""
    return ManualClock(NOW)


@pytest.fixture
def quick(clock) -> Rules:
    """Three attempts, and no pause takes any time."""
    return Rules(RetryPolicy(), clock, clock.sleep, lambda: 0.5)


@pytest.fixture
def in_front(clock):
    """Puts a CDN in front of a storage in memory with these layers."""
    with ExitStack() as stack:

        def make(provider, *layers, url="memory://cdn-tests") -> CDN:
            store = stack.enter_context(mgs.open_storage(url, layers=layers))
            return stack.enter_context(CDN(store, provider, clock=clock))

        yield make


@pytest.fixture
def api():
    """A server that gives these answers, one for each request, over any number of connections."""
    with ExitStack() as stack:

        def play(*answers) -> ScriptedServer:
            left = list(answers)

            class Next:
                def play(self, conversation):
                    left.pop(0).play(conversation)

            return stack.enter_context(ScriptedServer([Receive(), Next()] * len(answers)))

        yield play


def told(body: str = "{}", status: int = 200, **fields: str):
    """An answer of JSON."""
    headers = [
        ("content-type", "application/json"),
        *((name.replace("_", "-"), value) for name, value in fields.items()),
    ]
    return answer(status, body.encode(), headers)


def asked(server, number=0) -> tuple[str, str, dict[str, str]]:
    """What was asked: the request line, the body, the fields."""
    head, _, body = server.received[number].decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    return first, body, {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


@pytest.fixture(scope="session")
def nginx(tmp_path_factory):
    """nginx over a folder: ``/open`` for all, ``/links`` with ``secure_link``, ``/bound`` with the client's address, too."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("there is no nginx: apt-get install nginx-light")
    [port] = free_ports(1)
    root = tmp_path_factory.mktemp("nginx")
    files = root / "files"
    files.mkdir()
    places = " ".join(
        f"{kind}_temp_path {root}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    checked = 'if ($secure_link = "") { return 403; } if ($secure_link = "0") { return 410; }'
    owner = "user root;" if os.geteuid() == 0 else ""
    (root / "nginx.conf").write_text(f"""
{owner} pid {root}/pid; error_log {root}/errors; worker_processes 1; daemon off; master_process off;
events {{ worker_connections 64; }}
http {{
  access_log off; {places} default_type application/octet-stream; merge_slashes off;
  server {{
    listen 127.0.0.1:{port};
    location /open/ {{ alias {files}/; }}
    location /links/ {{
      secure_link $arg_md5,$arg_expires; secure_link_md5 "$secure_link_expires$uri hush hush"; {checked}
      alias {files}/;
    }}
    location /bound/ {{
      secure_link $arg_md5,$arg_expires; secure_link_md5 "$secure_link_expires$uri$remote_addr hush hush"; {checked}
      alias {files}/;
    }}
  }}
}}
""")
    log = (root / "log").open("wb")
    server = subprocess.Popen(
        [program, "-p", str(root), "-c", str(root / "nginx.conf"), "-e", str(root / "errors")], stdout=log, stderr=log
    )
    try:
        deadline = time.monotonic() + 60
        while not (root / "pid").exists():
            assert server.poll() is None, (root / "log").read_text() + (root / "errors").read_text()
            assert time.monotonic() < deadline, "nginx does not start"
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}", Path(files)
    finally:
        server.terminate()
        server.wait(30)
        with closing(log):
            pass
