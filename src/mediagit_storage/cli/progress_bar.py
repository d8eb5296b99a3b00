"""A bar with bytes, speed and time left on standard error, where that is a terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mediagit_storage.cli.framework import on_terminal
from mediagit_storage.cli.session import Session
from mediagit_storage.cli.text import printable
from mediagit_storage.progress import Progress, on_progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

__all__ = ["progress_bar", "wants_bar"]

#: Seconds between two drawings: quicker is not seen, and costs.
_EVERY = 0.1
#: Columns of a terminal below which only the bar, speed and time left fit into a line.
_WIDE = 70


def wants_bar(this: Session) -> bool:
    """Whether somebody would see a bar: not in a pipe, nor when JSON or quiet was asked for."""
    return not this.run.quiet and not this.run.json and on_terminal(sys.stderr)


@contextmanager
def progress_bar(this: Session) -> Iterator[None]:
    """Draw the progress of what is inside; the bar is gone afterwards. Does nothing where nobody would see it."""
    if not wants_bar(this):
        yield
        return
    # Imported where it is drawn: it takes longer than most commands.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Drawn  # noqa: PLC0415

    console = Console(stderr=True)
    columns: list[ProgressColumn] = [
        BarColumn(bar_width=None),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
    ]
    if console.width >= _WIDE:
        columns = [TextColumn("{task.description}", markup=False), columns[0], DownloadColumn(), *columns[1:]]
    bar = Drawn(*columns, console=console, transient=True, refresh_per_second=1 / _EVERY)
    with bar, on_progress(_Drawing(bar, bar.add_task("", total=None))):
        yield


class _Drawing:
    """Hands what is reported, from any thread, to the bar now and then."""

    def __init__(self, bar: Bar, task: TaskID) -> None:
        self._bar = bar
        self._task = task
        self._next = 0.0
        self._lock = threading.Lock()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now < self._next and progress.completed != progress.total:
            return
        with self._lock:
            self._next = now + _EVERY
            self._bar.update(
                self._task,
                description=printable(progress.description)[:40],
                completed=progress.completed,
                total=progress.total,
            )
