"""What every CDN is set up with: where it shows the objects, and for how long links may live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mediagit_storage.cdn.addresses import Base, base_of
from mediagit_storage.errors import ConfigError
from mediagit_storage.http.config import RequestConfig

__all__ = ["CDNConfig", "OriginConfig"]

#: Seven days, in seconds: as long as links of Amazon S3 live at most.
_WEEK: Final = 7 * 24 * 3600
#: How long one request to an API may take, in seconds: their answers are short.
_PATIENCE: Final = 120.0
#: No time of a link is beyond what a date can hold.
_LONGEST: Final = 100 * 365 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginConfig(RequestConfig):
    """The options of every CDN: those of `RequestConfig` (for its API), and

    ==================== ==============================================================================================
    ``base_url``         where it shows the objects: ``https://cdn.example.org``, a path may follow
    ``origin_path``      the folder of the bucket that it shows there, where it does not show all of it
    ``max_expires``      the longest life of a link that is made, in seconds
    ``total_timeout``    the seconds for one request, 120 here
    ==================== ==============================================================================================
    """

    base_url: str | None = None
    origin_path: str = ""
    max_expires: int = _WEEK
    total_timeout: float | None = _PATIENCE

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Refuse, with a `ConfigError`, what cannot be; a subclass calls this first."""
        self.check_requests()
        if not 1 <= self.max_expires <= _LONGEST:
            raise ConfigError("max_expires is at least one second, and less than a hundred years")
        self.base()

    def base(self) -> Base | None:
        """Where the objects are shown, if that is known."""
        if self.base_url is None:
            return None
        return base_of(self.base_url, self.origin_path, allow_http=self.allow_http)


@dataclass(frozen=True, slots=True, kw_only=True)
class CDNConfig(OriginConfig):
    """The same, with ``base_url`` given: a CDN whose address nobody knows delivers nothing."""

    def shown_at(self) -> Base:
        """Where the objects are shown."""
        found = self.base()
        if found is None:
            raise ConfigError("a CDN needs base_url, the URL below which it shows the objects")
        return found

    def check(self) -> None:
        """Refuse what cannot be."""
        OriginConfig.check(self)
        self.shown_at()
