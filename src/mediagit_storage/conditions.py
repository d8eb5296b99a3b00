"""Conditions of reads: whether the object that was found is what `ReadOptions` name. Pure functions."""

from __future__ import annotations

from typing import Final

from mediagit_storage.errors import NotModifiedError, PreconditionError
from mediagit_storage.types import ReadOptions

__all__ = ["CURRENT", "OTHER", "check_conditions"]

#: What is said of a failed condition, by us or in the name of a service that answers 304 or 412.
CURRENT: Final = "your copy of the object is current"
OTHER: Final = "the object is not the one that the condition names"


def check_conditions(etag: str | None, options: ReadOptions) -> None:
    """Raise `PreconditionError` or `NotModifiedError` unless an object's ETag is what the conditions of a read ask for."""
    if options.if_match is not None and etag != options.if_match:
        raise PreconditionError(OTHER)
    if options.if_none_match is not None and etag == options.if_none_match:
        raise NotModifiedError(CURRENT)
