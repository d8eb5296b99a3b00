"""Single frames, to and fro, by the zstd library.

One frame is compressed or decompressed in one call: a stream of the library's ends silently where a frame is cut off,
and its limit of the output does not hold for frames that declare their size. Both are looked at before, in `framing`.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Final, TypeAlias

from mediagit_storage.errors import ChecksumError, ConfigError, IntegrityError
from mediagit_storage.types import BytesLike

if TYPE_CHECKING:
    import zstandard

__all__ = ["Codec", "worth_compressing"]

#: A level at which the library does little more than to move what it is given: 4 GB/s and more.
_CHEAP_LEVEL: Final = -100
#: What samples are compressed with, and how much of a sample has to remain for a frame to count as incompressible.
_SAMPLE_LEVEL: Final = 1
_INCOMPRESSIBLE: Final = 0.97
#: A sample: this many pieces of this many bytes from all over a frame. Frames of less than eight times as much have none.
_PIECES: Final = 4
_PIECE: Final = 4096


#: Makes one frame of bytes.
Compress: TypeAlias = Callable[[BytesLike], bytes]


class Codec:
    """Compresses at ``level`` and decompresses. Thread-safe: each thread has the library's objects to itself.

    Raises `ConfigError` that names the extra where the library is missing.
    """

    def __init__(self, level: int) -> None:
        self._library = _library()
        self._level = level
        self._own = threading.local()

    def compress(self, data: BytesLike) -> bytes:
        """One frame with its content size and checksum; a cheap one where a sample of ``data`` hardly shrinks."""
        level = self._level
        if len(data) >= 8 * _PIECES * _PIECE and not worth_compressing(data, self._compressor(_SAMPLE_LEVEL).compress):
            level = min(level, _CHEAP_LEVEL)
        return self._compressor(level).compress(data)

    def decompress(self, frame: BytesLike, plain_size: int) -> bytes:
        """The content of a frame that `check_frame` has passed. Anything but ``plain_size`` bytes is an error."""
        decompressor: zstandard.ZstdDecompressor | None = getattr(self._own, "decompressor", None)
        if decompressor is None:
            decompressor = self._own.decompressor = self._library.ZstdDecompressor()
        try:
            data = decompressor.decompress(frame, allow_extra_data=False)
        except self._library.ZstdError as error:
            kind = ChecksumError if "checksum" in str(error).lower() else IntegrityError
            raise kind(f"a frame of the compressed object is damaged: {error}") from None
        if len(data) != plain_size:
            raise IntegrityError(f"a frame of the compressed object gave {len(data):,} bytes, not {plain_size:,}")
        return data

    def _compressor(self, level: int) -> zstandard.ZstdCompressor:
        own: dict[int, zstandard.ZstdCompressor] | None = getattr(self._own, "compressors", None)
        if own is None:
            own = self._own.compressors = {}
        if level not in own:
            own[level] = self._library.ZstdCompressor(level=level, write_checksum=True, write_content_size=True)
        return own[level]


def worth_compressing(data: BytesLike, compress: Compress) -> bool:
    """Whether a sample of ``data`` becomes notably smaller: not that of images, films, archives and noise."""
    step = (len(data) - _PIECE) // (_PIECES - 1)
    sample = b"".join(data[place * step : place * step + _PIECE] for place in range(_PIECES))
    return len(compress(sample)) < _INCOMPRESSIBLE * len(sample)


def _library() -> ModuleType:
    try:
        # Not at the top: it is an extra.
        return importlib.import_module("zstandard")
    except ImportError:
        raise ConfigError(
            "the layer 'compress' needs the extra 'compress': pip install 'mediagit-storage[compress]'"
        ) from None
