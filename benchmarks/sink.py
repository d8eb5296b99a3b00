"""A stand-in for S3 that answers faster than a client can ask: nginx, started for a block of code and always ended.

    python benchmarks/sink.py            # prints its addresses and runs until Ctrl-C

Objects are files under ``objects/BUCKET/KEY``, listings are pages made beforehand, and what is uploaded is read to its
last byte and forgotten. Signatures are not checked. Needs the Debian packages nginx-light and libnginx-mod-http-lua.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SMALL = 16 * 1024
LARGE = 1024 * 1024 * 1024
FILES = 10_000
PAGE = 1000
BUCKET = "bench"
LISTS = {"list-100k": 100_000, "list-1m": 1_000_000}
MODULES = Path("/usr/lib/nginx/modules")

CONFIGURATION = """
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
daemon off;
master_process off;     # one process, which ends when it is told to
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  keepalive_timeout 300;
  open_file_cache max=20000 inactive=1h;
  open_file_cache_valid 1h;
  default_type application/octet-stream;
  client_max_body_size 0;
  client_body_buffer_size 64m;
  client_body_temp_path {folder}/bodies;
  proxy_temp_path {folder}/unused;
  fastcgi_temp_path {folder}/unused;
  uwsgi_temp_path {folder}/unused;
  scgi_temp_path {folder}/unused;
  ssl_certificate {folder}/certificate.pem;
  ssl_certificate_key {folder}/key.pem;
  ssl_session_cache shared:sessions:1m;
  lua_code_cache on;

  # Requests that change something go to a door of their own; all others are answered from files.
  map $request_method $door {{ default ""; PUT /-put; POST /-post; DELETE /-delete; }}
  map $args $page {{
    default first;
    "~(^|&)max-keys=[12](&|$)" probe;     # who asks for one or two keys wants to know whether there are any
    "~(^|&)continuation-token=(?<token>[0-9a-f]+)" $token;
  }}

  server {{
    listen 127.0.0.1:{plain};
    listen 127.0.0.1:{secure} ssl;
    root {folder}/objects;
    if ($door) {{ rewrite ^ $door last; }}

    location / {{ }}
    location ~ ^/(?<bucket>[^/]+)/?$ {{
      default_type application/xml;
      root {folder}/lists;
      try_files /$bucket/$page.xml =404;
    }}
    location = /-delete {{ internal; return 204; }}
    location = /-put {{
      internal;
      content_by_lua_block {{
        ngx.req.read_body()     -- all of it, before the answer: else nobody's upload would be measured
        ngx.header["ETag"] = '"sunk"'
        ngx.header["Content-Length"] = 0
      }}
    }}
    location = /-post {{
      internal;
      content_by_lua_block {{
        ngx.req.read_body()
        ngx.header["Content-Type"] = "application/xml"
        local head = '<?xml version="1.0" encoding="UTF-8"?>'
        local function reply(name, inner)
          local text = head .. '<' .. name .. ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/">' .. inner .. '</' .. name .. '>'
          ngx.header["Content-Length"] = #text
          ngx.print(text)
        end
        local query = ngx.req.get_uri_args()
        if query["uploadId"] then
          reply("CompleteMultipartUploadResult", "<Bucket>bench</Bucket><Key>k</Key><ETag>&quot;sunk-2&quot;</ETag>")
        elseif query["delete"] then
          reply("DeleteResult", "")
        else
          reply("InitiateMultipartUploadResult", "<Bucket>bench</Bucket><Key>k</Key><UploadId>one</UploadId>")
        end
      }}
    }}
  }}
}}
"""


class Sink(NamedTuple):
    """A running server: ``url`` and ``secure_url`` without a bucket, ``certificate`` signs the second."""

    url: str
    secure_url: str
    certificate: Path


def file_key(number: int) -> str:
    """The key of one of the 10,000 small objects."""
    return f"files/{number % 100:02}/object-{number:05}.bin"


@contextlib.contextmanager
def running(folder: Path, *, large: bool = True, lists: bool = True) -> Iterator[Sink]:
    """The server, with its data in the empty folder ``folder``; it ends with the block or with this process."""
    if not shutil.which("nginx") or not (MODULES / "ngx_http_lua_module.so").exists():
        raise SystemExit("the sink needs nginx with Lua: apt-get install nginx-light libnginx-mod-http-lua")
    for name in ("objects", "lists", "bodies"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    make_certificate(folder)
    make_objects(folder / "objects" / BUCKET, large=large)
    make_lists(folder, lists=lists)
    plain, secure = free_ports()
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, modules=MODULES, plain=plain, secure=secure))
    line = ["nginx", "-p", folder, "-c", file]
    process = subprocess.Popen(line, preexec_fn=die_with_parent(), cwd=folder)  # noqa: PLW1509  # before any thread
    try:
        wait_until_ready(process, plain, f"/{BUCKET}/small.bin", SMALL)
        yield Sink(f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{secure}", folder / "certificate.pem")
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it, whatever it does."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def die_with_parent():
    """What makes the kernel end the server when this process dies, however it dies. Linux only."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(1, signal.SIGKILL)


