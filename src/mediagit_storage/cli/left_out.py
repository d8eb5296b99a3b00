"""What listings left out: symbolic links, FIFOs and names that are no keys, counted for the end of a command."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

from mediagit_storage.events import Event

__all__ = ["LeftOut"]

#: The events of things in a folder that are no objects.
_KINDS: Final = frozenset({"local.skipped", "webdav.skipped"})
#: More than these are not told apart when they are listed again.
_KNOWN: Final = 100_000


class LeftOut:
    """Counts each thing once, however often it is listed. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self._first: Event | None = None

    def hear(self, event: Event) -> None:
        """Count what the event tells of, if it is of this kind."""
        if event.kind not in _KINDS or len(self._seen) >= _KNOWN:
            return
        with self._lock:
            self._first = self._first or event
            self._seen.add(f"{event.fields.get('root', '')}\0{event.message}")

    def counted(self) -> dict[str, int]:
        """The count for a closing line."""
        return {"left_out": len(self._seen)}

    def words(self) -> Iterator[str]:
        """What is to be said of it: the first as an example."""
        if self._first is not None:
            more = len(self._seen) - 1
            others = f" (and {more:,} more, which --verbose names)" if more else ""
            yield f"{self._first.message}{others}"
