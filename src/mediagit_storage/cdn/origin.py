"""No CDN: links are those that the storage makes itself, and the public URL is the one that somebody says it has."""

from __future__ import annotations

from mediagit_storage.cdn.config import OriginConfig
from mediagit_storage.cdn.provider import Provider

__all__ = ["Origin", "OriginConfig"]


class Origin(Provider):
    """The storage itself: signed links are `Storage.presign`, and there are no copies to drop."""

    name = "origin"
    by_origin = True

    def __init__(self, config: OriginConfig) -> None:
        self.base = config.base()
        self.max_expires = config.max_expires
