"""Workers on any number of machines for sync, migrate, verify and gc, where the extra for them is installed."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from mediagit_storage.errors import ConfigError

if TYPE_CHECKING:
    from mediagit_storage.tools.dask.engine import DaskEngine

__all__ = ["open_dask_engine"]


def open_dask_engine(scheduler: str | None = None, workers: int | None = None) -> AbstractContextManager[DaskEngine]:
    """What `sync_objects`, `migrate` and `collect` take as their ``engine``, ready inside of ``with``.

    The workers are those of the scheduler at an address (``tcp://10.0.0.5:8786``), or so many processes of this machine, one
    for each processor without a number. Raises `ConfigError` where the extra is missing or the address is none, and
    `ConnectionLostError` where no scheduler answers there, or it has no worker.
    """
    try:
        # Imported where it is wanted: it is large, and an extra.
        from mediagit_storage.tools.dask.engine import dask_engine  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"dask", "distributed"}:
            raise
        raise ConfigError("the engine 'dask' needs the extra 'dask': pip install 'mediagit-storage[dask]'") from None
    return dask_engine(scheduler, workers)
