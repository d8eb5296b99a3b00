"""Iterators of any kind, closed like generators."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TypeVar

__all__ = ["closable"]

T = TypeVar("T")


def closable(results: Iterator[T]) -> Generator[T, None, None]:
    """The same, whatever kind of iterator a backend returns: closing it closes that one, if it can be closed."""
    yield from results