def wait_until_ready(process: subprocess.Popen[bytes], port: int, path: str, size: int | None = None) -> None:
    """Until it answers a request of ``path``, with so many bytes."""
    deadline = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            if size in {None, len(connection.getresponse().read())}:
                return
        time.sleep(0.02)
    raise SystemExit(f"nginx did not come up (exit code {process.poll()})")


def free_ports() -> tuple[int, int]:
    """Two ports that nobody listens on."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def make_certificate(folder: Path) -> None:
    """A certificate for this machine, good for a day."""
    line = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "1",
    ]
    line += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    line += ["-addext", "basicConstraints=critical,CA:FALSE"]
    line += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run(line, check=True, capture_output=True)


def make_objects(bucket: Path, *, large: bool) -> None:
    """What can be read: 10,000 objects of 16 KiB, one more, and one of 1 GiB."""
    content = os.urandom(SMALL)
    for number in range(FILES):
        path = bucket / file_key(number)
        if number < 100:
            path.parent.mkdir(parents=True)
        path.write_bytes(content)
    (bucket / "small.bin").write_bytes(content)
    if large:
        block = os.urandom(1024 * 1024)
        with (bucket / "large.bin").open("wb") as file:
            file.writelines(block for _ in range(LARGE // len(block)))


def make_lists(folder: Path, *, lists: bool) -> None:
    """The pages of every listing, as files that are named by their continuation tokens."""
    objects = folder / "objects" / BUCKET
    modified = int((objects / "small.bin").stat().st_mtime)
    described = f"&quot;{modified:x}-{SMALL:x}&quot;", time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(modified))
    make_pages(folder / "lists" / BUCKET, sorted(file_key(number) for number in range(FILES)), described)
    for name, count in LISTS.items() if lists else ():
        make_pages(folder / "lists" / name, [f"obj/{number:07}.bin" for number in range(count)], described)


def make_pages(folder: Path, keys: list[str], described: tuple[str, str]) -> None:
    folder.mkdir(parents=True)
    tokens = ["first", *(hashlib.sha256(keys[start].encode()).hexdigest() for start in range(PAGE, len(keys), PAGE))]
    for number, token in enumerate(tokens):
        rest = tokens[number + 1 :][:1]
        (folder / f"{token}.xml").write_text(page(keys[number * PAGE :][:PAGE], described, *rest))
    (folder / "probe.xml").write_text(page(keys[:1], described, tokens[-1]))


def page(keys: list[str], described: tuple[str, str], following: str | None = None) -> str:
    etag, modified = described
    rows = "".join(
        f"<Contents><Key>{key}</Key><LastModified>{modified}</LastModified><ETag>{etag}</ETag><Size>{SMALL}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
        for key in keys
    )
    more = "false" if following is None else "true"
    token = "" if following is None else f"<NextContinuationToken>{following}</NextContinuationToken>"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>bucket</Name><Prefix></Prefix><KeyCount>{len(keys)}</KeyCount><MaxKeys>{PAGE}</MaxKeys>"
        f"<IsTruncated>{more}</IsTruncated>{token}{rows}</ListBucketResult>"
    )


def main() -> None:
    """Run until Ctrl-C."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with (
        contextlib.suppress(KeyboardInterrupt),
        tempfile.TemporaryDirectory(prefix="mgs-sink-") as folder,
        running(Path(folder)) as sink,
    ):
        print(sink.url, sink.secure_url, sink.certificate, flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
