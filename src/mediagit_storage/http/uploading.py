"""Uploads: in one request, or in parts that travel side by side; decided by size, bounded by a budget of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import NamedTuple, TypeAlias, TypeVar

from mediagit_storage.http.call import Call
from mediagit_storage.http.client import HttpClient
from mediagit_storage.http.driver import Waker
from mediagit_storage.http.multipart import GrowingParts, PartLimits, PartPlan, Sizes, parts_in_flight, plan_parts
from mediagit_storage.http.parts import Pieces, SourcePart, small_file, view_part
from mediagit_storage.http.response import Response
from mediagit_storage.source import FileRegion, Source
from mediagit_storage.types import BytesLike

__all__ = ["FileParts", "Parts", "Upload", "Whole", "WholeFile", "planned", "send_parts"]

K = TypeVar("K")


class Whole(NamedTuple):
    """Everything lies in memory and goes in one request."""

    data: BytesLike


class WholeFile(NamedTuple):
    """A file on disk goes in one request, read while it is sent."""

    region: FileRegion


class FileParts(NamedTuple):
    """A file on disk goes in the parts of a plan; some may be there already."""

    region: FileRegion
    plan: PartPlan


class Parts(NamedTuple):
    """What lies in memory or comes in order goes in parts. ``held`` says that a part in flight takes memory of its own."""

    parts: Iterator[SourcePart | None]
    part_size: int
    held: bool


Upload: TypeAlias = Whole | WholeFile | FileParts | Parts


def planned(
    source: Source, sizes: Sizes, limits: PartLimits, algorithm: str, *, single: int, stream_single: int = 0
) -> Upload:
    """How a source travels. ``algorithm`` names the digest of each part.

    Up to ``single`` bytes of what can be read again go in one request. A stream goes in one where its first part, or
    ``stream_single`` bytes, hold it all: so much of it is read here. Raises `LimitExceededError` for what does not fit.
    """
    data = source.buffer()
    if data is not None:
        return Whole(data) if len(data) <= single else _view_parts(memoryview(data), sizes, limits, algorithm)
    region = source.region()
    if region is None:
        return _streamed(source, sizes, limits, algorithm, stream_single)
    if region.size <= min(sizes.part, single):
        return Whole(small_file(source))
    if region.size <= single:
        return WholeFile(region)
    return FileParts(region, plan_parts(region.size, limits, part_size=sizes.part))


def _view_parts(view: memoryview, sizes: Sizes, limits: PartLimits, algorithm: str) -> Parts:
    plan = plan_parts(len(view), limits, part_size=sizes.part)
    parts = (view_part(each.number, view[each.offset : each.offset + each.length], algorithm) for each in plan.parts())
    return Parts(parts, plan.part_size, held=False)


def _streamed(source: Source, sizes: Sizes, limits: PartLimits, algorithm: str, least: int) -> Upload:
    """A source that can only be read in order: its first bytes decide whether one request is enough."""
    length_of: Callable[[int], int]
    if source.size is not None:
        plan = plan_parts(source.size, limits, part_size=sizes.part)
        part_size = plan.part_size
        length_of = lambda _number: part_size  # noqa: E731
        at_once = source.size if source.size <= min(sizes.threshold, sizes.buffer) else 0
        first = max(at_once or part_size, least)
    else:
        growing = GrowingParts(limits, first=sizes.part, most=max(sizes.part, sizes.buffer // sizes.concurrency))
        part_size, length_of = growing.length(1), growing.length
        first = max(part_size, least)
    pieces = Pieces(source.chunks())
    begin = pieces.gather(first)
    if pieces.exhausted:
        return Whole(begin)
    pieces.put_back(begin)
    del begin
    return Parts(pieces.parts(length_of, algorithm), part_size, held=True)


def send_parts(
    client: HttpClient,
    parts: Iterator[SourcePart | None],
    call_of: Callable[[SourcePart], Call],
    kept: Callable[[SourcePart, Response], K],
    sizes: Sizes,
    *,
    part_size: int,
    held: bool,
    advance: Callable[[int], None] | None = None,
) -> list[tuple[K, int]]:
    """Send parts side by side: what is ``kept`` of each answer, with the part's length, in the order they arrived.

    The digest of a part is known when ``call_of`` is asked for its request. ``advance`` hears how much has arrived.
    Parts that are ``held`` take three quarters of the budget, the rest is left to what they travel through (libcurl, TLS).
    Raises the first failure, and stops what travels.
    """
    # One more part is being put together while the others travel.
    room = parts_in_flight(part_size, concurrency=sizes.concurrency, buffer=sizes.buffer * 3 // 4 - part_size)
    concurrency = room if held else sizes.concurrency
    flying = 0
    done: list[tuple[K, int]] = []
    waker = Waker()

    def calls() -> Iterator[tuple[SourcePart, Call] | None]:
        nonlocal flying
        for part in parts:
            if part is None:
                # The source goes on giving: what travels is looked after, then it is asked again at once.
                waker.wake()
                yield None
                continue
            # Those that wait for their next attempt take memory, too.
            while flying >= concurrency:
                yield None
            if part.checksum is None:
                part.checksum = part.digest()
            flying += 1
            yield part, call_of(part)

    sending = client.send_calls(calls(), concurrency=concurrency, buffer_bytes=sizes.buffer, waker=waker)
    with closing(waker), closing(sending) as answers:
        for part, call, retried in answers:
            flying -= 1
            client.check(retried.response, call)
            done.append((kept(part, retried.response), part.length))
            part.release()
            if advance is not None:
                advance(part.length)
    return done
