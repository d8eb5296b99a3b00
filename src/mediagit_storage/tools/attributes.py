"""Which attributes a copy gets: what the source has, as far as the target can keep it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TypeVar

from mediagit_storage.attributes import checked_attributes, guess_content_type, without_reserved
from mediagit_storage.errors import UnsupportedError
from mediagit_storage.tools.cache_rules import NO_RULES, CacheRules
from mediagit_storage.types import Attributes

__all__ = ["kept_attributes"]

T = TypeVar("T")


def kept_attributes(
    found: Attributes,
    key: str,
    keeps: frozenset[str],
    *,
    guess_types: bool,
    drop: bool,
    cache: CacheRules = NO_RULES,
) -> Attributes | None:
    """The attributes for an object that becomes ``key`` where ``keeps`` are kept; None for none at all.

    ``cache`` says for how long copies may be kept where the object does not.
    What cannot be kept is an `UnsupportedError`, or is dropped on demand. What layers keep in the metadata stays behind:
    those of the target keep their own.
    """
    found = without_reserved(found)
    guess = guess_types and found.content_type is None and "content_type" in keeps
    guessed = guess_content_type(key) if guess else None
    if cache and found.cache_control is None:
        found = replace(found, cache_control=cache.cache_control(key, found.content_type or guessed))
    named = found.named()
    if not named:
        return None if guessed is None else _of_type(guessed)
    if guessed is not None:
        found, named = replace(found, content_type=guessed), named | {"content_type"}
    missing = named - keeps
    if missing and not drop:
        names = ", ".join(sorted(missing))
        raise UnsupportedError(
            f"the target does not keep {names}: copy without (--drop-attributes)", operation="put", key=key
        )
    if not named - missing:
        return None
    return checked_attributes(_without(found, missing) if missing else found)


@lru_cache(maxsize=1024)
def _of_type(content_type: str) -> Attributes:
    """Most files of a folder have nothing but one of a few types: all of them share it."""
    return Attributes(content_type=content_type)


def _without(attributes: Attributes, names: frozenset[str]) -> Attributes:
    """The attributes with these fields empty."""

    def kept(name: str, value: T, empty: T) -> T:
        return empty if name in names else value

    return Attributes(
        kept("content_type", attributes.content_type, None),
        kept("cache_control", attributes.cache_control, None),
        kept("content_encoding", attributes.content_encoding, None),
        kept("content_disposition", attributes.content_disposition, None),
        kept("metadata", attributes.metadata, {}),
        kept("storage_class", attributes.storage_class, None),
        kept("tags", attributes.tags, {}),
    )
