"""Stores that read wrongly."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Final

from mediagit_storage.backend import Body, Content
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import InvalidRangeError, NotFoundError
from mediagit_storage.testing.broken.base import BentReads, Broken
from mediagit_storage.types import ByteRange, ObjectInfo, ReadOptions

__all__ = ["READS"]

_WHOLE: Final = ByteRange()


class IgnoresRanges(BentReads):
    """Gives the whole object whatever part is asked for."""

    def right(self, key: str, options: ReadOptions) -> Content:
        """The whole."""
        return super().right(key, ReadOptions(_WHOLE, options.version, options.if_match, options.if_none_match))


class ClipsOneByteTooMuch(BentReads):
    """Loses the last byte of a part that reaches over the end."""

    def bend(self, content: Content, options: ReadOptions) -> Content:
        """Short by one where clipped."""
        wanted = options.range.length
        if wanted is not None and len(content.data) < wanted:
            return content._replace(data=content.data[:-1])
        return content


class SuffixFromTheStart(BentReads):
    """Gives the first bytes where the last ones are asked for."""

    def right(self, key: str, options: ReadOptions) -> Content:
        """The wrong end."""
        if options.range.suffix is None:
            return super().right(key, options)
        return super().right(key, ReadOptions(ByteRange(None, options.range.suffix), options.version))


class SuffixLongerThanTheObjectFails(BentReads):
    """Refuses a suffix that is longer than the object."""

    def bend(self, content: Content, options: ReadOptions) -> Content:
        """Too strict."""
        suffix = options.range.suffix
        if suffix is not None and suffix > (content.info.size or 0):
            raise InvalidRangeError("the suffix is longer than the object")
        return content


class EmptyPastTheEnd(BentReads):
    """Gives nothing, and no error, for a part behind the end."""

    def right(self, key: str, options: ReadOptions) -> Content:
        """Silent."""
        try:
            return super().right(key, options)
        except InvalidRangeError:
            return Content(self.stat(key), b"", 0)


class RangesOfAnEmptyObjectAreEmpty(BentReads):
    """Gives nothing, and no error, for a part of an empty object."""

    def right(self, key: str, options: ReadOptions) -> Content:
        """Silent for empty objects only."""
        try:
            return super().right(key, options)
        except InvalidRangeError:
            if self.stat(key).size:
                raise
            return Content(self.stat(key), b"", 0)


class LengthZeroNeedsNoObject(BentReads):
    """Answers a part of length 0 without looking whether there is an object."""

    def right(self, key: str, options: ReadOptions) -> Content:
        """Too clever."""
        if options.range.length == 0:
            return Content(ObjectInfo(key, size=0), b"", 0)
        return super().right(key, options)


class ForgetsTheOffsetOfLargeParts(BentReads):
    """Reads large parts from the start."""

    def bend(self, content: Content, options: ReadOptions) -> Content:
        """The right length, the wrong place."""
        if len(content.data) < 1_000_000 or not content.start:
            return content
        return Content(content.info, super().right(content.info.key, ReadOptions()).data[: len(content.data)], 0)


class _ShortBody(Body):
    def __init__(self, inner: Body) -> None:
        self.info, self.start, self.length = inner.info, inner.start, inner.length
        self._inner = inner

    def __iter__(self) -> Iterator[bytes]:
        pieces = [*self._inner]
        yield from pieces[:-1] if len(pieces) > 1 else pieces

    def close(self) -> None:
        self._inner.close()


class StreamsShort(MemoryBackend):
    """Ends longer streams early, without an error."""

    def stream(self, key: str, options: ReadOptions) -> Body:
        """Without its last piece."""
        return _ShortBody(super().stream(key, options))


class _LiveBody(Body):
    """Looks the object up anew for each piece."""

    def __init__(self, store: MemoryBackend, inner: Body) -> None:
        self.info, self.start, self.length = inner.info, inner.start, inner.length
        self._store = store

    def __iter__(self) -> Iterator[bytes]:
        for offset in range(self.start, self.start + self.length, 65_536):
            length = min(65_536, self.start + self.length - offset)
            try:
                yield self._store.read(self.info.key, ReadOptions(ByteRange(offset, length))).data
            except NotFoundError:
                return

    def close(self) -> None:
        return None


class StreamsMixVersions(MemoryBackend):
    """Splices the old and the new object when one is overwritten while it is read."""

    def stream(self, key: str, options: ReadOptions) -> Body:
        """Not pinned."""
        return _LiveBody(self, super().stream(key, options))


class RaisesAtTheFirstPiece(MemoryBackend):
    """Opens a stream of a missing object, and fails only when it is read."""

    def stream(self, key: str, options: ReadOptions) -> Body:
        """Late."""
        try:
            return super().stream(key, options)
        except NotFoundError:
            return _LiveBody(self, _EmptyBody(key))


class _EmptyBody(Body):
    def __init__(self, key: str) -> None:
        self.info, self.start, self.length = ObjectInfo(key, size=0), 0, 0

    def __iter__(self) -> Iterator[bytes]:
        return iter(())

    def close(self) -> None:
        return None


class IgnoresReadConditions(BentReads):
    """Reads whatever the conditions say."""

    def right(self, key: str, options: ReadOptions) -> Content:
        """Unconditional."""
        return super().right(key, ReadOptions(options.range, options.version))


class ConfusesModifiedWithFailed(BentReads):
    """Raises the error of ``if_match`` for ``if_none_match``, and the other way round."""

    def right(self, key: str, options: ReadOptions) -> Content:
        """Swapped."""
        return super().right(key, ReadOptions(options.range, options.version, options.if_none_match, options.if_match))


class InflatesGzip(BentReads):
    """Undoes a content encoding behind the caller's back."""

    def bend(self, content: Content, options: ReadOptions) -> Content:
        """Decoded."""
        if content.data[:2] != b"\x1f\x8b":
            return content
        return content._replace(data=gzip.decompress(content.data))


