"""Which keys are meant: globs, and ordered filters of which the first match wins. Pure functions, no I/O.

In a pattern ``*`` is any text within one segment, ``**`` any text at all, ``?`` one character other than ``/``, and
``[abc]``, ``[a-z]``, ``[!a-z]`` one character of (or outside of) a set.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from mediagit_storage.errors import ConfigError

__all__ = ["Filter", "Filters", "compile_glob", "fixed_prefix", "glob_of_filter", "is_glob"]

_SPECIAL: Final = re.compile(r"[*?\[]")


def is_glob(key: str) -> bool:
    """Whether a key has characters that make it a pattern."""
    return _SPECIAL.search(key) is not None


def fixed_prefix(pattern: str) -> str:
    """The text that everything a pattern matches starts with: what a listing may be narrowed to."""
    found = _SPECIAL.search(pattern)
    return pattern if found is None else pattern[: found.start()]


def compile_glob(pattern: str) -> re.Pattern[str]:
    """The regular expression that matches whole keys as the pattern says. A set that never ends is a `ConfigError`."""
    parts: list[str] = []
    index = 0
    while index < len(pattern):
        index = _translate(pattern, index, parts)
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error:
        raise ConfigError(f"the pattern {pattern!r} holds a set of characters that runs backwards") from None


def _translate(pattern: str, index: int, parts: list[str]) -> int:
    """Append the expression for what stands at ``index`` and return where the next begins."""
    character = pattern[index]
    if pattern.startswith("**/", index) and (index == 0 or pattern[index - 1] == "/"):
        parts.append("(?:.*/)?")  # also nothing, so that `a/**/b` matches `a/b`
        return index + 3
    if pattern.startswith("**", index):
        parts.append(".*")
        return index + 2
    if character == "*":
        parts.append("[^/]*")
    elif character == "?":
        parts.append("[^/]")
    elif character == "[":
        return _translate_set(pattern, index, parts)
    else:
        parts.append(re.escape(character))
    return index + 1


def _translate_set(pattern: str, index: int, parts: list[str]) -> int:
    negated = pattern[index + 1 : index + 2] in {"!", "^"}
    start = index + 1 + negated
    end = pattern.find("]", start + 1)  # a ] in first place stands for itself
    if end < 0:
        raise ConfigError(f"the pattern {pattern!r} opens a set with [ and never ends it; a literal [ is written [[]")
    members = re.sub(r"([\\\[\]^&~|])", r"\\\1", pattern[start:end])
    parts.append(f"(?!/)[{'^' if negated else ''}{members}]")
    return end + 1


class Filter(NamedTuple):
    """One rule: keys that match ``pattern`` are taken (``include``) or left out."""

    include: bool
    pattern: str


class Filters:
    """Ordered rules; the first that matches decides, and without one the opposite of the last rule holds.

    So ``--include '*.png'`` alone takes only these, and ``--exclude '*.tmp'`` alone takes everything else. A pattern
    without ``/`` looks at the last segment of a key, one with ``/`` at the whole key below the folder that is copied,
    and one that ends with ``/`` at folders and everything in them. No rules take everything.
    """

    def __init__(self, rules: Sequence[Filter] = ()) -> None:
        self._rules = [(rule.include, glob_of_filter(rule.pattern)) for rule in rules]
        self._otherwise = not rules[-1].include if rules else True

    def takes(self, name: str) -> bool:
        """Whether the key ``name``, relative to the folder that is copied, is meant."""
        for include, expression in self._rules:
            if expression.fullmatch(name):
                return include
        return self._otherwise


def glob_of_filter(pattern: str) -> re.Pattern[str]:
    """The regular expression for the pattern of a filter, as `Filters` says. One that matches nothing is a `ConfigError`."""
    body = pattern.rstrip("/")
    if not body:
        raise ConfigError(f"the filter {pattern!r} matches no key")
    anywhere = "" if "/" in body else "(?:.*/)?"
    below = "/.*" if pattern.endswith("/") else ""
    return re.compile(anywhere + compile_glob(body.removeprefix("/")).pattern + below, re.DOTALL)
