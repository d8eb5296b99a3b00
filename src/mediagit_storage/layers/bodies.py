"""Bodies that layers give in place of the inner ones."""

from __future__ import annotations

from collections.abc import Iterator

from mediagit_storage.backend import Body
from mediagit_storage.source import FileRegion
from mediagit_storage.types import ObjectInfo

__all__ = ["ToldBody"]


class ToldBody(Body):
    """``inner`` as it is, under another ``info``."""

    def __init__(self, inner: Body, info: ObjectInfo) -> None:
        self.info = info
        self.start = inner.start
        self.length = inner.length
        self._inner = inner

    def __iter__(self) -> Iterator[bytes]:
        yield from self._inner

    def region(self) -> FileRegion | None:
        """The inner one."""
        return self._inner.region()

    def close(self) -> None:
        """Forwarded."""
        self._inner.close()
