"""Throw hostile objects at the layers `encrypt` and `compress`, guided by what they reach in the code (atheris, libFuzzer).

make fuzz                                             ten minutes for each
python scripts/fuzz.py age 60                         one of them, for a minute
python scripts/fuzz.py compress .cache/fuzz/crash-x   one input again

Needs the package ``atheris``. A finding is an exception that is no `StorageError`, an answer that contradicts another one,
plain bytes that nobody encrypted, more than half a gigabyte of memory, or twenty seconds: the run ends with it, and its
input is kept in ``.cache/fuzz``.
"""

from __future__ import annotations

import hmac
import os
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeVar

import atheris

with atheris.instrument_imports(include=["mediagit_storage.layers"]):
    from mediagit_storage.layers.compress import CompressConfig, CompressLayer
    from mediagit_storage.layers.compress.framing import HEAD, TableWriter
    from mediagit_storage.layers.encrypt import EncryptConfig, EncryptLayer
    from mediagit_storage.layers.encrypt.header import b64encode, hkdf, parse_header
    from mediagit_storage.layers.encrypt.keys import generate_identity, unwrap
    from mediagit_storage.layers.encrypt.rewrapping import Rewrapping
    from mediagit_storage.layers.encrypt.sizes import CHUNK, NONCE, SEALED
    from mediagit_storage.layers.encrypt.whole import decrypt, encrypt

from mediagit_storage.backend import StorageBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import StorageError
from mediagit_storage.source import BytesSource
from mediagit_storage.types import ByteRange, PutOptions, ReadOptions

T = TypeVar("T")

FOLDER: Final = Path(__file__).parents[1] / ".cache" / "fuzz"
LONGEST: Final = 3 * SEALED
SECONDS_FOR_ONE: Final = 20
MEGABYTES: Final = 512
RANGES: Final = (ByteRange(0, 1), ByteRange(5, 60), ByteRange(CHUNK - 3, 6), ByteRange(CHUNK), ByteRange(suffix=7))


class ContradictionError(Exception):
    """Two answers that cannot both be right."""


class Target(Protocol):
    """Something that reads what others wrote."""

    def seeds(self) -> Sequence[bytes]:
        """Inputs to begin with."""

    def check(self, data: bytes) -> None:
        """Read one input in every way. Raises what is a finding."""

    def repaired(self, data: bytes, chance: random.Random) -> bytes:
        """The input with checksums and structure mended, so that it passes what nobody passes by chance."""


class Answers(NamedTuple):
    """What an object gives: None for an error."""

    whole: bytes | None
    stream: bytes | None
    size: int | None
    parts: Sequence[bytes | None]

    def agree(self, known: Sequence[bytes] | None) -> None:
        """Raise a `ContradictionError` unless they are of one object; parts of a damaged one have to be of a ``known`` one."""
        if self.whole != self.stream:
            raise ContradictionError("a read and a stream differ")
        if known is not None and self.whole is not None and self.whole not in known:
            raise ContradictionError("it gives plain bytes that nobody encrypted")
        originals = (known or []) if self.whole is None else [self.whole]
        if self.whole is not None and self.size != len(self.whole):
            raise ContradictionError(f"the size is told as {self.size}, and {len(self.whole)} bytes come")
        for span, part in zip(RANGES, self.parts, strict=True):
            if part is None and self.whole is not None and (span.offset or 0) < len(self.whole):
                raise ContradictionError(f"the part {span} does not come")
            if part is not None and originals and part not in [cut(each, span) for each in originals]:
                raise ContradictionError(f"the part {span} is of no object")


def cut(data: bytes, span: ByteRange) -> bytes:
    """The range of the data."""
    if span.suffix is not None:
        return data[-span.suffix :]
    start = span.offset or 0
    return data[start:] if span.length is None else data[start : start + span.length]


def answers(backend: StorageBackend) -> Answers:
    """Read the object ``k`` in every way."""

    def streamed() -> bytes:
        with backend.stream("k", ReadOptions()) as body:
            return b"".join(body)

    def read(span: ByteRange) -> Callable[[], bytes]:
        return lambda: backend.read("k", ReadOptions(span)).data

    return Answers(
        tried(read(ByteRange())),
        tried(streamed),
        tried(lambda: backend.stat("k").size),
        [tried(read(span)) for span in RANGES],
    )


def tried(call: Callable[[], T]) -> T | None:
    """What it gives, or None for an error that users are told of."""
    try:
        return call()
    except StorageError:
        return None


