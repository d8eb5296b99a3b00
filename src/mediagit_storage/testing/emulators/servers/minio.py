"""MinIO: no package brings it, so that it runs where its program is on PATH or named by MINIO_BIN."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from mediagit_storage.testing.emulators.kinds import Launch, Place, Running, Server, free_ports, new_keys
from mediagit_storage.testing.emulators.raw_s3 import S3, stores
from mediagit_storage.testing.emulators.sources import OnPath

__all__ = ["MINIO"]


def _program() -> str | None:
    named = os.environ.get("MINIO_BIN")
    return named if named and Path(named).is_file() else shutil.which("minio")


def _prepare(place: Place) -> Launch:
    port, console = free_ports(2)
    access, secret = new_keys()
    command = [_program() or "minio", "server", str(place.data / "store"), "--quiet"]
    command += ["--address", f"127.0.0.1:{port}", "--console-address", f"127.0.0.1:{console}"]
    environment = {"MINIO_ROOT_USER": access, "MINIO_ROOT_PASSWORD": secret, "MINIO_BROWSER": "off"}
    return Launch(tuple(command), Running("minio", f"http://127.0.0.1:{port}", access, secret), environment)


_ADVICE: Final = "put `minio` on PATH, name it by MINIO_BIN, or start it with docker compose"
MINIO: Final = Server("minio", "MinIO", S3, OnPath(_program, _ADVICE), _prepare, ready=stores)
