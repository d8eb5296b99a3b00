"""Which promised behaviour a test shows, in a form that a program can collect."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["covered_by", "covers"]

F = TypeVar("F", bound=Callable[..., object])


def covers(*numbers: int) -> Callable[[F], F]:
    """Mark a test with the numbers of the behaviours it shows, as the project's table of behaviours names them."""

    def mark(function: F) -> F:
        function.__dict__["covered_behaviours"] = numbers
        return function

    return mark


def covered_by(function: Callable[..., object]) -> tuple[int, ...]:
    """The numbers that `covers` gave to a test, none for any other function."""
    found: tuple[int, ...] = getattr(function, "covered_behaviours", ())
    return found
