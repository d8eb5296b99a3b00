"""What `check` tells about any server that is spoken to over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mediagit_storage.clock import Clock
from mediagit_storage.http.encoding import parse_http_date
from mediagit_storage.http.headers import Headers
from mediagit_storage.types import Finding, FindingLevel

__all__ = ["SET_THIS_CLOCK", "clock_findings"]

#: Signatures are refused from a quarter of an hour on; a minute is worth a word.
_SKEW: Final = 60.0

#: What to do about a wrong clock where requests are signed with the time.
SET_THIS_CLOCK: Final = "set this machine's clock (NTP): requests signed at the wrong time are refused"


def clock_findings(headers: Headers, clock: Clock, advice: str = SET_THIS_CLOCK) -> Iterator[Finding]:
    """How far the server's clock is from this machine's, with ``advice`` where that is far; nothing if it does not say."""
    date = headers.get("date")
    if date is None:
        return
    seconds = clock.now_ns() / 1e9 - parse_http_date(date).timestamp()
    shown = f"{seconds:+.0f} s from this machine's"
    if abs(seconds) <= _SKEW:
        yield Finding("server clock", FindingLevel.OK, shown)
    else:
        yield Finding("server clock", FindingLevel.WARNING, shown, advice)
