"""The options that all storages and services over HTTP have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mediagit_storage.errors import ConfigError
from mediagit_storage.http.multipart import (
    DEFAULT_BUFFER,
    DEFAULT_CONCURRENCY,
    DEFAULT_PART,
    DEFAULT_THRESHOLD,
    MIB,
    PartLimits,
    Sizes,
    check_part_size,
)
from mediagit_storage.http.network import TransportOptions
from mediagit_storage.http.retry import RetryPolicy

__all__ = ["HttpConfig", "RequestConfig"]

#: Documents of a service are never larger; bodies of objects have no bound of their own.
_MAX_DOCUMENT: Final = 64 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestConfig:
    """How requests travel. Times are seconds.

    ==================== ==============================================================================================
    ``attempts`` ``retry_base`` ``retry_cap`` ``retry_total``: how often, after which pauses, requests are repeated
    ``connect_timeout`` ``idle_timeout`` ``total_timeout``: None for no limit
    ``proxy``            a URL, ``environment``, or None for none
    ``ca_file``          certificates to trust in the place of the usual ones; ``verify_tls=False`` trusts any
    ``allow_http``       permits plain http to other machines
    ==================== ==============================================================================================

    A subclass is a frozen dataclass too; it calls `check_requests`.
    """

    attempts: int = 3
    retry_base: float = 0.2
    retry_cap: float = 20.0
    retry_total: float | None = 120.0
    connect_timeout: float = 10.0
    idle_timeout: float | None = 60.0
    total_timeout: float | None = None
    proxy: str | None = "environment"
    ca_file: str | None = None
    verify_tls: bool = True
    allow_http: bool = False

    def check_requests(self) -> None:
        """Refuse, with a `ConfigError`, numbers that cannot be."""
        self.retry_policy()
        self.transport_options()

    def retry_policy(self) -> RetryPolicy:
        """How requests are repeated."""
        return RetryPolicy(self.attempts, self.retry_base, self.retry_cap, self.retry_total)

    def transport_options(self) -> TransportOptions:
        """How connections are made."""
        return TransportOptions(
            connect_timeout=self.connect_timeout,
            idle_timeout=self.idle_timeout,
            total_timeout=self.total_timeout,
            proxy=self.proxy,
            ca_file=self.ca_file,
            verify=self.verify_tls,
            allow_http=self.allow_http,
            max_body=_MAX_DOCUMENT,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpConfig(RequestConfig):
    """How requests and large objects travel: the options of `RequestConfig`, and these. Sizes are bytes.

    ==================== ==============================================================================================
    ``verify_reads``     check whole objects against the checksum that the service keeps, where it keeps one
    ``part_size`` ``multipart_threshold`` ``concurrency`` ``buffer_size``: how large objects travel
    ==================== ==============================================================================================

    A subclass is a frozen dataclass too; it calls `check_transfers` with what its provider takes.
    """

    verify_reads: bool = True
    part_size: int = DEFAULT_PART
    multipart_threshold: int = DEFAULT_THRESHOLD
    concurrency: int = DEFAULT_CONCURRENCY
    buffer_size: int = DEFAULT_BUFFER

    def check_transfers(self, limits: PartLimits) -> None:
        """Refuse, with a `ConfigError`, numbers that cannot be, and parts that the provider does not take."""
        for name in ("concurrency", "multipart_threshold"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is at least 1")
        check_part_size(self.part_size, limits)
        self.check_requests()

    def sizes(self) -> Sizes:
        """How large objects travel."""
        return Sizes(self.part_size, self.multipart_threshold, self.concurrency, self.buffer_size)
