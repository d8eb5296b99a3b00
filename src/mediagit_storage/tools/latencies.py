"""What a number of durations come to: percentiles, rates and a histogram. Pure functions; all times are in seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

__all__ = ["Bucket", "Latencies", "histogram", "latencies", "percentile"]

#: The bounds of histograms within each power of ten.
_STEPS: Final = (1.0, 2.0, 5.0)


class Latencies(NamedTuple):
    """How long operations took: the median, what 9 in 10 and 99 in 100 stayed below, the longest, and the mean."""

    p50: float
    p90: float
    p99: float
    max: float
    mean: float


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many durations lay above ``low`` and not above ``high``."""

    low: float
    high: float
    count: int


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest of ``ordered`` (sorted, not empty) that at least so many percent of them do not exceed: nearest rank.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 50)
    2.0
    """
    rank = math.ceil(percent / 100 * len(ordered))
    return ordered[max(rank, 1) - 1]


def latencies(samples: Sequence[float]) -> Latencies | None:
    """What the samples come to; None without any."""
    if not samples:
        return None
    ordered = sorted(samples)
    p50, p90, p99 = (percentile(ordered, percent) for percent in (50, 90, 99))
    return Latencies(p50, p90, p99, ordered[-1], math.fsum(ordered) / len(ordered))


def histogram(samples: Sequence[float], most: int = 12) -> Sequence[Bucket]:
    """The samples by buckets that end at 1, 2, 5, 10, 20, 50 ... of a second, from the first that has any to the last.

    Where that would be more than ``most``, the last bucket takes all that is above.
    """
    counts: dict[int, int] = {}
    for each in samples:
        step = _step_of(each)
        counts[step] = counts.get(step, 0) + 1
    if not counts:
        return ()
    first, last = min(counts), max(counts)
    end = min(last, first + most - 1)
    buckets = [Bucket(_bound(step - 1), _bound(step), counts.get(step, 0)) for step in range(first, end + 1)]
    if last > end:
        rest = sum(count for step, count in counts.items() if step > end)
        buckets[-1] = Bucket(buckets[-1].low, _bound(last), buckets[-1].count + rest)
    return buckets


def _bound(step: int) -> float:
    power, index = divmod(step, len(_STEPS))
    return _STEPS[index] * 10.0**power


def _step_of(value: float) -> int:
    """The number of the bucket that a duration falls into; nothing is below a nanosecond."""
    step = len(_STEPS) * math.floor(math.log10(max(value, 1e-9)))
    while _bound(step) < value:
        step += 1
    return step
