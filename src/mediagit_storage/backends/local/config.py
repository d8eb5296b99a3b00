"""What a local storage is opened with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from mediagit_storage.errors import ConfigError

__all__ = ["Durability", "LayoutName", "LocalConfig"]

#: ``plain``: keys are file names. ``sharded``: any key, encoded; see `mediagit_storage.backends.local.layout`.
LayoutName = Literal["plain", "sharded"]

#: When a put has survived a power loss: ``full`` at its return, ``batch`` also, but a batch syncs in groups,
#: ``none`` whenever the operating system gets round to it.
Durability = Literal["full", "batch", "none"]


@dataclass(frozen=True, slots=True)
class LocalConfig:
    """The options of a `LocalBackend`, checked. A wrong one is a `ConfigError` that says what is allowed."""

    path: str
    layout: LayoutName = "plain"
    durability: Durability = "full"
    follow_symlinks: bool = False
    file_mode: int = 0o600
    folder_mode: int = 0o700

    def __post_init__(self) -> None:
        if not self.path or "\0" in self.path:
            raise ConfigError("a local storage needs the path of a folder")
        _one_of("layout", self.layout, get_args(LayoutName))
        _one_of("durability", self.durability, get_args(Durability))
        for name, mode, least in (("file_mode", self.file_mode, 0o600), ("folder_mode", self.folder_mode, 0o700)):
            if not 0 <= mode <= 0o777 or mode & least != least:
                raise ConfigError(f"{name} is a number of permission bits that includes the owner's, like 0o{least:o}")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} is one of {', '.join(allowed)}, not {value!r}")
