"""The Azure suite, against Azurite, which keeps everything on disk and checks signatures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emulator_suite import EmulatorSuite, cases, opened_on
from mediagit_storage import AzureBackend, Storage
from mediagit_storage.testing.emulators import Running


def named(server: Running) -> str:
    """Its connection string."""
    return server.environment()["AZURE_STORAGE_CONNECTION_STRING"]


def place_of(server: str, place: str) -> Storage:
    """One of its containers."""
    return Storage(AzureBackend.with_connection_string(place, server))


CASES = cases(
    ["mediagit-storage", "azure-storage-blob", "obstore"],
    ["mediagit-storage, get_many and put_many", "azure-storage-blob, 16 threads", "obstore, 16 threads"],
)
NOTE = "One Azurite, on the same machine, is the server: its own work is in every figure, and most of it."


@contextmanager
def opened(scratch: Path) -> Iterator[EmulatorSuite]:
    """The suite with its server, which ends with the block."""
    with opened_on("azurite", "azure_bench.py", scratch, named, place_of) as suite:
        yield suite
