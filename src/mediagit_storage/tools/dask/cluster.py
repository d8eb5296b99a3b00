"""A connection to the workers: to a scheduler that is there, or to some processes of this machine for the time of a run."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Final

from distributed import Client, LocalCluster
from distributed.client import ClosedClientError
from distributed.comm.addressing import get_address_host_port

from mediagit_storage.errors import ConfigError, ConnectionLostError

__all__ = ["UNREACHED", "Cluster", "connected"]

#: What Dask raises where a scheduler cannot be asked any more.
UNREACHED: Final = (OSError, RuntimeError, ClosedClientError)
#: Seconds within which a scheduler has to answer, and to have a worker.
_PATIENCE: Final = 15.0
#: Seconds after which a scheduler that had answered is taken for gone.
_SILENCE: Final = 60.0
#: Dask's first words are a number of eight bytes, the length of a short greeting. It speaks first.
_GREETING: Final = 8
_LONGEST_GREETING: Final = 1024 * 1024


class Cluster:
    """A scheduler, as those see it who give it work."""

    def __init__(self, client: Client, address: str) -> None:
        self.client = client
        self.address = address
        #: Whether the scheduler was found not to answer: to ask it for anything else would be to wait for it.
        self.lost = False

    def threads(self) -> Mapping[str, int]:
        """The addresses of all workers, and how many tasks each does at once, now. One request."""
        scheduler = self.client.scheduler
        if scheduler is None:
            raise self.gone()
        try:
            # As `Client.nthreads`, which would wait for a scheduler that hangs for ever.
            return {**self.client.sync(scheduler.ncores, callback_timeout=_SILENCE)}
        except UNREACHED:
            raise self.gone() from None

    def gone(self) -> ConnectionLostError:
        """What to say when the scheduler does not answer any more: nothing more is asked of it."""
        self.lost = True
        return ConnectionLostError(
            f"the scheduler at {self.address} went away, and what it knew of the work: run this again"
        )

    def deserted(self) -> ConnectionLostError:
        """What to say when there are no workers any more."""
        return ConnectionLostError(
            f"the scheduler at {self.address} has no worker any more: start some with `dask worker {self.address}`, and run"
            " this again"
        )


@contextmanager
def connected(scheduler: str | None = None, workers: int | None = None) -> Iterator[Cluster]:
    """Connect to the scheduler at an address (``tcp://10.0.0.5:8786``), or start ``workers`` processes on this machine.

    As many as there are processors, without a number; they end with this. Raises `ConnectionLostError` where nobody answers
    or no worker has come within a few seconds, `ConfigError` for what is no address.
    """
    if scheduler is not None:
        _refuse_silence(scheduler)
        with _quiet(), _client(scheduler, scheduler) as client:
            yield Cluster(client, scheduler)
        return
    with _quiet(), _started(workers or os.cpu_count() or 1) as local, _client(local, local.scheduler_address) as client:
        yield Cluster(client, local.scheduler_address)


@contextmanager
def _quiet() -> Iterator[None]:
    """Whatever happens to the connection is told by an error. Dask would print a traceback of its own before it."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextmanager
def _started(workers: int) -> Iterator[LocalCluster]:
    # Ctrl-C goes to all processes of a terminal. Who asked for the work ends it, in order: whoever is started by a thread
    # that does not take the signal does not take it either. (The tracker lets its starter take it again: it comes first.)
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            # Dask would take a port that others can reach, and complain if somebody has it.
            dashboard_address="127.0.0.1:0",
            # Whoever may connect may run programs here, and other users of this machine are on loopback, too.
            security=True,
            silence_logs=50,
            # Tools take little memory, whatever they copy, so nobody has to be stopped for it.
            memory_limit=0,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with cluster:
        yield cluster


@contextmanager
def _client(scheduler: str | LocalCluster, address: str) -> Iterator[Client]:
    try:
        client = Client(scheduler, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ImportError, RuntimeError) as error:
        raise ConnectionLostError(f"the scheduler at {address} does not take part: {error}") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError:
            raise ConnectionLostError(
                f"the scheduler at {address} has no worker: start some with `dask worker {address}`"
            ) from None
        yield client


def _refuse_silence(address: str) -> None:
    """Try to reach a scheduler before Dask does, which would try for long, and leave a thread behind."""
    try:
        host, port = get_address_host_port(address, strict=True)
    except ValueError as error:
        raise ConfigError(f"{address!r} is no address of a scheduler, like tcp://10.0.0.5:8786: {error}") from None
    try:
        with socket.create_connection((host, port), timeout=_PATIENCE) as connection:
            said = connection.recv(_GREETING, socket.MSG_WAITALL) if address.startswith("tcp://") else None
    except OSError as error:
        raise ConnectionLostError(f"no scheduler answers at {address}: {error.strerror or error}") from None
    if said is not None and not (len(said) == _GREETING and int.from_bytes(said, "little") <= _LONGEST_GREETING):
        raise ConnectionLostError(f"what answers at {address} is no scheduler of Dask")
