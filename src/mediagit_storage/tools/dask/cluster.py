"""A connection to the workers: to a scheduler that is there, or to some processes of this machine for the time of a run."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
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


class Cluster:
    """A scheduler, as those see it who give it work."""

    def __init__(self, client: Client, address: str) -> None:
        self.client = client
        self.address = address

    def threads(self) -> int:
        """How many tasks run at once, of all workers together, now. One request."""
        try:
            return sum(self.client.nthreads().values())
        except UNREACHED:
            raise self.gone() from None

    def gone(self) -> ConnectionLostError:
        """What to say when the scheduler does not answer any more."""
        return ConnectionLostError(
            f"the scheduler at {self.address} went away, and what it knew of the work: run this again"
        )


@contextmanager
def connected(scheduler: str | None = None, workers: int | None = None) -> Iterator[Cluster]:
    """Connect to the scheduler at an address (``tcp://10.0.0.5:8786``), or start ``workers`` processes on this machine.

    As many as there are processors, without a number; they end with this. Raises `ConnectionLostError` where nobody answers
    or no worker has come within a few seconds, `ConfigError` for what is no address.
    """
    if scheduler is not None:
        _refuse_silence(scheduler)
        with _client(scheduler, scheduler) as client:
            yield Cluster(client, scheduler)
        return
    with _started(workers or os.cpu_count() or 1) as local, _client(local, local.scheduler_address) as client:
        yield Cluster(client, local.scheduler_address)


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
        socket.create_connection((host, port), timeout=_PATIENCE).close()
    except OSError as error:
        raise ConnectionLostError(f"no scheduler answers at {address}: {error.strerror or error}") from None
