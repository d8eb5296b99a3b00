"""What a gateway allows, and its limits."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from mediagit_storage.errors import ConfigError
from mediagit_storage.secrets import Secret
from mediagit_storage.serve.links import Signer

__all__ = ["Access", "AccessLog", "Exposure", "ServeSettings", "exposure"]


class Access(NamedTuple):
    """One request that has ended, for an access log. ``target`` holds no signature; nothing of the body is told.

    ``status`` is 0 where the client left, or the connection was broken off, before an answer; ``seconds`` is the time from
    the head of the request to the end of the answer.
    """

    client: str
    method: str
    target: str
    status: int
    sent: int
    received: int
    seconds: float
    agent: str


#: What browsers send as ``Origin``; ``null`` would be every page in a sandbox.
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.]+\]|[^\s/?#@:\[\]A-Z]+)(?::[0-9]+)?")
_NAME: Final = re.compile(r"\[[^\s/\[\]]+\]|[^\s/?#@:\[\]A-Z]+")
AccessLog = Callable[[Access], None]


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """What a gateway allows. The defaults are for one person on one machine: everything can be read, nothing written.

    ==================  =============================================================================================
    ``reads``           ``open`` to everybody, or only with the ``token`` (or a signed link)
    ``listing``         whether who may read may also list keys, and see the console, metrics and the parts of health
    ``public``          whether everybody on the network is meant to read: other sites may then show objects, and what
                        a backend says of its trouble is for the token
    ``writable``        whether objects can be put and deleted, always with the ``token`` (or a signed link)
    ``token``           what clients send as ``Authorization: Bearer TOKEN``, or as the password of Basic
    ``signer``          signs and checks links (`Context.signed_link`); None for no links
    ``console``         whether there is a web console, and ``/`` leads to it
    ``root_routes``     whether ``/metrics``, ``/healthz`` and ``/readyz`` are ours, and not objects of these names
    ``hosts``           the names by which clients may call this gateway (header ``Host``); None for any
    ``cors``            origins whose scripts may read, ``*`` for every one
    ``title``           what the console calls the storage; None for its description
    ``cache_control``   the header of objects that have none of their own
    ``max_body``        bytes of an upload, at most; None for no limit but the storage's
    ``idle``            seconds without progress of a client after which it is given up
    ``concurrency``     requests at once; more get 503
    ``uploads``         of these, uploads at once; more get 503
    ``probe_timeout``   seconds that a backend has for a probe of its health
    ``probe_age``       seconds that the result of a probe is used again
    ``access_log``      called after each request
    ==================  =============================================================================================
    """

    reads: Literal["open", "token"] = "open"
    listing: bool = True
    public: bool = False
    writable: bool = False
    token: Secret | None = None
    signer: Signer | None = None
    console: bool = True
    root_routes: bool = True
    hosts: frozenset[str] | None = None
    cors: frozenset[str] = frozenset()
    title: str | None = None
    cache_control: str | None = None
    max_body: int | None = None
    idle: float = 60.0
    concurrency: int = 1000
    uploads: int = 32
    probe_timeout: float = 5.0
    probe_age: float = 5.0
    access_log: AccessLog | None = None

    def __post_init__(self) -> None:
        if self.token is None and (self.writable or self.reads == "token"):
            raise ConfigError("a gateway that is written to, or reads only for some, needs a token")
        if self.token is not None and len(self.token.reveal()) < 16:
            raise ConfigError("a token has at least 16 characters")
        if self.cache_control is not None and not (self.cache_control.isascii() and self.cache_control.isprintable()):
            raise ConfigError("a Cache-Control is one line of printable ASCII")
        for each in self.cors:
            if each != "*" and not _ORIGIN.fullmatch(each):
                raise ConfigError(f"{each!r} is no origin: it looks like https://their.example, in lower case")
        for each in self.hosts or ():
            if not _NAME.fullmatch(each):
                raise ConfigError(f"{each!r} is no name of a server: it has no port, no path and no upper case")
        if self.concurrency < 1 or self.uploads < 1:
            raise ConfigError("a gateway answers at least one request at once")

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written."""
        return not self.writable


class Exposure(NamedTuple):
    """Who may read, and whether who may read may also list."""

    reads: Literal["open", "token"]
    listing: bool


def exposure(*, local: bool, private: bool, public: bool, public_listing: bool) -> Exposure:
    """What a gateway lets everybody do who reaches it. ``local``: that is this machine only.

    From other machines nobody does anything without the token, unless it was said that everybody may. Raises `ConfigError`.
    """
    if private and public:
        raise ConfigError("--private and --public exclude each other")
    if public_listing and not public:
        raise ConfigError("--public-listing is for a gateway that is --public")
    if public:
        return Exposure("open", public_listing)
    return Exposure("token", listing=False) if private or not local else Exposure("open", listing=True)
