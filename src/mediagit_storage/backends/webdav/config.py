"""What a WebDAV storage is opened with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from mediagit_storage.backends.webdav.addressing import Base, base_of
from mediagit_storage.backends.webdav.auth import AuthName, DavSigning
from mediagit_storage.backends.webdav.services import Service, adjusted, service_named
from mediagit_storage.errors import ConfigError
from mediagit_storage.http.config import HttpConfig
from mediagit_storage.http.multipart import PartLimits
from mediagit_storage.http.network import is_loopback
from mediagit_storage.secrets import SecretValue, resolve_secret

__all__ = ["WebDAVConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebDAVConfig(HttpConfig):
    """The options of a `WebDAVBackend`, checked: those of `HttpConfig`, and

    ====================== ============================================================================================
    ``url``                ``https://host/path`` of the folder that holds all objects (``davs://host/path`` is the same)
    ``username``           with ``password``: who asks. Without them nobody
    ``auth``               ``auto``, ``basic`` or ``digest``: how that is proven
    ``service``            ``apache nginx wsgidav rclone generic``: what the server is known to do
    ``create_only``        MOVE with ``Overwrite: F`` is atomic on this server: gives create-only writes
    ``conditional_writes`` MOVE honours ``If: <target> (["etag"])``, atomically: gives writes over a known object
    ``dead_properties``    the server keeps properties that it does not know: gives attributes and metadata
    ``chunked``            whether the server takes a body of unknown length; false puts one into a temporary file first
    ``destination``        ``absolute`` or ``path``: how the target of a MOVE or COPY is spelled
    ====================== ============================================================================================

    ``part_size``, ``multipart_threshold`` and ``verify_reads`` have no meaning here: an upload is one request.
    """

    ENVIRONMENT: ClassVar[Mapping[str, str]] = {
        "url": "WEBDAV_URL",
        "username": "WEBDAV_USERNAME",
        "password": "WEBDAV_PASSWORD",
    }
    HOST_OPTION: ClassVar[str] = "url"

    url: str
    username: SecretValue | None = None
    password: SecretValue | None = None
    auth: AuthName = "auto"
    service: str = "generic"
    create_only: bool | None = None
    conditional_writes: bool | None = None
    dead_properties: bool = False
    chunked: bool | None = None
    destination: Literal["absolute", "path"] = "absolute"

    def __post_init__(self) -> None:
        self.check_transfers(PartLimits())
        if self.auth not in get_args(AuthName):
            raise ConfigError(f"auth is one of {', '.join(get_args(AuthName))}")
        if self.destination not in {"absolute", "path"}:
            raise ConfigError("destination is absolute or path")
        if self.username is None and self.password is not None:
            raise ConfigError("a password needs a user name: set WEBDAV_USERNAME, or give username")
        if self.username is not None and self.password is None:
            raise ConfigError("a user name needs a password: set WEBDAV_PASSWORD, or give password")
        self.base()
        self.known_service()

    @staticmethod
    def same_host(one: str, other: str) -> bool:
        """Whether two URLs name the same server, wherever on it."""
        try:
            return base_of(one, allow_http=True).origin == base_of(other, allow_http=True).origin
        except ConfigError:
            return False

    def base(self) -> Base:
        """Where the objects are."""
        return base_of(self.url, allow_http=self.allow_http)

    def known_service(self) -> Service:
        """The server, as the user knows it better."""
        return adjusted(
            service_named(self.service),
            create_only=self.create_only,
            conditional_writes=self.conditional_writes,
            chunked=self.chunked,
        )

    def signing(self) -> DavSigning | None:
        """Who proves what; None where nobody is named."""
        if self.username is None or self.password is None:
            return None
        origin = self.base().origin
        host = origin.partition("://")[2].rpartition(":")[0] or origin.partition("://")[2]
        private = origin.startswith("https://") or is_loopback(host) or is_loopback(origin.partition("://")[2])
        return DavSigning(resolve_secret(self.username), resolve_secret(self.password), self.auth, private=private)
