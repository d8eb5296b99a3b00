"""`CDN`: what users hold. The keys of a storage as URLs of the CDN in front of it: plain, signed, and dropped."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from types import TracebackType
from typing import Final, NamedTuple, Self

from mediagit_storage.cdn.addresses import Base
from mediagit_storage.cdn.api import ApiClient, PurgeCall, Ticket
from mediagit_storage.cdn.provider import Cookie, Grant, Network, Provider, PurgeKind, Targets
from mediagit_storage.clock import SYSTEM_CLOCK, Clock
from mediagit_storage.errors import ConfigError, StorageTimeoutError, UnsupportedError
from mediagit_storage.layers.base import Layer, layers_of
from mediagit_storage.storage import Storage

__all__ = ["CDN", "Purged"]

#: Between two questions whether a purge is done, in seconds: first and at most.
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 20.0
#: How long a purge may be in progress, in seconds: CloudFront's take minutes, those of the others less.
_PATIENCE: Final = 1800.0
#: Nothing that could end a field of a cookie.
_DOMAIN: Final = re.compile(r"\.?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*").fullmatch


class Purged(NamedTuple):
    """Copies that the CDN drops, as it spells them: ``id`` is how it calls that work, ``done`` whether it is over."""

    items: tuple[str, ...]
    id: str
    done: bool


class CDN:
    """A CDN in front of a storage: ``with open_cdn("media:") as cdn``.

    Keys are those of the storage; layers that change keys are seen through. Links to a storage with a layer that changes
    bytes (compress, encrypt) are refused: the CDN has the stored bytes only. Thread-safe.
    """

    def __init__(
        self, store: Storage, provider: Provider, *, owns_store: bool = False, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._store = store
        self._provider = provider
        self._owns_store = owns_store
        self._clock = clock

    @property
    def provider(self) -> Provider:
        """The service that delivers."""
        return self._provider

    # ---- links

    def url(self, key: str) -> str:
        """The public URL of an object, whether it exists or not. Makes no request."""
        self._check_links()
        base = self._base()
        return base.url(base.path(self._stored(key)))

    def sign(
        self,
        key: str,
        *,
        expires: float | timedelta = 3600,
        starts: float | timedelta = 0,
        client: str | None = None,
        scope: str | None = None,
    ) -> str:
        """The URL of an object, signed: who has it may read the object for ``expires`` seconds from now.

        ``starts`` is in how many seconds it begins to work, ``client`` an address or network (``192.0.2.0/24``) for
        which alone it does. ``scope`` is a prefix of the key: the signature then holds for all keys with it. Makes no
        request. Raises `UnsupportedError` for what the CDN cannot sign, `ConfigError` for a life that is over, empty or
        longer than ``max_expires``. Layers that keep an audit log note it like a presigned link.
        """
        grant = self._grant(expires, starts, client)
        if self._provider.by_origin:
            if starts or client is not None or scope is not None:
                self._provider.refuse("leaves links to the storage, which signs an end and nothing else")
            return self._store.presign(key, expires=_seconds(expires, "expires"))
        self._check_links()
        base = self._base()
        path = base.path(self._stored(key))
        if scope is None:
            url = self._provider.sign(path, grant)
            self._lent(key, "")
            return url
        if not key.startswith(scope):
            raise ConfigError(f"the scope {scope!r} does not hold the key {key!r}")
        url = self._provider.sign_within(path, base.prefix_path(self._stored(scope)), grant)
        self._lent(scope, ", all that begins so")
        return url

    def cookies(
        self,
        key: str | None = None,
        *,
        scope: str | None = None,
        expires: float | timedelta = 3600,
        starts: float | timedelta = 0,
        client: str | None = None,
        domain: str | None = None,
    ) -> Sequence[Cookie]:
        """Cookies that let a browser read one object, or all whose keys begin with ``scope``; else like `sign`.

        ``domain`` is what they are set for, where that is not the CDN's own host.
        """
        if (key is None) == (scope is None):
            raise ConfigError("cookies are for a key or for a scope: give one of the two")
        if domain is not None and not _DOMAIN(domain):
            raise ConfigError(f"{domain!r} is not the name of a domain")
        grant = self._grant(expires, starts, client)
        self._check_links()
        base = self._base()
        if scope is not None:
            made = self._provider.cookies_within(base.prefix_path(self._stored(scope)), grant)
            self._lent(scope, ", all that begins so")
        else:
            made = self._provider.cookies(base.path(self._stored(key or "")), grant)
            self._lent(key or "", "")
        return [replace(each, domain=domain) for each in made] if domain is not None else made

    def _grant(self, expires: float | timedelta, starts: float | timedelta, client: str | None) -> Grant:
        now = self._now()
        life, wait = _seconds(expires, "expires"), _seconds(starts, "starts")
        most = self._provider.max_expires
        if not 0 < life <= most:
            raise ConfigError(f"a link lives 1 to {most:,} seconds here (max_expires), not {life:,}")
        if not 0 <= wait < life:
            raise ConfigError("a link starts before it ends, and not in the past")
        return Grant(now + life, now + wait if wait else None, None if client is None else _network(client))

    def _now(self) -> int:
        return self._clock.now_ns() // 1_000_000_000

    def _check_links(self) -> None:
        for layer in layers_of(self._store.backend):
            if not layer.links:
                raise UnsupportedError(
                    f"the layer {layer.layer_name!r} stores other bytes than the content, and a CDN would deliver those"
                )

    def _base(self) -> Base:
        base = self._provider.base
        if base is None:
            raise ConfigError("without base_url nobody knows the URLs of objects")
        return base

    def _stored(self, key: str) -> str:
        backend = self._store.backend
        return backend.stored_key(key) if isinstance(backend, Layer) else key

    def _lent(self, key: str, more: str) -> None:
        backend = self._store.backend
        if isinstance(backend, Layer):
            backend.lend(key, f"GET by the CDN {self._provider.name}{more}")

    # ---- purging

    def plan(
        self, *, keys: Sequence[str] = (), prefixes: Sequence[str] = (), tags: Sequence[str] = ()
    ) -> Sequence[PurgeCall]:
        """The requests that `purge` would make. Makes none.

        Raises `UnsupportedError` for a kind of name that the CDN does not know, or a name that it does not take.
        """
        asked: dict[PurgeKind, Sequence[str]] = {"key": keys, "prefix": prefixes, "tag": tags}
        for kind, names in asked.items():
            if names and kind not in self._provider.purges:
                known = ", ".join(sorted(self._provider.purges)) or "nothing"
                self._provider.refuse(f"cannot purge by {kind} (it can by: {known})")
        if not any(asked.values()):
            raise ConfigError("name what is to be purged: keys, prefixes or tags")
        base = self._base()
        paths = [base.path(self._stored(key)) for key in keys]
        below = [base.prefix_path(self._stored(prefix)) for prefix in prefixes]
        return self._provider.purge_calls(Targets(paths, below, [*tags]))

    def purge(
        self,
        *,
        keys: Sequence[str] = (),
        prefixes: Sequence[str] = (),
        tags: Sequence[str] = (),
        wait: bool = False,
        patience: float | timedelta = _PATIENCE,
    ) -> Iterator[Purged]:
        """Have the CDN drop its copies of objects by key, by prefix of the key (``""`` is all), or by the tag that they
        were delivered with; told of request by request.

        Everything is checked before the first request; then an error leaves the requests before it asked for. Asking
        again does no harm. ``wait`` goes on when the CDN says that a request is done, as far as it tells; one that is
        not done after ``patience`` seconds is a `StorageTimeoutError`, and goes on by itself.
        """
        most = _seconds(patience, "patience")
        return self._purged(self.plan(keys=keys, prefixes=prefixes, tags=tags), most if wait else None)

    def _purged(self, calls: Sequence[PurgeCall], patience: int | None) -> Iterator[Purged]:
        client, pace = self._provider.client(), self._provider.pace
        for number, each in enumerate(calls):
            if number and pace:
                client.rules.sleep(pace)
            ticket = self._provider.ticket(client.ask(each.call))
            if patience is not None:
                ticket = self._awaited(client, ticket, patience)
            yield Purged(each.items, ticket.id, ticket.done)

    def _awaited(self, client: ApiClient, ticket: Ticket, patience: int) -> Ticket:
        clock, pause = client.rules.clock, _FIRST_PAUSE
        end = clock.monotonic() + patience
        while not ticket.done:
            left = end - clock.monotonic()
            if left <= 0:
                raise StorageTimeoutError(
                    f"the CDN does not say within {patience:,} seconds that the purge {ticket.id} is done; it goes on by itself"
                )
            client.rules.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
            ticket = self._provider.ticket(client.ask(self._provider.poll(ticket)))
        return ticket

    # ---- its life

    def close(self) -> None:
        """Close the connections to the CDN's API, and the storage if it was opened for this. Idempotent."""
        try:
            self._provider.close()
        finally:
            if self._owns_store:
                self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<CDN {self._provider!r} of {self._store!r}>"


def _seconds(span: float | timedelta, name: str) -> int:
    """Whole seconds, rounded up."""
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    if not math.isfinite(seconds):
        raise ConfigError(f"{name} is a number of seconds")
    return math.ceil(seconds)


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        raise ConfigError(f"{text!r} is no address and no network like 192.0.2.0/24") from None
