"""What fsspec's callbacks are told of a transfer."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from fsspec.callbacks import DEFAULT_CALLBACK, Callback  # type: ignore[import-untyped]

from mediagit_storage.integrations.fsspec.pairs import Pair
from mediagit_storage.progress import Progress, on_progress

__all__ = ["DEFAULT_CALLBACK", "Callback", "nothing", "reported", "step"]


def reported(callback: Callback) -> AbstractContextManager[None]:
    """Tell fsspec's callback of the bytes of one transfer inside."""
    if callback is DEFAULT_CALLBACK:
        return nullcontext()

    def report(progress: Progress) -> None:
        if progress.total is not None:
            callback.set_size(progress.total)
        callback.absolute_update(progress.completed)

    return on_progress(report)


def step(callback: Callback, pair: Pair, size: int | None) -> None:
    """Tell fsspec's callback of one file that is done."""
    if callback is DEFAULT_CALLBACK:
        return
    with callback.branched(pair.source, pair.target) as child:
        if size is not None:
            child.set_size(size)
            child.relative_update(size)
    callback.relative_update(1)


def nothing(_pair: Pair, _size: int | None) -> None:
    """Nobody waits for single files."""
