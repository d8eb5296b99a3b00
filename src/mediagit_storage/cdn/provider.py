"""`Provider`: what a CDN is to this library. An implementer overrides what its service can do; the rest is refused."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network
from typing import ClassVar, Literal, NamedTuple, NoReturn, TypeAlias

from mediagit_storage.cdn.addresses import Base
from mediagit_storage.cdn.api import ApiClient, PurgeCall, Ticket
from mediagit_storage.errors import UnsupportedError
from mediagit_storage.http.call import Call
from mediagit_storage.http.encoding import format_http_date
from mediagit_storage.http.response import Response

__all__ = ["ApiProvider", "Cookie", "Grant", "Network", "Provider", "PurgeKind", "Targets"]

Network: TypeAlias = IPv4Network | IPv6Network

#: By what copies can be named that are to be dropped.
PurgeKind = Literal["key", "prefix", "tag"]


class Grant(NamedTuple):
    """When and for whom a link works: until ``ends``, from ``starts`` on, for the addresses in ``client``.

    Times are whole seconds since the Unix epoch. None is "at once", and "for everybody".
    """

    ends: int
    starts: int | None = None
    client: Network | None = None


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie that lets its holder in. ``repr`` leaves the value out: whoever has it may read."""

    name: str
    value: str = field(repr=False)
    path: str = "/"
    domain: str | None = None
    secure: bool = True
    ends: int | None = None

    @property
    def header(self) -> str:
        """The value of a ``Set-Cookie`` field."""
        parts = [f"{self.name}={self.value}", f"Path={self.path}"]
        if self.domain is not None:
            parts.append(f"Domain={self.domain}")
        if self.ends is not None:
            parts.append(f"Expires={format_http_date(datetime.fromtimestamp(self.ends, UTC))}")
        return "; ".join([*parts, *(["Secure"] if self.secure else []), "HttpOnly"])


class Targets(NamedTuple):
    """Whose copies are to be dropped: those with the URL paths ``paths``, below ``prefixes``, and tagged ``tags``.

    Paths and prefixes are encoded, as `Base.path` and `Base.prefix_path` make them.
    """

    paths: Sequence[str] = ()
    prefixes: Sequence[str] = ()
    tags: Sequence[str] = ()


class Provider(ABC):
    """One CDN. ``base`` is where it shows the objects; None where nothing but the storage itself is known.

    URLs, paths and prefixes are encoded. Nothing but `client` reaches the network. Thread-safe.
    """

    #: The name under which it is registered.
    name: ClassVar[str]
    #: By what it can be asked to drop copies.
    purges: ClassVar[frozenset[PurgeKind]] = frozenset()
    #: The seconds between two requests that drop copies, where the service bounds their number.
    pace: ClassVar[float] = 0.0
    #: Whether links are those that the storage makes itself.
    by_origin: ClassVar[bool] = False

    base: Base | None
    #: The longest life of a link, in seconds.
    max_expires: int

    # ---- signing

    def sign(self, path: str, grant: Grant) -> str:
        """The URL of one object, signed."""
        self.refuse("signs no URLs")

    def sign_within(self, path: str, prefix: str, grant: Grant) -> str:
        """The URL of one object, signed so that the signature holds for all that begin with the path ``prefix``."""
        self.refuse("signs no URLs for a whole prefix")

    def cookies(self, path: str, grant: Grant) -> Sequence[Cookie]:
        """Cookies that let their holder read one object."""
        self.refuse("makes no cookies for one object")

    def cookies_within(self, prefix: str, grant: Grant) -> Sequence[Cookie]:
        """Cookies that let their holder read all that begins with the path ``prefix``."""
        self.refuse("makes no cookies")

    # ---- purging

    def purge_calls(self, targets: Targets) -> Sequence[PurgeCall]:
        """The requests that drop copies, as few as the service allows. Everything is checked, and nothing is sent."""
        self.refuse("drops no copies")

    def ticket(self, response: Response) -> Ticket:
        """What the answer to one of them says: how the work is called, and whether it is done."""
        return Ticket("", done=True)

    def poll(self, ticket: Ticket) -> Call:
        """The request that asks how far the work of a ticket is; its answer is one for `ticket`."""
        self.refuse("tells nothing of a purge that was asked for")

    def client(self) -> ApiClient:
        """What sends the requests. Credentials are looked up when the first is signed."""
        self.refuse("has no API")

    def close(self) -> None:  # noqa: B027  # what only signs has no connections
        """Close the connections. Idempotent."""

    # ---- refusing

    def refuse(self, what: str) -> NoReturn:
        """Raise `UnsupportedError`: this CDN ``what``."""
        raise UnsupportedError(f"the CDN {self.name!r} {what}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'' if self.base is None else self.base.url(self.base.endpoint.base)}>"


class ApiProvider(Provider):
    """A CDN with an API, whose client is made when the first request is sent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._client: ApiClient | None = None

    @abstractmethod
    def connect(self) -> ApiClient:
        """The client of the API. Makes no request. Raises `ConfigError` where nobody says who asks."""

    def client(self) -> ApiClient:
        """The client, one for all threads."""
        with self._lock:
            if self._client is None:
                self._client = self.connect()
            return self._client

    def close(self) -> None:
        """Close the connections. Idempotent."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()
