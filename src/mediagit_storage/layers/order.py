"""Which layer may lie outside of which: rules as data, and the one function that holds a stack to them.

Layers are known by their names, so that asking for the order of a stack imports none of them. What no rule speaks of
may be in any order. A layer of a third party brings rules of its own in `Layer.order_rules`, or none.

``docs/guides/layers.md`` is written from these tables by ``scripts/layer_orders.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from mediagit_storage.errors import ConfigError

__all__ = ["LAYERS", "RULES", "Kind", "NotBetween", "Once", "Outside", "Placed", "Rule", "check_order"]


class Placed(NamedTuple):
    """One layer of a stack: its name, and the configuration that it has there."""

    name: str
    config: object


@dataclass(frozen=True, slots=True)
class Outside:
    """``outer`` never lies inside of ``inner``.

    ``unless`` names an option of ``inner`` that lifts the rule, and ``only_with`` one without which it does not apply.
    """

    outer: str
    inner: str
    why: str
    unless: str | None = None
    only_with: str | None = None

    def __str__(self) -> str:
        lifted = f" (unless {self.inner} says {self.unless})" if self.unless else ""
        return f"{self.outer} goes outside of {self.inner}{lifted}"

    def holds(self, stack: Sequence[Placed]) -> bool:
        """Whether a stack, outermost first, keeps this rule."""
        exposed = False
        for name, config in stack:
            if name == self.outer and exposed:
                return False
            exposed = exposed or (name == self.inner and self._applies(config))
        return True

    def _applies(self, config: object) -> bool:
        lifted = self.unless is not None and bool(getattr(config, self.unless, False))
        concerned = self.only_with is None or bool(getattr(config, self.only_with, False))
        return concerned and not lifted


@dataclass(frozen=True, slots=True)
class NotBetween:
    """``layer`` lies outside of both ``outer`` and ``inner`` or inside of both, and never between the two."""

    layer: str
    outer: str
    inner: str
    why: str

    def __str__(self) -> str:
        return f"{self.layer} goes outside of both {self.outer} and {self.inner} or inside of both, never between them"

    def holds(self, stack: Sequence[Placed]) -> bool:
        """Whether a stack, outermost first, keeps this rule."""
        names = [each.name for each in stack]
        places = [place for place, name in enumerate(names) if name == self.layer]
        return not any(
            (self.outer in names[:place] and self.inner in names[place:])
            or (self.inner in names[:place] and self.outer in names[place:])
            for place in places
        )


@dataclass(frozen=True, slots=True)
class Once:
    """A stack has ``layer`` at most once."""

    layer: str
    why: str

    def __str__(self) -> str:
        return f"{self.layer} goes into a stack once"

    def holds(self, stack: Sequence[Placed]) -> bool:
        """Whether a stack keeps this rule."""
        return sum(each.name == self.layer for each in stack) <= 1


Rule: TypeAlias = Outside | NotBetween | Once


class Kind(NamedTuple):
    """What a built-in layer is for, in a few words; ``links`` says whether presigned links pass through it."""

    name: str
    purpose: str
    links: bool = True


#: Every built-in layer, in the order in which a stack with many of them usually has them, outermost first.
LAYERS: Final = (
    Kind("observe", "log lines, metrics, spans and an audit log"),
    Kind("readonly", "refuses whatever could change something"),
    Kind("prefix", "a part of a storage as a storage of its own"),
    Kind("compress", "makes objects smaller, with zstd", links=False),
    Kind("encrypt", "objects that only holders of a key can read, with age", links=False),
    Kind("checksum", "keeps the BLAKE3 of the content, and verifies it on reads"),
    Kind("cache", "keeps what was read, in memory and on disk"),
    Kind("throttle", "bytes and requests per second"),
    Kind("migrating", "a new storage in front of an old one, while objects move"),
    Kind("mirror", "several storages as one: the first decides, the others follow"),
    Kind("retry", "repeats what failed for a while"),
)

_REPEATED_INSIDE: Final = "what is read again from where it broke off is then {} as one whole"

#: The order of the built-in layers. What is not here is free.
RULES: Final[tuple[Rule, ...]] = (
    Outside("compress", "encrypt", "encrypted bytes do not get smaller"),
    Outside(
        "encrypt",
        "cache",
        "a cache outside of encrypt keeps plain text on its disk",
        unless="plaintext_on_disk",
        only_with="folder",
    ),
    NotBetween("checksum", "compress", "encrypt", "it would be a digest of neither the content nor what is stored"),
    Outside(
        "encrypt",
        "checksum",
        "a digest of the plain text would lie in the open, and confirm what somebody guesses",
        unless="digest_in_clear",
    ),
    Outside("checksum", "cache", "what is put together of kept parts is then verified as one whole"),
    Outside("checksum", "throttle", "what is hashed before it is sent would be paid twice"),
    Outside("checksum", "retry", _REPEATED_INSIDE.format("verified")),
    Outside("compress", "retry", _REPEATED_INSIDE.format("unpacked")),
    Outside("encrypt", "retry", _REPEATED_INSIDE.format("decrypted")),
    Outside(
        "cache",
        "migrating",
        "an absence that a cache remembers is no proof that only the old storage has the object",
    ),
    Outside(
        "cache",
        "mirror",
        "what is copied to the replicas has to come from the storage, and not from what is kept of it",
    ),
    Once("checksum", "its digests have one place in an object's metadata"),
    Once("compress", "what is compressed already does not get smaller"),
    Once("encrypt", "several recipients of one layer do what several layers would"),
    Once("retry", "attempts would multiply"),
)


def check_order(stack: Sequence[Placed], more: Iterable[Rule] = ()) -> None:
    """Raise `ConfigError` where ``stack``, outermost first, breaks one of `RULES` or ``more``; it says what is right."""
    for rule in (*RULES, *more):
        if not rule.holds(stack):
            order = " > ".join(each.name for each in stack)
            raise ConfigError(f"the layers {order} (outermost first) cannot be stacked so: {rule}, because {rule.why}")
