"""ETags, dates and conditions of requests, as RFC 9110 (sections 8.8 and 13) has them. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from typing import Final, Literal

from mediagit_storage.types import ObjectInfo

__all__ = ["CONDITIONS", "Verdict", "entity_tag", "judge", "range_applies"]

#: The headers that make a request conditional. ``if-range`` is not among them: it speaks of the range alone.
CONDITIONS: Final[tuple[str, ...]] = ("if-match", "if-unmodified-since", "if-none-match", "if-modified-since")
Verdict = Literal["go on", "not modified", "failed"]

_TAG: Final = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


def entity_tag(info: ObjectInfo, *, exact: bool) -> str | None:
    """The ETag that clients see: made of the storage's own, which may tell of inodes or digests that are nobody's business.

    Weak where two bodies of a key can have the same (``exact`` false). None where the storage gives none.
    """
    if info.etag is None:
        return None
    digest = blake2b(info.etag.encode("utf-8", "surrogateescape"), digest_size=12, person=b"mgs-entity-tag").hexdigest()
    return f'"{digest}"' if exact else f'W/"{digest}"'


def judge(
    headers: Mapping[str, str], tag: str | None, modified: datetime | None, *, reading: bool, exists: bool = True
) -> Verdict:
    """What the conditions of a request say, in the order of section 13.2.2.

    ``reading`` is true for GET and HEAD. An object that is absent (``exists`` false) has neither tag nor time; ``*`` is any
    object that is there.
    """
    wanted, since = headers.get("if-match"), headers.get("if-unmodified-since")
    if wanted is not None:
        if not _listed(wanted, tag, weakly=False, exists=exists):
            return "failed"
    elif since is not None and (limit := _date(since)) is not None and (modified is None or _seconds(modified) > limit):
        return "failed"
    unwanted, changed = headers.get("if-none-match"), headers.get("if-modified-since")
    if unwanted is not None:
        if _listed(unwanted, tag, weakly=True, exists=exists):
            return "not modified" if reading else "failed"
    elif changed is not None and reading and modified is not None:
        limit = _date(changed)
        if limit is not None and _seconds(modified) <= limit:
            return "not modified"
    return "go on"


def range_applies(header: str | None, tag: str | None, modified: datetime | None) -> bool:
    """Whether ``If-Range`` lets the range stand; without it, always. A weak tag never does, nor another time.

    Where the tag is weak the time is no better: two bodies of one second would make a whole that never was.
    """
    if header is None:
        return True
    if tag is not None and tag.startswith("W/"):
        return False
    if header.lstrip().startswith(('"', "W/")):
        return tag is not None and header.strip() == tag
    limit = _date(header)
    return limit is not None and modified is not None and _seconds(modified) == limit


def _listed(header: str, tag: str | None, *, weakly: bool, exists: bool) -> bool:
    """Whether a list of tags has this one; ``weakly`` compares without regard to ``W/``."""
    if header.strip() == "*":
        return exists
    if tag is None:
        return False
    if weakly:
        return tag.removeprefix("W/") in {each.removeprefix("W/") for each in _TAG.findall(header)}
    return not tag.startswith("W/") and tag in _TAG.findall(header)


def _date(text: str) -> datetime | None:
    """A time of a header; None for what is none, and is to be ignored."""
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError, TypeError):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _seconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
