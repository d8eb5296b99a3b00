"""The servers there are, a file each. Each is real software; see TESTING.md for what each of them can show.

===============  ======================================  ===========================================================
name             what it is                              how it gets here
===============  ======================================  ===========================================================
moto             a fake S3 in Python, complete, quick    packages from PyPI, pinned
seaweedfs        a distributed store, by its S3          a program in a package from PyPI
rclone           rclone's S3 over a folder               a program in a package from PyPI
localstack       the S3 of LocalStack                    packages from PyPI as they were in May 2025
minio            MinIO                                   a program on PATH or named by MINIO_BIN
azurite          Microsoft's emulator of Azure's blobs   a package of npm, pinned
fake-gcs-server  a fake Google Cloud Storage             a program in a package from PyPI
wsgidav          WsgiDAV on cheroot: WebDAV in Python    packages from PyPI, pinned
rclone-webdav    rclone's WebDAV over a folder           a program in a package from PyPI
apache           Apache httpd with mod_dav               packages of Debian
nginx            nginx with dav and dav-ext              packages of Debian
===============  ======================================  ===========================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mediagit_storage.testing.emulators.kinds import Server
from mediagit_storage.testing.emulators.servers.apache import APACHE
from mediagit_storage.testing.emulators.servers.azurite import AZURITE
from mediagit_storage.testing.emulators.servers.fake_gcs_server import FAKE_GCS_SERVER
from mediagit_storage.testing.emulators.servers.localstack import LOCALSTACK
from mediagit_storage.testing.emulators.servers.minio import MINIO
from mediagit_storage.testing.emulators.servers.moto import MOTO
from mediagit_storage.testing.emulators.servers.nginx_dav import NGINX_DAV
from mediagit_storage.testing.emulators.servers.rclone import RCLONE
from mediagit_storage.testing.emulators.servers.rclone_webdav import RCLONE_WEBDAV
from mediagit_storage.testing.emulators.servers.seaweedfs import SEAWEEDFS
from mediagit_storage.testing.emulators.servers.wsgidav import WSGIDAV

__all__ = ["SERVERS"]

_ALL: Final = (
    MOTO,
    SEAWEEDFS,
    RCLONE,
    LOCALSTACK,
    MINIO,
    AZURITE,
    FAKE_GCS_SERVER,
    WSGIDAV,
    RCLONE_WEBDAV,
    APACHE,
    NGINX_DAV,
)

#: Every server by its name.
SERVERS: Final[Mapping[str, Server]] = MappingProxyType({server.name: server for server in _ALL})