class StaleStat(MemoryBackend):
    """Remembers what it once said about an object."""

    def stat(self, key: str, version: str | None = None) -> ObjectInfo:
        """The first answer for ever."""
        seen: dict[str, ObjectInfo] = self.__dict__.setdefault("seen", {})
        if key not in seen:
            seen[key] = super().stat(key, version)
        return seen[key]


class MissingBucketIsAnAbsentKey(MemoryBackend):
    """Says "no such object" where the bucket itself is missing."""

    def stat(self, key: str, version: str | None = None) -> ObjectInfo:
        """Claims a proof that it has not."""
        try:
            return super().stat(key, version)
        except NotFoundError as error:
            raise NotFoundError(error.message) from None


READS: Final = (
    Broken(IgnoresRanges, "test_the_edges_of_a_small_object"),
    Broken(ClipsOneByteTooMuch, "test_the_edges_of_a_small_object"),
    Broken(SuffixFromTheStart, "test_the_edges_of_a_small_object"),
    Broken(SuffixLongerThanTheObjectFails, "test_the_edges_of_a_small_object"),
    Broken(EmptyPastTheEnd, "test_the_edges_of_a_small_object"),
    Broken(RangesOfAnEmptyObjectAreEmpty, "test_the_edges_of_an_empty_object"),
    Broken(LengthZeroNeedsNoObject, "test_a_missing_object_comes_before_everything"),
    Broken(ForgetsTheOffsetOfLargeParts, "test_parts_of_a_large_object"),
    Broken(StreamsShort, "test_sizes_around_every_threshold"),
    Broken(StreamsMixVersions, "test_a_stream_is_of_one_version"),
    Broken(RaisesAtTheFirstPiece, "test_reading_a_missing_key_is_not_found"),
    Broken(IgnoresReadConditions, "test_reads_on_condition"),
    Broken(ConfusesModifiedWithFailed, "test_reads_on_condition"),
    Broken(InflatesGzip, "test_an_encoded_body_is_not_decoded"),
    Broken(StaleStat, "test_an_overwrite_replaces_bytes_and_attributes"),
    Broken(MissingBucketIsAnAbsentKey, "test_a_missing_bucket_is_told_from_a_missing_key"),
)
