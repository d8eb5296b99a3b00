"""Installing the servers, each into a folder of its own; a second call finds it there and does nothing."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mediagit_storage.testing.emulators.kinds import Server

__all__ = ["InstallError", "default_cache", "install", "is_installed", "must_be_there", "why_missing"]


class InstallError(Exception):
    """A server cannot be installed here; the text says why, in one line."""


def default_cache() -> Path:
    """Where installations are kept when nobody says otherwise: with the user's other caches."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mediagit-storage" / "servers"


def is_installed(server: Server, cache: Path) -> bool:
    """Whether the server could be started now, without installing anything."""
    return why_missing(server, cache) is None


def why_missing(server: Server, cache: Path) -> str | None:
    """What keeps the server from starting, with what to do about it, as one sentence; None when nothing does."""
    source = server.source
    if (refusal := source.refusal()) is not None:
        return f"{server.title} needs {refusal}"
    if source.is_there(cache / server.name):
        return None
    return f"{server.title} is not installed: {source.advice}"


def must_be_there(server: Server) -> bool:
    """Whether a run of tests may not do without the server: ``CI`` is set, and it can be installed here."""
    return bool(os.environ.get("CI")) and server.source.installs and server.source.refusal() is None


def install(server: Server, cache: Path) -> bool:
    """Install the server unless it is there already or nobody can; True when something was installed.

    Processes that install at once wait for each other. Raises `InstallError`, with the end of what the installer said.
    """
    source = server.source
    if not source.installs or is_installed(server, cache):
        return False
    if (refusal := source.refusal()) is not None:
        raise InstallError(f"{server.title} needs {refusal}")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _only_one(cache / f"{server.name}.lock"):
            if is_installed(server, cache):
                return False
            source.install(cache / server.name)
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", None) or error).strip()
        raise InstallError(f"{server.title} cannot be installed: {' '.join(said[-600:].split())}") from None
    return True


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
