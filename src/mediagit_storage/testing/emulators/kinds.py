"""What a server of the tests is: how it is installed and started, and what tells that it is ready."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["Launch", "Order", "Place", "Running", "Server", "clean_environment", "free_ports", "new_keys"]

#: Nothing of this machine's own configuration reaches a server: no credentials, proxies or certificates.
_UNWANTED: Final = re.compile(
    r"(AWS|AZURE|GCS|GOOGLE|MINIO|B2|SPACES|WEBDAV|MGS|RCLONE|WEED|LOCALSTACK|MOTO|PYTHON)_?.*|STORAGE_EMULATOR_HOST"
    r"|SSL_CERT_FILE|SSL_CERT_DIR|.*CA_BUNDLE|NETRC|.*_PROXY|HOME|XDG_.*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers at ``url``, and the keys that it takes. ``pid`` is None for one that others started."""

    name: str
    url: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"
    pid: int | None = None
    #: What it printed, while it runs; None for one that others started.
    log: str | None = None

    @property
    def host(self) -> str:
        """Host and port, as the Host field of a request carries them."""
        return self.url.partition("://")[2]

    def environment(self) -> dict[str, str]:
        """The variables that make every S3 client use this server."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
            "AWS_ENDPOINT_URL": self.url,
        }

    def example(self, command: str) -> str:
        """``command`` as a line for a shell, with that environment before it."""
        return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in self.environment().items()), command])


@dataclass(frozen=True, slots=True)
class Place:
    """Where one server lives: ``programs`` is its installation, ``data`` an empty folder of its own."""

    programs: Path
    data: Path

    def program(self, name: str) -> str:
        """The path of an installed program."""
        return str(self.programs / "bin" / name)


@dataclass(frozen=True, slots=True)
class Launch:
    """One start of a server: what to run, with which additions to a clean environment, and what it will be."""

    command: tuple[str, ...]
    becomes: Running
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Files that it leaves outside of its folder: they are removed when it has ended.
    litter: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Server:
    """A kind of server. ``prepare`` chooses ports and keys and writes its configuration; ``ready`` raises until it is.

    ``pins`` names the packages of its installation; without it the server is a program that ``program`` finds.
    """

    name: str
    title: str
    prepare: Callable[[Place], Launch]
    ready: Callable[[Running], None]
    pins: str | None = None
    program: Callable[[], str | None] | None = None
    #: The first Python that its packages do not work with.
    python_below: tuple[int, int] | None = None
    #: How long it may take to start on a busy machine, in seconds.
    patience: float = 90.0
    #: How long it may take to end by itself before it is killed, in seconds.
    grace: float = 5.0
    #: What to do where it is missing.
    missing: str = "run  make servers"


@dataclass(frozen=True, slots=True)
class Order:
    """What a keeper is asked to do. It writes a `Running` as JSON to ``state`` once the server answers."""

    server: str
    programs: str
    lease: str
    state: str
    #: Where the log is kept; None for the temporary folder, and only when the server failed.
    logs: str | None = None
    #: Where the data go; None for a temporary folder that is removed in the end.
    data: str | None = None


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now. All are held open until the last is found: none comes twice."""
    with ExitStack() as held:
        return [held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]


def new_keys() -> tuple[str, str]:
    """An access key and its secret, made up."""
    return f"TEST{secrets.token_hex(8).upper()}", secrets.token_hex(20)


def clean_environment(home: Path, additions: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without anything that configures a client or server, and with a home of its own."""
    kept = {name: value for name, value in os.environ.items() if not _UNWANTED.fullmatch(name)}
    return kept | {"HOME": str(home), "NO_PROXY": "*", **additions}
