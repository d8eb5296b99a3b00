"""What is still needed, as programs tell it: names from files, manifests, commands or functions, sorted on disk.

A source is asked anew each time it is needed, since what is referenced changes while others work. One that fails raises, and
then nothing may be concluded: a name that is not listed is not one that nobody needs.
"""

from __future__ import annotations

import heapq
import io
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Final, Protocol

from mediagit_storage.errors import ConfigError, StorageError
from mediagit_storage.tools.key_ranges import KeyRange
from mediagit_storage.tools.manifest import read_manifest
from mediagit_storage.tools.plan import sort_key
from mediagit_storage.tools.sorted_lines import lines_between

__all__ = ["CommandReferences", "FileReferences", "References", "SortedNames", "function_references", "sorted_names"]

#: Names that are sorted in memory together.
_CHUNK: Final = 500_000
#: Files that are merged into one: of each generation fewer than that are open at once.
_FAN_IN: Final = 32
#: The longest name that makes sense, in characters: more is a file of another kind.
_LONGEST: Final = 64 * 1024


class References(Protocol):
    """A source of names, each as often as one likes and in any order, that can be asked again."""

    def __call__(self) -> Iterable[str]:
        """All names that are needed now. Raises rather than tell a part of them."""
        ...


class FileReferences:
    """The lines of a text file in UTF-8, or the names of a file that `mgs manifest` wrote. Empty lines count for nothing.

    Lines end with a line feed alone. Names that end with a carriage return can only be told by a manifest.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self) -> Iterator[str]:
        """The names. A file that is missing, cut off (its last line has no end) or no text is a `ConfigError`.

        So is one with a byte order mark or lines that end as on Windows: no name in it would be an object's.
        """
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
    """What a command prints, line by line as in a file. It is run anew for each question.

    By ``bash`` if that is installed, with the option ``pipefail``, else by ``sh``, which sees of a pipeline only how its
    last command ended.
    """

    def __init__(self, command: str) -> None:
        self._command = command

    def __call__(self) -> Iterator[str]:
        """The names. An exit code other than 0 is a `StorageError`, whatever was printed before."""
        with subprocess.Popen(  # noqa: S603  # the user typed it
            _shell(self._command), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
        ) as process:
            if process.stdout is None:
                raise StorageError("the command's output cannot be read")
            try:
                # Not by Popen itself, which takes a carriage return in a name for the end of a line.
                with io.TextIOWrapper(process.stdout, encoding="utf-8", newline="\n") as output:
                    yield from _lines(output, f"the command {self._command!r}")
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


def _shell(command: str) -> list[str]:
    bash = shutil.which("bash")
    return ["/bin/sh", "-c", command] if bash is None else [bash, "-o", "pipefail", "-c", command]


def _lines(file: IO[str], what: str) -> Iterator[str]:
    first = True
    while line := file.readline(_LONGEST):
        if not line.endswith("\n"):
            raise ConfigError(f"the last line of {what} has no end: it was cut off, or is no list of names")
        if line.endswith("\r\n"):
            raise ConfigError(f"a line of {what} ends with a carriage return: end lines with a line feed alone")
        if first and line.startswith("\ufeff"):
            raise ConfigError(f"{what} begins with a byte order mark: write it as UTF-8 without one")
        first = False
        if name := line[:-1]:
            yield name


class SortedNames:
    """Names once each, in the order of `sort_key`, in a file: they can be read again and again, one reader at a time."""

    def __init__(self, run: IO[str], count: int) -> None:
        self._run = run
        self.count = count

    def __iter__(self) -> Iterator[str]:
        return _read(self._run)

    def between(self, within: KeyRange, most: int) -> tuple[list[str], KeyRange]:
        """The names of a range, at most so many, and the part of the range of which they are all."""
        names, part = lines_between(self._run, within, most)
        return [str(name) for name in names], part


@contextmanager
def sorted_names(sources: Sequence[References], *, chunk: int = _CHUNK) -> Iterator[SortedNames]:
    """All names of the sources once each, sorted as listings are. Sorted on disk: memory holds ``chunk`` of them.

    Every source is read to its end before the first name comes. A name that no storage can have, since it cannot be
    written in UTF-8, is a `ConfigError`.
    """
    generations: list[list[IO[str]]] = []
    try:
        names = (name for source in sources for name in source())
        while held := set(islice(names, chunk)):
            _keep(generations, _run(_sorted(held))[0])
        run, count = _run(_merged([run for runs in generations for run in runs]))
        generations.append([run])
        yield SortedNames(run, count)
    finally:
        for run in (run for runs in generations for run in runs):
            run.close()


def _keep(generations: list[list[IO[str]]], run: IO[str]) -> None:
    """One more run; ``_FAN_IN`` of a generation become one of the next, so that a name is rewritten only a few times."""
    for runs in generations:
        runs.append(run)
        if len(runs) < _FAN_IN:
            return
        run, _ = _run(_merged(runs))
        for each in runs:
            each.close()
        runs.clear()
    generations.append([run])


def _sorted(names: Iterable[str]) -> list[str]:
    try:
        return sorted(names, key=sort_key)
    except UnicodeEncodeError as error:
        raise ConfigError(f"{error.object!r} is referenced, and cannot be the name of an object") from None


def _run(names: Iterable[str]) -> tuple[IO[str], int]:
    """A file of these names, and how many they are."""
    file = tempfile.TemporaryFile("w+", encoding="ascii")  # noqa: SIM115  # `sorted_names` closes it
    count = 0
    try:
        for count, name in enumerate(names, 1):  # noqa: B007  # the last one counts
            # JSON, so that a name may hold whatever it likes.
            file.write(json.dumps(name) + "\n")
    except BaseException:
        file.close()
        raise
    return file, count


def _read(run: IO[str]) -> Iterator[str]:
    run.seek(0)
    return map(json.loads, run)


def _merged(runs: Sequence[IO[str]]) -> Iterator[str]:
    last: str | None = None
    for name in heapq.merge(*map(_read, runs), key=sort_key):
        if name != last:
            yield name
        last = name
