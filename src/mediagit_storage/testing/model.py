"""What a storage should hold after any sequence of calls, as a dictionary: the oracle of the state machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mediagit_storage.types import Attributes

__all__ = ["Held", "Model"]


_NONE: Final = Attributes()


@dataclass(frozen=True, slots=True)
class Held:
    """One object: its bytes and what it says about itself."""

    data: bytes
    attributes: Attributes = _NONE


class Model:
    """Keys to objects. ``nested_keys`` False is a storage that cannot hold ``a`` beside ``a/b``."""

    def __init__(self, *, nested_keys: bool) -> None:
        self.objects: dict[str, Held] = {}
        self._nested_keys = nested_keys

    def listing(self, prefix: str = "", start_after: str | None = None) -> list[str]:
        """What a listing shows."""
        after = b"" if start_after is None else start_after.encode()
        found = (key for key in self.objects if key.startswith(prefix) and key.encode() > after)
        return sorted(found, key=str.encode)

    def level(self, prefix: str = "", start_after: str | None = None) -> list[str]:
        """What one level shows: keys, and folders with their slash, sorted together."""
        names = {_name_on_level(key, len(prefix)) for key in self.objects if key.startswith(prefix)}
        after = b"" if start_after is None else start_after.encode()
        return sorted((name for name in names if name.encode() > after), key=str.encode)

    def conflicts(self, key: str, leaving: str | None = None) -> bool:
        """Whether the storage cannot hold ``key`` beside the others (``leaving`` is about to go)."""
        if self._nested_keys:
            return False
        others = [each for each in self.objects if each != leaving]
        return any(each.startswith(key + "/") or key.startswith(each + "/") for each in others)


def _name_on_level(key: str, start: int) -> str:
    cut = key.find("/", start)
    return key if cut < 0 else key[: cut + 1]
