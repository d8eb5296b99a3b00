"""What a server of the tests is: where it comes from, how it is started, and what tells that it is ready."""

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
from types import MappingProxyType
from typing import Final, Protocol
from urllib.parse import urlsplit

__all__ = [
    "Api",
    "Launch",
    "NotReadyError",
    "Order",
    "Place",
    "Running",
    "Server",
    "Source",
    "clean_environment",
    "free_ports",
    "new_keys",
]

#: Nothing of this machine's own configuration reaches a server: no credentials, proxies or certificates.
_UNWANTED: Final = re.compile(
    r"(AWS|AZURE|GCS|GOOGLE|MINIO|B2|SPACES|WEBDAV|MGS|RCLONE|WEED|LOCALSTACK|MOTO|PYTHON)_?.*|STORAGE_EMULATOR_HOST"
    r"|SSL_CERT_FILE|SSL_CERT_DIR|.*CA_BUNDLE|NETRC|.*_PROXY|HOME|XDG_.*",
    re.IGNORECASE,
)


class NotReadyError(Exception):
    """The server answers, and not yet as it should."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers at ``url``, and the keys that it takes. ``pid`` is None for one that others started.

    ``access_key`` and ``secret_key`` are what its API calls so, or the nearest to it: account and key of Azure, user
    and password of WebDAV; empty where nothing is asked for.
    """

    name: str
    url: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"
    pid: int | None = None
    #: What it printed, while it runs; None for one that others started.
    log: str | None = None
    #: What its clients speak: s3, azure, gcs or webdav.
    speaks: str = "s3"

    @property
    def host(self) -> str:
        """Host and port, as the Host field of a request carries them."""
        return urlsplit(self.url).netloc

    def environment(self) -> dict[str, str]:
        """The variables that make every client of that kind use this server."""
        return _ENVIRONMENTS[self.speaks](self)

    def example(self, command: str) -> str:
        """``command`` as a line for a shell, with that environment before it."""
        return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in self.environment().items()), command])


def _s3_environment(server: Running) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_REGION": server.region,
        "AWS_ENDPOINT_URL": server.url,
    }


def _azure_environment(server: Running) -> dict[str, str]:
    account = server.access_key
    parts = ("DefaultEndpointsProtocol=http", f"AccountName={account}", f"AccountKey={server.secret_key}")
    return {"AZURE_STORAGE_CONNECTION_STRING": ";".join([*parts, f"BlobEndpoint={server.url}/{account}", ""])}


def _gcs_environment(server: Running) -> dict[str, str]:
    return {"STORAGE_EMULATOR_HOST": server.url}


def _webdav_environment(server: Running) -> dict[str, str]:
    keys = {"WEBDAV_USERNAME": server.access_key, "WEBDAV_PASSWORD": server.secret_key} if server.access_key else {}
    return {"WEBDAV_URL": server.url, **keys}


#: By what is spoken.
_ENVIRONMENTS: Final[Mapping[str, Callable[[Running], dict[str, str]]]] = MappingProxyType(
    {"s3": _s3_environment, "azure": _azure_environment, "gcs": _gcs_environment, "webdav": _webdav_environment}
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one server lives: ``programs`` is its installation, ``data`` an empty folder of its own."""

    programs: Path
    data: Path

    def program(self, name: str) -> str:
        """The path of a program that was installed for it."""
        return str(self.programs / "bin" / name)


@dataclass(frozen=True, slots=True)
class Launch:
    """One start of a server: what to run, with which additions to a clean environment, and what it will be."""

    command: tuple[str, ...]
    becomes: Running
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Files that it leaves outside of its folder: they are removed when it has ended.
    litter: tuple[str, ...] = ()


class Source(Protocol):
    """Where the programs of a server come from; see `mediagit_storage.testing.emulators.sources`."""

    @property
    def advice(self) -> str:
        """What to do where they are missing."""
        ...

    @property
    def installs(self) -> bool:
        """Whether `install` can bring them at all: a run of tests that has to be whole may count on it."""
        ...

    def refusal(self) -> str | None:
        """Why they can never be here, after the words "SERVER needs"; None when nothing speaks against it."""
        ...

    def is_there(self, folder: Path) -> bool:
        """Whether they could be started now. ``folder`` is where `install` puts them."""
        ...

    def install(self, folder: Path) -> None:
        """Bring them, into ``folder``, which is made anew. Raises `OSError` and `subprocess.SubprocessError`."""
        ...


@dataclass(frozen=True, slots=True)
class Api:
    """What the clients of a server speak, and what is done alike with all that speak it."""

    #: As in `Running.speaks`.
    name: str
    #: Raises unless the server answers and takes the keys.
    answers: Callable[[Running], None]
    #: Makes a place to play in (a bucket, a container, a folder), unless it is there, and tells its URL.
    playground: Callable[[Running], str]


@dataclass(frozen=True, slots=True)
class Server:
    """A kind of server. ``prepare`` chooses ports and keys and writes its configuration."""

    name: str
    title: str
    api: Api
    source: Source
    prepare: Callable[[Place], Launch]
    #: Raises until the server can be used; None when that is as soon as it answers.
    ready: Callable[[Running], None] | None = None
    #: How long it may take to start on a busy machine, in seconds.
    patience: float = 90.0
    #: How long it may take to end by itself before it is killed, in seconds.
    grace: float = 5.0

    def check_ready(self, running: Running) -> None:
        """Raise `NotReadyError`, `OSError` or `http.client.HTTPException` unless the server can be used."""
        (self.ready or self.api.answers)(running)


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
