"""Apache httpd with mod_dav over a folder: ``/dav`` asks for Basic, ``/digest`` for Digest, to the same files."""

from __future__ import annotations

import base64
import hashlib
import os
import pwd
import shutil
from pathlib import Path
from typing import Final

from mediagit_storage.testing.emulators.kinds import Launch, Place, Running, Server, free_ports, new_keys
from mediagit_storage.testing.emulators.raw_webdav import WEBDAV
from mediagit_storage.testing.emulators.sources import Debian, system_program

__all__ = ["APACHE"]

_MODULES: Final = Path("/usr/lib/apache2/modules")
_LOADED: Final = (
    "mpm_event", "authn_core", "authn_file", "authz_core", "authz_user", "auth_basic", "auth_digest", "alias", "dir",
    "dav", "dav_fs",
)  # fmt: skip
_REALM: Final = "files"
#: It refuses to serve as root; these exist everywhere.
_USERS: Final = ("www-data", "nobody")


def _prepare(place: Place) -> Launch:
    [port] = free_ports(1)
    user, password = new_keys()
    data = place.data
    for name in ("files", "run"):
        (data / name).mkdir(exist_ok=True)
    digest = base64.b64encode(hashlib.sha1(password.encode(), usedforsecurity=False).digest()).decode()
    (data / "basic").write_text(f"{user}:{{SHA}}{digest}\n")
    secret = hashlib.md5(f"{user}:{_REALM}:{password}".encode(), usedforsecurity=False).hexdigest()
    (data / "digest").write_text(f"{user}:{_REALM}:{secret}\n")
    (data / "httpd.conf").write_text("\n".join([*_settings(data, port), *_handed_over(data)]) + "\n")
    command = (system_program("apache2") or "apache2", "-f", str(data / "httpd.conf"), "-DFOREGROUND")
    return Launch(command, Running("apache", f"http://127.0.0.1:{port}/dav", user, password, speaks="webdav"))


def _settings(data: Path, port: int) -> list[str]:
    lines = [f"LoadModule {name}_module {_MODULES}/mod_{name}.so" for name in _LOADED]
    lines += [f"ServerRoot {data}", f"PidFile {data}/run/pid", f"Mutex file:{data}/run", f"ErrorLog {data}/run/errors"]
    lines += [
        f"Listen 127.0.0.1:{port}",
        "ServerName 127.0.0.1",
        f"DocumentRoot {data}/run",
        f"DavLockDB {data}/run/locks",
    ]
    lines += ["KeepAlive On", "MaxKeepAliveRequests 0", "LimitRequestBody 0", "LimitXMLRequestBody 1048576"]
    lines += ["StartServers 1", "ThreadsPerChild 32", "MaxRequestWorkers 64", "ServerLimit 2"]
    lines += [f"Alias /dav {data}/files", f"Alias /digest {data}/files"]
    lines += [f"<Directory {data}/files>", "Dav On", "FileETag INode MTime Size", "Require valid-user", "</Directory>"]
    for path, kind in (("dav", "Basic"), ("digest", "Digest")):
        file = data / kind.lower()
        lines += [f"<Location /{path}>", f"AuthType {kind}", f"AuthName {_REALM}"]
        lines += [f"AuthUserFile {file}", f"Auth{kind}Provider file", "</Location>"]
    return lines


def _handed_over(data: Path) -> list[str]:
    """As root: files and process belong to somebody who is not."""
    if os.geteuid() != 0:
        return []
    name = next(each for each in _USERS if _exists(each))
    # The folder above was made for its owner alone.
    data.parent.chmod(0o711)
    data.chmod(0o711)
    for folder in ("files", "run"):
        shutil.chown(data / folder, name)
    group = pwd.getpwnam(name).pw_gid
    return [f"User {name}", f"Group #{group}"]


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


APACHE: Final = Server(
    "apache",
    "Apache mod_dav",
    WEBDAV,
    Debian(packages=("apache2-bin",), programs=("apache2", str(_MODULES / "mod_dav_fs.so"))),
    _prepare,
)
