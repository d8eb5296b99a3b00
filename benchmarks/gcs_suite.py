"""The GCS suite, against fake-gcs-server, which keeps everything in memory and checks no credentials.

It looks through its whole bucket for each object, so there are few; and with each chunk of an upload it computes the
digests of all that came before, so large objects travel in chunks of 64 MiB, for everybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emulator_suite import EmulatorSuite, cases, opened_on
from mediagit_storage import Storage, open_storage
from mediagit_storage.testing.emulators import Running


def named(server: Running) -> str:
    """Its URL."""
    return server.url


def place_of(server: str, place: str) -> Storage:
    """One of its buckets."""
    return open_storage(f"gs://{place}", options={"emulator_host": server, "part_size": 64 * 2**20})


#: Each write takes it longer, the more there are.
LISTED = 1000
CASES = cases(
    ["mediagit-storage", "google-cloud-storage", "gcsfs"],
    ["mediagit-storage, get_many and put_many", "google-cloud-storage, 16 threads", "gcsfs, asyncio"],
    LISTED,
)
NOTE = "One fake-gcs-server, on the same machine, is the server: its own work is in every figure."


@contextmanager
def opened(scratch: Path) -> Iterator[EmulatorSuite]:
    """The suite with its server, which ends with the block."""
    with opened_on("fake-gcs-server", "gcs_bench.py", scratch, named, place_of, LISTED) as suite:
        yield suite