class Age:
    """Files of the age format: the header, the chunks, the text form, and new headers for other recipients."""

    PLAINS: Final = (b"", b"hello", b"x" * CHUNK, bytes(range(256)) * (CHUNK // 256) + b"more")

    def __init__(self) -> None:
        self._identity, self._other = generate_identity(), generate_identity()
        self._memory = MemoryBackend("fuzz")
        self._layer = EncryptLayer(self._memory, EncryptConfig(identity=self._identity.secret))
        self._after = EncryptLayer(self._memory, EncryptConfig(identity=self._other.secret))
        self._rewrapping = Rewrapping([self._other.recipient()], [self._identity, self._other])
        self._files = [encrypt(plain, [self._identity.recipient()]) for plain in self.PLAINS]
        self._keys = [unwrap(parse_header(file), [self._identity]) for file in self._files]

    def seeds(self) -> Sequence[bytes]:
        """Some sizes, and a file for two."""
        return [*self._files, encrypt(b"two", [self._other.recipient(), self._identity.recipient()])[:4096]]

    def check(self, data: bytes) -> None:
        """As an object, as a file in memory, and as what is to get a new header."""
        known = [*self.PLAINS, b"two"]
        self._memory.put("k", BytesSource(data), PutOptions())
        found = answers(self._layer)
        found.agree(known)
        if tried(lambda: decrypt(data, [self._identity])) != found.whole and not data.lstrip().startswith(b"-----"):
            raise ContradictionError("a whole file in memory and the object differ")
        new = tried(lambda: self._rewrapping.new_head("k", data))
        if new is not None:
            self._memory.put("k", BytesSource(new.head + data[new.old_length :]), PutOptions())
            if answers(self._after).whole != found.whole:
                raise ContradictionError("a new header gives other plain bytes")

    def repaired(self, data: bytes, chance: random.Random) -> bytes:
        """With the right MAC over whatever the header is now; or with chunks of a file in another order."""
        which = chance.randrange(len(self._files))
        file, file_key = self._files[which], self._keys[which]
        start = parse_header(file).length
        if chance.random() < 0.3:
            sealed = [file[place : place + SEALED] for place in range(start + NONCE, len(file), SEALED)] or [b""]
            picked = [chance.choice(sealed) for _ in range(chance.randrange(4))]
            return file[: start + NONCE] + b"".join(picked) + data[: chance.randrange(20)]
        signed = data.partition(b"\n--- ")[0] + b"\n---"
        mac = hmac.digest(hkdf(file_key, b"", b"header"), signed, "sha256")
        return signed + f" {b64encode(mac)}\n".encode() + file[start:]


class Compress:
    """Files of the zstd seekable format: marks, table, frames."""

    def __init__(self) -> None:
        self._memory = MemoryBackend("fuzz")
        self._options = CompressConfig(frame_size=4096, max_frame_size=1024 * 1024, max_size=4 * 1024 * 1024, threads=1)
        self._layer = CompressLayer(self._memory, self._options)

    def seeds(self) -> Sequence[bytes]:
        """None, one and several frames, and some that do not get smaller."""
        plains = (b"", b"hello", b"ab" * 5000, os.urandom(9000), b"x" * 300_000)
        found = []
        for plain in plains:
            self._layer.put("k", BytesSource(plain), PutOptions())
            found.append(self._memory.read("k", ReadOptions()).data)
        return found

    def check(self, data: bytes) -> None:
        """As an object."""
        self._memory.put("k", BytesSource(data), PutOptions())
        answers(self._layer).agree(None)

    def repaired(self, data: bytes, chance: random.Random) -> bytes:
        """As an object of one or some frames, with a true or a lying table, whose digests are right."""
        table, frames = TableWriter(), []
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(3)))
        for start, end in zip([len(HEAD), *cuts], [*cuts, len(data)], strict=True):
            frame = data[start:end]
            if len(frame) > 10:
                frames.append(frame)
                table.add(
                    frame, self._declared(frame) if chance.random() < 0.8 else chance.choice([1, 4096, 2**32 - 1])
                )
        return HEAD + b"".join(frames) + table.finish()

    @staticmethod
    def _declared(frame: bytes) -> int:
        """The plain size that a frame claims (RFC 8878, 3.1.1.1)."""
        descriptor = frame[4]
        single = bool(descriptor & 0b100000)
        width = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
        start = 5 if single else 6
        return (int.from_bytes(frame[start : start + width], "little") + (256 if width == 2 else 0)) & 0xFFFFFFFF


TARGETS: Final = {"age": Age, "compress": Compress}


def run(target: Target, arguments: Sequence[str]) -> None:
    """Fuzz until libFuzzer ends the program."""

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        chance = random.Random(seed)  # noqa: S311  # libFuzzer's own number, so that a run can be repeated
        changed: bytes = atheris.Mutate(data, len(data)) if chance.random() < 0.5 else atheris.Mutate(data, most)
        if chance.random() < 0.5:
            changed = target.repaired(changed, chance)
        return changed[:most]

    atheris.Setup([sys.argv[0], *arguments], target.check, custom_mutator=mutate)
    atheris.Fuzz()


def main() -> None:
    """What the command line says."""
    name, what = sys.argv[1], sys.argv[2]
    target: Target = TARGETS[name]()
    if not what.isdigit():
        target.check(Path(what).read_bytes())
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds()):
            Path(corpus, f"seed-{number}").write_bytes(seed)
        limits = (f"-timeout={SECONDS_FOR_ONE}", f"-rss_limit_mb={MEGABYTES}", f"-max_len={LONGEST}")
        run(target, [*limits, f"-max_total_time={what}", "-print_final_stats=1", f"-artifact_prefix={FOLDER}/", corpus])


if __name__ == "__main__":
    main()
