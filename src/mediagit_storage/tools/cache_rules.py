"""Rules of a profile that say for how long copies of its objects may be kept: ``Cache-Control`` by key and content type.

::

    [[media.cdn.rules]]
    match = "*.html"                       # by the key, as filters match it; or content_type = "image/*", or both
    cache_control = "no-cache"
    [[media.cdn.rules]]
    cache_control = "public, max-age=86400"

The first rule that matches counts. They fill in what an object that is stored does not say itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mediagit_storage.attributes import checked_attributes, guess_content_type
from mediagit_storage.config import Profile, load_profiles
from mediagit_storage.errors import ConfigError
from mediagit_storage.options import Origin, build_config, given
from mediagit_storage.tools.filters import compile_glob, glob_of_filter
from mediagit_storage.types import Attributes
from mediagit_storage.url import profile_part

__all__ = ["NO_RULES", "CacheRule", "CacheRules", "cache_rules_of", "rules_of_profile"]


#: Both parts: a ``*`` alone would match what has no type, and nothing else.
_TYPE: Final = re.compile(r"[^/;\s]+/[^/;\s]+").fullmatch


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRule:
    """What objects get whose key is matched by ``match`` and whose content type by ``content_type``; None matches all.

    A ``match`` without ``/`` looks at the last segment of the key, one with ``/`` at all of it, and one that ends with
    ``/`` at folders and everything in them.
    """

    cache_control: str
    match: str | None = None
    content_type: str | None = None

    def __post_init__(self) -> None:
        if not self.cache_control:
            raise ConfigError("cache_control is a text that is not empty")
        checked_attributes(Attributes(cache_control=self.cache_control))
        if self.content_type is not None and not _TYPE(self.content_type):
            raise ConfigError('content_type is like "text/html" or "image/*", without parameters; leave it out for all')


class CacheRules:
    """Ordered rules. Equal to others of the same rules."""

    def __init__(self, rules: Sequence[CacheRule] = ()) -> None:
        self._rules = tuple(rules)
        self._compiled = [
            (_key_pattern(rule.match), _type_pattern(rule.content_type), rule.cache_control) for rule in rules
        ]

    def __bool__(self) -> bool:
        return bool(self._rules)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CacheRules) and self._rules == other._rules

    def __hash__(self) -> int:
        return hash(self._rules)

    def cache_control(self, key: str, content_type: str | None = None) -> str | None:
        """What the first rule that matches says; None without one. A content type that is not given is guessed."""
        kind = (content_type or guess_content_type(key) or "").partition(";")[0].strip().lower()
        for by_key, by_type, value in self._compiled:
            if (by_key is None or by_key.fullmatch(key)) and (by_type is None or by_type.fullmatch(kind)):
                return value
        return None


#: What storages without a profile have.
NO_RULES = CacheRules()


def cache_rules_of(target: str) -> CacheRules:
    """The rules for what is stored at ``target``, the argument of a command: those of the profile that it names."""
    found = profile_part(target)
    return NO_RULES if found is None else rules_of_profile(load_profiles().get(found[0]))


def rules_of_profile(profile: Profile) -> CacheRules:
    """The rules in the table ``cdn`` of a profile. Raises `ConfigError` for one that cannot be."""
    rules: list[CacheRule] = []
    tables = (profile.cdn or {}).get("rules", [])
    for number, table in enumerate(tables if isinstance(tables, list) else [], 1):
        if isinstance(table, dict):
            try:
                rule = build_config(CacheRule, given(table, Origin.PROFILE), "a rule")
                _key_pattern(rule.match)
                rules.append(rule)
            except ConfigError as error:
                raise ConfigError(f"rule {number} of the CDN of profile {profile.name!r}: {error.message}") from None
    return CacheRules(rules)


def _key_pattern(match: str | None) -> re.Pattern[str] | None:
    return None if match is None else glob_of_filter(match)


def _type_pattern(text: str | None) -> re.Pattern[str] | None:
    return None if text is None else compile_glob(text.lower())
