"""Folders of files as people have them, the same each time: for tests and measurements of what works on whole folders."""

from __future__ import annotations

import random
import sysconfig
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Final

__all__ = ["small_tree", "write_tree"]

_MIB: Final = 1024 * 1024
#: Sizes next to which something changes: a batch, a part, a block, a session.
_EDGES: Final = (0, 1, 4095, 4096, _MIB, 4 * _MIB, 5_000_000, 5 * _MIB, 8 * _MIB)
#: Names that one program or another spells, folds, sorts or decodes in its own way.
_NAMES: Final = (
    "names/plain",
    "names/plain-and",
    "names/plain.d/below",
    "names/nfc-\u00e9",
    "names/nfd-e\u0301",
    "names/日本語/写真 ①.jpg",
    "names/🎞️/clip #1?.mov",
    "names/\uff61 and \U0001f600",
    "names/space at the end /x",
    "names/a+b&c=d;e,f.txt",
    "names/100%25 %41.txt",
    "names/quote'\"`$(x).txt",
    "names/~tilde^{braces}[1].txt",
    "names/UPPER and upper/UPPER",
    "names/UPPER and upper/upper",
    "names/.hidden/.file",
    "names/-rf",
    "names/" + "l" * 200,
    "names/" + "/".join(f"deep{number}" for number in range(30)) + "/leaf",
)


def write_tree(folder: Path, files: int) -> None:
    """So many files: source code of this Python, noise like that of pictures, sizes at every edge, and difficult names."""
    for name, data in islice(_files(), files):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def small_tree(folder: Path, files: int, size: int) -> None:
    """So many files of one size, a hundred in a folder: for measurements."""
    chance = random.Random(size)
    for number in range(files):
        if number % 100 == 0:
            (folder / f"{number // 100:04}").mkdir(parents=True)
        (folder / f"{number // 100:04}" / f"{number:06}.bin").write_bytes(chance.randbytes(size))


def _files() -> Iterator[tuple[str, bytes]]:
    chance = random.Random(1)
    for name in _NAMES:
        yield name, name.encode() * 3
    code = _source_code()
    for number in count():
        # A few of every kind among the first thirty already; pictures of some KiB mostly, and of MiB seldom.
        if number % 3 == 0 and (found := next(code, None)) is not None:
            yield f"code/{found[0]}", found[1]
        elif number % 50 == 1:
            size = _EDGES[number // 50 % len(_EDGES)]
            yield f"edges/{number:06}-{size}", chance.randbytes(size)
        elif number % 10 == 5:
            yield f"empty/{number % 7}/{number:06}", b""
        else:
            yield f"pictures/{number % 11:02}/{number:06}.jpg", chance.randbytes(int(2 ** chance.uniform(4, 17)))


def _source_code() -> Iterator[tuple[str, bytes]]:
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.rglob("*.py")):
        if "site-packages" not in path.parts and path.is_file():
            yield str(path.relative_to(library)), path.read_bytes()
