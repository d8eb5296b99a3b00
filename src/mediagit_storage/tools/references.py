"""What is still needed, as programs tell it: names from files, manifests, commands or functions, sorted on disk.

A source is asked anew each time it is needed, since what is referenced changes while others work. One that fails raises, and
then nothing may be concluded: a name that is not listed is not one that nobody needs.
"""

from __future__ import annotations

import heapq
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Final, Protocol

from mediagit_storage.errors import ConfigError, StorageError
from mediagit_storage.tools.manifest import read_manifest

__all__ = ["CommandReferences", "FileReferences", "References", "function_references", "sorted_names"]

#: Names that are sorted in memory together.
_CHUNK: Final = 500_000
#: Files that are merged together: more would not all be open at once.
_FAN_IN: Final = 100
#: The longest name that makes sense, in characters: more is a file of another kind.
_LONGEST: Final = 64 * 1024


class References(Protocol):
    """A source of names, each as often as one likes and in any order, that can be asked again."""

    def __call__(self) -> Iterable[str]:
        """All names that are needed now. Raises rather than tell a part of them."""
        ...


class FileReferences:
    """The lines of a text file in UTF-8, or the names of a file that `mgs manifest` wrote. Empty lines count for nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self) -> Iterator[str]:
        """The names. A file that is missing, cut off (its last line has no end) or no text is a `ConfigError`."""
        try:
            with self._path.open(encoding="utf-8", newline="\n") as file:
                first = file.readline(_LONGEST)
                if first.startswith('{"manifest"'):
                    yield from (entry.name for entry in read_manifest(self._path))
                    return
                file.seek(0)
                yield from _lines(file, str(self._path))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ConfigError(f"the references in {self._path} cannot be read: {reason}") from None


class CommandReferences:
    """What a command prints, line by line. It is run anew for each question, by the shell of this system."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __call__(self) -> Iterator[str]:
        """The names. An exit code other than 0 is a `StorageError`, whatever was printed before."""
        with subprocess.Popen(  # noqa: S602  # the user typed it
            self._command, shell=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, encoding="utf-8"
        ) as process:
            if process.stdout is None:
                raise StorageError("the command's output cannot be read")
            try:
                yield from _lines(process.stdout, self._command)
            except UnicodeDecodeError:
                raise StorageError(f"the command {self._command!r} printed something that is not UTF-8") from None
            except GeneratorExit:
                process.terminate()
                raise
        if process.returncode:
            raise StorageError(f"the command {self._command!r} failed with exit code {process.returncode}")


def function_references(function: Callable[[], Iterable[str]]) -> References:
    """A Python function as a source: each call returns all names that are needed then."""
    return function


def _lines(file: IO[str], what: str) -> Iterator[str]:
    while line := file.readline(_LONGEST):
        if not line.endswith("\n"):
            raise ConfigError(f"the last line of {what} has no end: it was cut off, or is no list of names")
        name = line[:-1].removesuffix("\r")
        if name:
            yield name


@contextmanager
def sorted_names(sources: Sequence[References], *, chunk: int = _CHUNK) -> Iterator[Iterator[str]]:
    """All names of the sources once each, sorted by their code points. Sorted on disk: memory holds ``chunk`` of them.

    Every source is read to its end before the first name comes.
    """
    with ExitStack() as stack:
        runs: list[IO[str]] = []
        names = (name for source in sources for name in source())
        while held := sorted(set(islice(names, chunk))):
            runs.append(_run(stack, held))
            if len(runs) == _FAN_IN:
                runs = [_run(stack, _merged(runs))]
        yield _merged(runs)


def _run(stack: ExitStack, names: Iterable[str]) -> IO[str]:
    file = stack.enter_context(tempfile.TemporaryFile("w+", encoding="ascii"))  # noqa: SIM115  # the stack closes it
    # JSON, so that a name may hold whatever it likes.
    file.writelines(json.dumps(name) + "\n" for name in names)
    return file


def _merged(runs: Sequence[IO[str]]) -> Iterator[str]:
    for run in runs:
        run.seek(0)
    last: str | None = None
    for name in heapq.merge(*(map(json.loads, run) for run in runs)):
        if name != last:
            yield name
        last = name
