"""nginx with its own dav module (PUT, DELETE, MKCOL, COPY, MOVE) and dav-ext (PROPFIND), one worker, over a folder."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import Final

from mediagit_storage.testing.emulators.kinds import Launch, Place, Running, Server, free_ports, new_keys
from mediagit_storage.testing.emulators.raw_webdav import WEBDAV
from mediagit_storage.testing.emulators.sources import Debian, system_program

__all__ = ["NGINX_DAV"]

_MODULE: Final = Path("/usr/lib/nginx/modules/ngx_http_dav_ext_module.so")


def _prepare(place: Place) -> Launch:
    [port] = free_ports(1)
    user, password = new_keys()
    data = place.data
    for name in ("files", "temporary"):
        (data / name).mkdir(exist_ok=True)
    digest = base64.b64encode(hashlib.sha1(password.encode(), usedforsecurity=False).digest()).decode()
    (data / "users").write_text(f"{user}:{{SHA}}{digest}\n")
    (data / "nginx.conf").write_text(_settings(data, port))
    program = system_program("nginx") or "nginx"
    command = (program, "-p", str(data), "-c", str(data / "nginx.conf"), "-e", str(data / "errors"))
    return Launch(command, Running("nginx", f"http://127.0.0.1:{port}", user, password, speaks="webdav"))


def _settings(data: Path, port: int) -> str:
    owner = "user root;" if os.geteuid() == 0 else ""
    places = " ".join(
        f"{kind}_temp_path {data}/temporary/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
load_module {_MODULE};
{owner} pid {data}/pid; error_log {data}/errors; worker_processes 1; daemon off;
events {{ worker_connections 1024; }}
http {{
  access_log off; {places} keepalive_requests 1000000; client_max_body_size 0; default_type application/octet-stream;
  dav_ext_lock_zone zone=locks:1m;
  server {{
    listen 127.0.0.1:{port}; root {data}/files; auth_basic files; auth_basic_user_file {data}/users;
    location / {{
      dav_methods PUT DELETE MKCOL COPY MOVE; dav_ext_methods PROPFIND OPTIONS LOCK UNLOCK; dav_ext_lock zone=locks;
    }}
  }}
}}
"""


NGINX_DAV: Final = Server(
    "nginx",
    "nginx with dav and dav-ext",
    WEBDAV,
    Debian(packages=("nginx-light", "libnginx-mod-http-dav-ext"), programs=("nginx", str(_MODULE))),
    _prepare,
)
