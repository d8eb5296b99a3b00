"""``mgs cache``: what the disk tiers of caches hold, and how to empty them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from mediagit_storage.cli.framework import Group, Run, common, complete_target, dry_run, pass_run
from mediagit_storage.cli.output import Output
from mediagit_storage.cli.session import session
from mediagit_storage.cli.text import columns, human_bytes, plural
from mediagit_storage.clock import SYSTEM_CLOCK
from mediagit_storage.config import load_profiles
from mediagit_storage.errors import ConfigError, UnavailableError
from mediagit_storage.layers.base import layers_of
from mediagit_storage.layers.cache import CacheConfig, CacheLayer, DiskTier, DiskUsage
from mediagit_storage.layers.cache.layer import disk_folder
from mediagit_storage.types import JSON

__all__ = ["command"]

_folders = click.option(
    "--folder", "folders", metavar="FOLDER", multiple=True, help="A cache's folder itself. May be repeated."
)


@click.group("cache", cls=Group)
def command() -> None:
    """Show and empty the folders in which caches keep what was read.

    A storage has such a folder where its profile, or a program, puts the layer `cache` with a folder around it. What is
    in there can be thrown away at any time, also while it is used: it is fetched again when it is needed.
    """


@command.command("stats")
@click.argument("storages", metavar="STORAGE...", nargs=-1, shell_complete=complete_target)
@_folders
@common
@pass_run
def stats_command(run: Run, storages: tuple[str, ...], *, folders: tuple[str, ...]) -> None:
    """Show how much caches hold on disk.

    STORAGE is a profile whose layers have a cache with a folder; without any, those of all profiles are shown. A line
    is: bytes, files, how often something was found there, how many files made room for others or were found damaged
    (since it was last emptied), and the folder.

    \b
    Examples:
      mgs cache stats
      mgs cache stats media: --json
      mgs cache stats --folder ~/.cache/media
    """  # noqa: D301  # \b keeps click from joining the lines
    out = Output(json=run.json, quiet=run.quiet)
    rows: list[list[str]] = []
    for folder in _chosen(run, out, storages, folders):
        usage = _usage(folder)
        if run.json:
            out.record("cache", _record(folder, usage))
        rows.append([human_bytes(usage.bytes), *(f"{count:,}" for count in usage[1:]), str(folder)])
    if rows and not run.json:
        for line in columns([["bytes", "files", "found", "evicted", "healed", "folder"], *rows]):
            out.line(line)


@command.command("clear")
@click.argument("storages", metavar="STORAGE...", nargs=-1, shell_complete=complete_target)
@_folders
@dry_run
@common
@pass_run
def clear_command(run: Run, storages: tuple[str, ...], *, folders: tuple[str, ...]) -> None:
    """Empty caches on disk.

    STORAGE is a profile whose layers have a cache with a folder; without any, those of all profiles are emptied. What
    is stored is not touched, nor are files in the folder that are not the cache's. Programs that have the storage open
    keep what they hold in memory.

    \b
    Examples:
      mgs cache clear --dry-run
      mgs cache clear media:
    """  # noqa: D301  # \b keeps click from joining the lines
    out = Output(json=run.json, quiet=run.quiet)
    for folder in _chosen(run, out, storages, folders):
        usage = _usage(folder) if run.dry_run else _cleared(folder)
        if run.json:
            out.record("cache", _record(folder, usage))
        else:
            what = f"{plural(usage.entries, 'file')}, {human_bytes(usage.bytes)}"
            out.note(f"{'would remove' if run.dry_run else 'removed'} {what} from {folder}")


def _chosen(run: Run, out: Output, storages: Sequence[str], folders: Sequence[str]) -> Sequence[Path]:
    """The folders that were named, each once, in order."""
    found = [Path(each).expanduser().absolute() for each in folders]
    for folder in found:
        if not (folder / "entries").is_dir():
            raise ConfigError(f"{folder} is no folder of a cache")
    if storages:
        found += _of_storages(run, storages)
    elif not folders:
        found += _of_profiles()
        if not found:
            out.note("no profile has a cache with a folder; --folder names one")
    return [*dict.fromkeys(found)]


def _of_storages(run: Run, storages: Sequence[str]) -> Sequence[Path]:
    found: list[Path] = []
    with session(run) as this:
        for text in storages:
            stack = layers_of(this.whole(text).backend)
            configs = [layer.config for layer in stack if isinstance(layer, CacheLayer)]
            own = [folder for each in configs if isinstance(each, CacheConfig) and (folder := disk_folder(each))]
            if not own:
                raise ConfigError(f"{text!r} has no cache with a folder")
            found += own
    return found


def _of_profiles() -> Sequence[Path]:
    layers = [layer for profile in load_profiles().by_name.values() for layer in profile.layers]
    named = [layer.get("folder") for layer in layers if layer.get("layer") == CacheLayer.layer_name]
    return [Path(folder).expanduser().absolute() for folder in named if isinstance(folder, str)]


def _usage(folder: Path) -> DiskUsage:
    """What is there; nothing where nobody has used the cache yet."""
    return _tier(folder).usage() if (folder / "entries").is_dir() else DiskUsage()


def _cleared(folder: Path) -> DiskUsage:
    try:
        return _tier(folder).clear() if (folder / "entries").is_dir() else DiskUsage()
    except BlockingIOError as error:
        raise UnavailableError(f"{folder} cannot be emptied now: {error.strerror}") from error


def _tier(folder: Path) -> DiskTier:
    return DiskTier(folder, 0, 0, clock=SYSTEM_CLOCK)


def _record(folder: Path, usage: DiskUsage) -> dict[str, JSON]:
    return {"folder": str(folder), **usage._asdict()}
