"""The entry of the metadata by which a conditional write knows its own object again; `Storage` shows it to nobody."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from mediagit_storage.types import Attributes, ObjectInfo, PutOptions

__all__ = ["is_marked", "marked", "new_mark"]

#: Reserved by its beginning: no user's entry is named so.
_NAME: Final = "mgs-retry"


def new_mark() -> str:
    """A mark that no other write has."""
    return secrets.token_hex(16)


def marked(options: PutOptions, mark: str) -> PutOptions:
    """The same write, with the mark on its object."""
    late = options.late_attributes
    return replace(
        options,
        attributes=_with(options.attributes, mark),
        late_attributes=None if late is None else _late(late, mark),
    )


def is_marked(info: ObjectInfo, mark: str) -> bool:
    """Whether this is the object of the write with this mark."""
    return info.attributes is not None and info.attributes.metadata.get(_NAME) == mark


def _with(attributes: Attributes | None, mark: str) -> Attributes:
    given = attributes or Attributes()
    return replace(given, metadata={**given.metadata, _NAME: mark})


def _late(late: Callable[[], Attributes], mark: str) -> Callable[[], Attributes]:
    return lambda: _with(late(), mark)
