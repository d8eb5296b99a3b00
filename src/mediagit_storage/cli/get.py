"""``mgs get``."""

from __future__ import annotations

import errno
import sys
import time
from pathlib import Path

import click

from mediagit_storage.cli.framework import Command, Run, common, complete_target, pass_run
from mediagit_storage.cli.limits import limiting
from mediagit_storage.cli.output import object_record
from mediagit_storage.cli.progress_bar import progress_bar
from mediagit_storage.cli.session import Place, session
from mediagit_storage.errors import ConfigError, InvalidKeyError
from mediagit_storage.types import ObjectInfo

__all__ = ["command"]


@click.command("get", cls=Command)
@click.argument("source", shell_complete=complete_target)
@click.argument("file", required=False, shell_complete=complete_target)
@click.option("--overwrite/--no-overwrite", default=True, help="Replace the file if it exists (default), or refuse.")
@click.option("--resume/--no-resume", default=True, help="Go on with a large download that broke off (default).")
@click.option("--version", "version", metavar="ID", help="This version instead of the current one.")
@limiting
@common
@pass_run
def command(run: Run, source: str, file: str | None, *, overwrite: bool, resume: bool, version: str | None) -> None:
    """Fetch one object into a file.

    FILE is a path, a folder (the object keeps its name), or - for standard output; without it the object lands in the
    current folder. The file appears only when it is complete; what a large download had fetched when it broke off is
    kept in a hidden file beside it, and the same command goes on from there.
    """
    with session(run) as this:
        place = this.place(source)
        started = time.monotonic()
        with progress_bar(this):
            if file == "-":
                info = _write(place, version)
            else:
                path = _path(file, place)
                info = place.store.download(
                    place.object_key(), path, version=version, overwrite=overwrite, resume=resume
                )
        if run.json and file != "-":
            this.out.record("object", {**object_record(info), "file": str(path)})
        elif not run.json:
            this.out.summary("fetched", 1, info.size or 0, time.monotonic() - started, {})


def _write(place: Place, version: str | None) -> ObjectInfo:
    with place.store.stream(place.object_key(), version=version) as stream:
        for piece in stream:
            sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
    return stream.info


def _path(file: str | None, place: Place) -> Path:
    """The file to write. A name that comes from a key stays inside of the folder."""
    if file is not None and not file.endswith("/") and not Path(file).is_dir():
        return _in_existing(Path(file))
    name = place.key.rpartition("/")[2]
    if not place.key or not name:
        raise ConfigError(f"{place.text!r} is a folder: use `mgs cp -r`")
    if name in {".", ".."} or "\0" in name:
        raise InvalidKeyError("its last part cannot be the name of a file: name one", key=place.key)
    return _in_existing(Path(file or ".") / name)


def _in_existing(path: Path) -> Path:
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(path.parent))
    return path
