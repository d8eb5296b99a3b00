"""Ranges of names, and how to find some that part the work, without reading a listing to its end. Pure functions.

All order is that of `keys.sort_key`: by the bytes of UTF-8, as listings are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from mediagit_storage.keys import sort_key

__all__ = ["EVERYTHING", "KeyRange", "Stretch", "cut", "divided", "midpoint", "sampled"]

#: The characters that names between two others are made of: what every service takes in a request and gives back in XML.
_SAFE: Final = ((0x20, 0x7E), (0xA1, 0xD7FF), (0xE000, 0xFDCF), (0xFDF0, 0xFFFD), (0x10000, 0x10FFFD))
_FIRSTS: Final = [first for first, _ in _SAFE]
#: How many characters stand before each part of them, and all together.
_BEFORE: Final = [sum(last - first + 1 for first, last in _SAFE[:index]) for index in range(len(_SAFE) + 1)]
#: Characters behind a common beginning that count for what is in the middle.
_WIDTH: Final = 4
#: Questions in vain after which it is worth to find out what all names begin with.
_BLIND: Final = 4
#: The first character behind those that most names are made of.
_BEYOND: Final = "\xa1"


class KeyRange(NamedTuple):
    """The names behind ``after`` up to ``until``, which belongs to it; None is the beginning or the end of all names."""

    after: str | None = None
    until: str | None = None

    def holds(self, name: str) -> bool:
        """Whether a name lies in it."""
        behind = self.after is None or sort_key(name) > sort_key(self.after)
        return behind and not self.ends_before(name)

    def ends_before(self, name: str) -> bool:
        """Whether a name comes behind the range."""
        return self.until is not None and sort_key(name) > sort_key(self.until)

    def parted(self, name: str) -> tuple[KeyRange, KeyRange]:
        """The names up to ``name``, which lies in it, and those behind."""
        return KeyRange(self.after, name), KeyRange(name, self.until)


#: All names there are.
EVERYTHING: Final = KeyRange()


def cut(within: KeyRange, bounds: Iterable[str]) -> Sequence[KeyRange]:
    """``within``, parted behind each of the ``bounds`` that lie in it: each of its names is in one of them exactly.

    That holds for every name there may be, so also for those that come later. In order; bounds in any.
    """
    inside = sorted({each for each in bounds if within.holds(each) and each != within.until}, key=sort_key)
    edges = [within.after, *inside, within.until]
    return [KeyRange(after, until) for after, until in pairwise(edges)]


def midpoint(low: str, high: str | None) -> str | None:
    """A short text from ``low`` on and before ``high`` (None: the end of all names), about in the middle; None if none is.

    Texts count as fractions whose digits are characters, so it lies where names that are spread evenly have their middle.
    """
    common = 0 if high is None else _common(low, high)
    ours = _number(low[common:])
    theirs = (_BEFORE[-1] + 1) ** _WIDTH if high is None else _number(high[common:])
    text = low[:common] + _text((ours + theirs) // 2)
    for length in range(common + 1, len(text) + 1):
        short = text[:length]
        if sort_key(low) <= sort_key(short) and (high is None or sort_key(short) < sort_key(high)):
            return short
    return None


def _common(one: str, other: str) -> int:
    return next(
        (index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _digit(character: str) -> int:
    """The place of a character among the safe ones, from 1; of another one that of the next lower, 0 if there is none."""
    part = bisect_right(_FIRSTS, ord(character)) - 1
    if part < 0:
        return 0
    first, last = _SAFE[part]
    return _BEFORE[part] + min(ord(character), last) - first + 1


def _number(text: str) -> int:
    number = 0
    for index in range(_WIDTH):
        number = number * (_BEFORE[-1] + 1) + (_digit(text[index]) if index < len(text) else 0)
    return number


def _text(number: int) -> str:
    digits: deque[int] = deque()
    for _ in range(_WIDTH):
        number, digit = divmod(number, _BEFORE[-1] + 1)
        digits.appendleft(digit)
    text = ""
    for digit in digits:
        if not digit:
            break
        part = bisect_right(_BEFORE, digit - 1) - 1
        text += chr(_SAFE[part][0] + digit - 1 - _BEFORE[part])
    return text


class Stretch(NamedTuple):
    """A range that holds something, as far as is known: no name in it is below ``low``, and none above ``high``."""

    within: KeyRange
    low: str
    high: str | None


#: Asks what comes next behind a name, if anything: one request.
NextAfter = Callable[[str], str | None]


def divided(stretch: Stretch, next_after: NextAfter, probes: int) -> tuple[Stretch, Stretch] | None:
    """Part a stretch about where the middle of its names would be if they were spread evenly, so that both hold something.

    Bisects between what is known of its ends, by at most so many ``probes`` and the few that find what all names begin with;
    None where that finds no such place.
    """
    high = stretch.high
    for probe in range(probes):
        if probe == _BLIND:
            high = _narrowed(stretch._replace(high=high), next_after)
        middle = midpoint(stretch.low, high)
        if middle is None:
            return None
        found = next_after(middle)
        if found is not None and stretch.within.holds(found):
            one, other = stretch.within.parted(middle)
            return Stretch(one, stretch.low, middle), Stretch(other, found, high)
        high = middle
    return None


def _narrowed(stretch: Stretch, next_after: NextAfter) -> str | None:
    """A better upper end, where all names begin with the same characters: found by halving the length of those."""
    low, high = stretch.low, stretch.high
    least, most = 0, len(low)
    while least < most:
        length = (least + most + 1) // 2
        bound = low[:length] + _BEYOND
        lower = high is None or sort_key(bound) < sort_key(high)
        found = next_after(bound) if lower else None
        if found is not None and stretch.within.holds(found):
            most = length - 1
            continue
        least = length
        if lower:
            high = bound
    return high


def sampled(within: KeyRange, count: int, next_after: NextAfter, *, first: str, probes: int = 40) -> Sequence[Stretch]:
    """Up to ``count`` stretches that part ``within`` in order, ``first`` being its first name; those that divide no more stay.

    Most divisions take a question or two; one that takes ``probes`` is given up.
    """
    open_ones = deque([Stretch(within, first, within.until)])
    closed: list[Stretch] = []
    while open_ones and len(open_ones) + len(closed) < count:
        stretch = open_ones.popleft()
        halves = divided(stretch, next_after, probes)
        if halves is None:
            closed.append(stretch)
        else:
            open_ones.extend(halves)
    return sorted([*open_ones, *closed], key=lambda each: sort_key(each.within.after or ""))
