"""The options of the cache layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from mediagit_storage.errors import ConfigError

__all__ = ["CacheConfig", "Validate"]

#: When the storage is asked whether a kept object is still the current one.
Validate = Literal["etag", "immutable", "ttl"]

_MIB: Final = 1024 * 1024
#: Smaller chunks would cost more in names and files than they hold, in bytes.
_SMALLEST_CHUNK: Final = 1024


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """What is kept, for how long it is believed, and where.

    ===================== ==========================================================================================
    ``validate``          ``etag`` asks at every use, ``ttl`` when the last answer is older than ``ttl``, ``immutable``
                          never again: for objects that nobody writes twice
    ``ttl``               seconds, with ``validate="ttl"`` and only then
    ``negative_ttl``      seconds for which an object that was not found is not asked for again; 0 always asks
    ``memory_bytes``      the most that is kept in memory; 0 keeps nothing there
    ``memory_entries``    the most chunks, and the most objects, that memory knows of
    ``folder``            where the disk tier is; None has none. It may be shared by processes and storages
    ``disk_bytes``        the most that the folder holds, in bytes of files
    ``disk_entries``      the most files in it
    ``chunk_size``        objects are kept in pieces of so many bytes; a smaller read fetches the whole piece
    ``read_ahead``        how many bytes more are fetched when ranges are read in order; 0 fetches none
    ``max_object``        larger objects are not kept; None keeps parts of any
    ``plaintext_on_disk`` allows a folder outside of an encrypt layer: the files in it are not encrypted
    ===================== ==========================================================================================
    """

    validate: Validate = "etag"
    ttl: float | None = None
    negative_ttl: float = 0.0
    memory_bytes: int = 64 * _MIB
    memory_entries: int = 10_000
    folder: str | None = None
    disk_bytes: int = 10 * 1024 * _MIB
    disk_entries: int = 100_000
    chunk_size: int = _MIB
    read_ahead: int = 4 * _MIB
    max_object: int | None = None
    plaintext_on_disk: bool = False

    def __post_init__(self) -> None:
        if self.validate not in get_args(Validate):
            raise ConfigError(f"validate is one of {', '.join(get_args(Validate))}, not {self.validate!r}")
        if (self.validate == "ttl") != (self.ttl is not None):
            raise ConfigError('ttl (in seconds) goes with validate="ttl", and only with it')
        if self.ttl is not None and self.ttl <= 0:
            raise ConfigError("ttl is a positive number of seconds; validate='etag' asks at every use")
        for name in ("negative_ttl", "memory_bytes", "memory_entries", "disk_bytes", "disk_entries", "read_ahead"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is not negative")
        if self.max_object is not None and self.max_object < 0:
            raise ConfigError("max_object is not negative")
        if self.chunk_size < _SMALLEST_CHUNK:
            raise ConfigError(f"chunk_size is at least {_SMALLEST_CHUNK:,} bytes")
        if not self.keeps_memory and not self.keeps_disk:
            raise ConfigError("this cache has no place to keep anything in: give it memory_bytes or a folder")

    @property
    def keeps_memory(self) -> bool:
        """Whether there is a memory tier."""
        return self.memory_bytes > 0 and self.memory_entries > 0

    @property
    def keeps_disk(self) -> bool:
        """Whether there is a disk tier."""
        return self.folder is not None and self.disk_bytes > 0 and self.disk_entries > 0

    @property
    def capacity(self) -> int:
        """The bytes of the larger tier: a read of more is not kept."""
        return max(self.memory_bytes if self.keeps_memory else 0, self.disk_bytes if self.keeps_disk else 0)
