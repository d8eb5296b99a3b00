"""rclone as a client of the servers of the tests: another pair of eyes for what we have stored."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from mediagit_storage.testing.emulators.kinds import Running, clean_environment

__all__ = ["Rclone"]


def _s3(server: Running, _obscured: Callable[[str], str]) -> dict[str, str]:
    return {
        "type": "s3",
        "provider": "Other",
        "endpoint": server.url,
        "region": server.region,
        "access_key_id": server.access_key,
        "secret_access_key": server.secret_key,
        "force_path_style": "true",
        "list_version": "2",
    }


def _azure(server: Running, _obscured: Callable[[str], str]) -> dict[str, str]:
    endpoint = f"{server.url}/{server.access_key}"
    return {"type": "azureblob", "account": server.access_key, "key": server.secret_key, "endpoint": endpoint}


def _gcs(server: Running, _obscured: Callable[[str], str]) -> dict[str, str]:
    endpoint = f"{server.url}/storage/v1/"
    return {"type": "google cloud storage", "anonymous": "true", "endpoint": endpoint, "no_check_bucket": "true"}


def _webdav(server: Running, obscured: Callable[[str], str]) -> dict[str, str]:
    password = obscured(server.secret_key)
    return {"type": "webdav", "url": server.url, "vendor": "other", "user": server.access_key, "pass": password}


_REMOTES: Final[Mapping[str, Callable[[Running, Callable[[str], str]], dict[str, str]]]] = MappingProxyType(
    {"s3": _s3, "azure": _azure, "gcs": _gcs, "webdav": _webdav}
)


class Rclone:
    """The program, installed at ``programs``, for one server; without one it only sees this machine.

    Paths on the server begin with ``there:`` and the name of a bucket, container or folder. ``scratch`` is a folder for
    what it keeps.
    """

    def __init__(self, programs: Path, scratch: Path, server: Running | None = None) -> None:
        self._program = programs / "bin" / "rclone"
        self._environment = clean_environment(scratch, {"RCLONE_CONFIG": str(scratch / "rclone.conf")})
        if server is not None:
            remote = _REMOTES[server.speaks](server, lambda text: self.run("obscure", text).strip())
            self._environment |= {f"RCLONE_CONFIG_THERE_{name.upper()}": value for name, value in remote.items()}

    def run(self, *words: str | os.PathLike[str]) -> str:
        """What one command prints. Fails the caller's test with what it says where it is not content."""
        command = [self._program, *words]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)  # noqa: S603
        assert done.returncode == 0, f"rclone {words[0]}: {done.stderr[-4000:]}"
        return done.stdout
