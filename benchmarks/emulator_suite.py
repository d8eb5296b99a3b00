"""What the suites on emulators have in common: cases, filled places, and how a contestant is measured."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from contest import BIG, FILES, LARGE, LISTED, MANY, PLACES, READ, SMALL, file_key
from mediagit_storage import Storage
from mediagit_storage.testing.emulators import Running, running
from turns import Case, Figures, measured

CACHE = Path(__file__).parents[1] / ".cache" / "servers"


def cases(single: list[str], batch: list[str], listed: int = LISTED) -> list[Case]:
    """The same for every service; ratios are to the second of each, the service's own library."""
    one, many = single[1], batch[1]
    return [
        Case("get 300 objects of 16 KiB, one at a time", "get-single", 300, single, one),
        Case("put 300 objects of 16 KiB, one at a time", "put-single", 300, single, one),
        Case("get 500 objects of 16 KiB, many at once", "get-batch", 500, batch, many),
        Case("put 500 objects of 16 KiB, many at once", "put-batch", 500, batch, many),
        Case("delete 500 objects, many at once", "delete-batch", 500, batch, many),
        Case("download 256 MiB to a file", "download", 1, single, one),
        Case("upload 256 MiB from a file", "upload", 1, single, one),
        Case(f"list {listed:,} keys", "list", listed, single, one),
    ]


class EmulatorSuite:
    """Measures with ``script`` against ``server``; ``source`` is the large file, ``scratch`` a folder for downloads."""

    def __init__(self, script: str, server: str, source: Path, scratch: Path) -> None:
        self._words = ["--server", server, "--source", str(source)]
        self._script = str(Path(__file__).with_name(script))
        self._scratch = scratch

    def measure(self, case: Case, name: str) -> Figures:
        """One contestant, once."""
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            words = [case.task, name, "--count", str(case.count), *self._words, "--folder", folder]
            return measured(self._script, *words)


@contextmanager
def opened_on(
    name: str,
    script: str,
    scratch: Path,
    named: Callable[[Running], str],
    opened: Callable[[str, str], Storage],
    listed: int = LISTED,
) -> Iterator[EmulatorSuite]:
    """A suite with its server, which is filled, and ends with the block.

    ``named`` says what contestants are told about the server, ``opened`` opens one of its places.
    """
    source = scratch / "large.bin"
    with source.open("wb") as file:
        for number in range(LARGE // 2**20):
            file.write(number.to_bytes(8, "big") * (2**20 // 8))
    with running(name, cache=CACHE) as found:
        server = named(found)
        for place in PLACES:
            with opened(server, place) as store:
                store.create()
                if place == READ:
                    store.put_many((file_key(number), bytes(SMALL)) for number in range(FILES)).run()
                elif place == MANY:
                    store.put_many((f"{number:05}", b"x") for number in range(listed)).run()
                elif place == BIG:
                    store.upload(source, "large.bin", resume=False)
        yield EmulatorSuite(script, server, source, scratch)
