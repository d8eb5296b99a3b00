"""The servers there are. Each is real software that speaks S3; see TESTING.md for what each of them can show.

==========  ======================================  ===========================================================
name        what it is                              how it gets here
==========  ======================================  ===========================================================
moto        a fake S3 in Python, complete, quick    packages from PyPI, pinned
seaweedfs   a distributed store                     a program in a package from PyPI
rclone      rclone's S3 over a folder               a program in a package from PyPI
localstack  the S3 of LocalStack                    packages from PyPI as they were in May 2025
minio       MinIO                                   a program on PATH or named by MINIO_BIN
==========  ======================================  ===========================================================
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from mediagit_storage.testing.emulators.kinds import Launch, Place, Running, Server, free_ports, new_keys
from mediagit_storage.testing.emulators.raw_s3 import Answer, call

__all__ = ["SERVERS", "NotReadyError"]


class NotReadyError(Exception):
    """The server answers, and not yet as it should."""


def _expect(answer: Answer, *statuses: int) -> None:
    if answer.status not in statuses:
        raise NotReadyError(f"{answer.status} {answer.body[:200]!r}")


def _answers(server: Running) -> None:
    """Ready when it lists its buckets."""
    _expect(call(server, "GET", timeout=5), 200)


def _stores(server: Running) -> None:
    """Ready when it has taken an object: some list their buckets long before they can store anything."""
    _expect(call(server, "PUT", "ready-probe", timeout=5), 200, 409)
    _expect(call(server, "PUT", "ready-probe/object", body=b"ready", timeout=5), 200)
    _expect(call(server, "DELETE", "ready-probe/object", timeout=5), 204)
    _expect(call(server, "DELETE", "ready-probe", timeout=5), 204)


def _moto(place: Place) -> Launch:
    [port] = free_ports(1)
    command = (place.program("moto_server"), "-H", "127.0.0.1", "-p", str(port))
    # Its users are made up by whoever asks: any keys do.
    access, secret = new_keys()
    return Launch(command, Running("moto", f"http://127.0.0.1:{port}", access, secret))


def _seaweedfs(place: Place) -> Launch:
    names = ("master", "volume", "filer", "s3")
    ports = free_ports(2 * len(names))
    given = dict(zip(names, ports, strict=False))
    access, secret = new_keys()
    config = place.data / "s3.json"
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    keys = [{"accessKey": access, "secretKey": secret}]
    config.write_text(json.dumps({"identities": [{"name": "admin", "credentials": keys, "actions": actions}]}))
    # Every bucket is a collection of volumes: one file each instead of seven, and room for many buckets.
    (place.data / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")
    (place.data / "store").mkdir(exist_ok=True)
    command = [place.program("weed"), "-logtostderr", f"-config_dir={place.data}", "server"]
    command += [f"-dir={place.data / 'store'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]
    command += ["-volume.max=2000", "-master.volumeSizeLimitMB=256", "-volume.preStopSeconds=0"]
    command += ["-master.electionTimeout=1s", "-master.heartbeatInterval=200ms"]
    command += ["-s3", f"-s3.config={config}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false"]
    # As S3 has it: folders are nothing of their own, and buckets come into being only when they are made.
    command += ["-s3.allowEmptyFolder=false", "-s3.autoCreateBucket=false"]
    # Every port is named: those left out are fixed numbers that somebody else may use.
    command += [f"-{name}.port={port}" for name, port in given.items()]
    command += [f"-{name}.port.grpc={port}" for name, port in zip(names, ports[len(names) :], strict=True)]
    becomes = Running("seaweedfs", f"http://127.0.0.1:{given['s3']}", access, secret)
    # Sockets that it makes outside of its folder and leaves behind.
    pairs = zip(names * 2, ports, strict=True)
    litter = [f"/tmp/seaweedfs-{name}{kind}-{port}.sock" for name, port in pairs for kind in ("", "-grpc")]  # noqa: S108
    return Launch(tuple(command), becomes, litter=tuple(litter))


def _rclone(place: Place) -> Launch:
    [port] = free_ports(1)
    access, secret = new_keys()
    folder = place.data / "buckets"
    folder.mkdir(exist_ok=True)
    command = [place.program("rclone"), "serve", "s3", str(folder), "--addr", f"127.0.0.1:{port}"]
    command += ["--auth-key", f"{access},{secret}", "--config", str(place.data / "rclone.conf")]
    command += ["--cache-dir", str(place.data / "cache"), "--vfs-cache-mode", "off"]
    return Launch(tuple(command), Running("rclone", f"http://127.0.0.1:{port}", access, secret))


def _localstack(place: Place) -> Launch:
    [port] = free_ports(1)
    environment = {
        "SERVICES": "s3",
        "EAGER_SERVICE_LOADING": "1",
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "LOCALSTACK_HOST": f"127.0.0.1:{port}",
        "FILESYSTEM_ROOT": str(place.data / "root"),
        # Nothing of it may look for the network.
        "DISABLE_EVENTS": "1",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "ALLOW_NONSTANDARD_REGIONS": "1",
        # It checks the signatures of links, if of nothing else.
        "S3_SKIP_SIGNATURE_VALIDATION": "0",
    }
    command = (place.program("python"), "-m", "localstack.runtime.main")
    return Launch(command, Running("localstack", f"http://127.0.0.1:{port}", "test", "test"), environment)


def _minio_program() -> str | None:
    named = os.environ.get("MINIO_BIN")
    return named if named and Path(named).is_file() else shutil.which("minio")


def _minio(place: Place) -> Launch:
    port, console = free_ports(2)
    access, secret = new_keys()
    command = [_minio_program() or "minio", "server", str(place.data / "store"), "--quiet"]
    command += ["--address", f"127.0.0.1:{port}", "--console-address", f"127.0.0.1:{console}"]
    environment = {"MINIO_ROOT_USER": access, "MINIO_ROOT_PASSWORD": secret, "MINIO_BROWSER": "off"}
    return Launch(tuple(command), Running("minio", f"http://127.0.0.1:{port}", access, secret), environment)


_ALL: Final = (
    Server("moto", "moto 5.2", _moto, _answers, pins="moto.txt"),
    Server("seaweedfs", "SeaweedFS 4.48", _seaweedfs, _stores, pins="seaweedfs.txt", grace=0.3),
    Server("rclone", "rclone 1.75 serve s3", _rclone, _answers, pins="rclone.txt"),
    Server("localstack", "LocalStack 4.4", _localstack, _answers, pins="localstack.txt", python_below=(3, 14)),
    Server(
        "minio", "MinIO", _minio, _stores, program=_minio_program,
        missing="put `minio` on PATH, name it by MINIO_BIN, or start it with docker compose",
    ),
)  # fmt: skip

#: Every server by its name.
SERVERS: Final[Mapping[str, Server]] = MappingProxyType({server.name: server for server in _ALL})
