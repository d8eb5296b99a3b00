"""The options of the layer ``compress``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final, Literal, get_args

from mediagit_storage.errors import ConfigError
from mediagit_storage.layers.compress.framing import Limits

__all__ = ["CompressConfig", "Foreign"]

#: What is done with objects that the layer did not write: refused, or read as they are.
Foreign = Literal["refuse", "pass"]

_LEVELS: Final = range(-100, 23)
_SMALLEST_FRAME: Final = 4096
#: More need a window that the stock program refuses unless it is told a larger one.
_LARGEST_FRAME: Final = 128 * 1024 * 1024
#: More threads than this hardly gain, and each holds a frame.
_MOST_THREADS: Final = 8


@dataclass(frozen=True, slots=True)
class CompressConfig:
    """How objects are compressed, and what is read.

    ``level`` is zstd's: 1 to 22, larger is smaller and slower; negative ones are quicker. ``frame_size`` is how many
    plain bytes a frame has: a range read fetches whole frames, and small ones compress less well. ``threads`` work on one
    large object; 0 means one for each core, up to 8; each holds a frame in memory. ``foreign`` is what becomes of objects
    that this layer did not write: ``refuse``, or ``pass`` to read them as they are. ``max_frame_size`` and ``max_size``
    (None: any) are the most plain bytes of a frame and of an object that are read; more is a `LimitExceededError`.
    """

    level: int = 3
    frame_size: int = 1024 * 1024
    threads: int = 0
    foreign: Foreign = "refuse"
    max_frame_size: int = 64 * 1024 * 1024
    max_size: int | None = None

    def __post_init__(self) -> None:
        if self.level not in _LEVELS:
            raise ConfigError(f"level is {_LEVELS[0]} to {_LEVELS[-1]}, not {self.level}")
        if not _SMALLEST_FRAME <= self.max_frame_size <= _LARGEST_FRAME:
            raise ConfigError(
                f"max_frame_size is {_SMALLEST_FRAME:,} to {_LARGEST_FRAME:,}, not {self.max_frame_size:,}"
            )
        if not _SMALLEST_FRAME <= self.frame_size <= self.max_frame_size:
            raise ConfigError(
                f"frame_size is {_SMALLEST_FRAME:,} to max_frame_size ({self.max_frame_size:,}), not {self.frame_size:,}"
            )
        if self.threads < 0:
            raise ConfigError(f"threads is 0 (one for each core) or more, not {self.threads}")
        if self.foreign not in get_args(Foreign):
            raise ConfigError(f"foreign is 'refuse' or 'pass', not {self.foreign!r}")
        if self.max_size is not None and self.max_size < 0:
            raise ConfigError(f"max_size is not negative: {self.max_size}")

    @property
    def workers(self) -> int:
        """The threads for one object."""
        return self.threads or min(_MOST_THREADS, os.cpu_count() or 1)

    @property
    def limits(self) -> Limits:
        """What a reader puts up with."""
        return Limits(self.max_frame_size, self.max_size)
