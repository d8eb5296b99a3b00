"""Conditions of reads: what an answer says of them, and whether what came is what they name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mediagit_storage.http.call import Condition
from mediagit_storage.http.refusals import CURRENT, OTHER
from mediagit_storage.types import ObjectInfo, ReadOptions

__all__ = ["check_conditions", "failed_condition"]

_FAILED: Final[Mapping[int, Condition]] = {304: "none-match", 412: "match"}


def failed_condition(status: int) -> Condition | None:
    """The condition of a read that an answer's status says has failed; None for other statuses."""
    return _FAILED.get(status)


def check_conditions(info: ObjectInfo, options: ReadOptions) -> None:
    """Raise `PreconditionError` or `NotModifiedError` unless an object is what the conditions of its read ask for."""
    if options.if_match is not None and info.etag != options.if_match:
        raise OTHER.kind(OTHER.advice)
    if options.if_none_match is not None and info.etag == options.if_none_match:
        raise CURRENT.kind(CURRENT.advice)
