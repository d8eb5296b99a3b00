"""Plans the run of a tool over 10^9 objects by many workers: requests, cost and time, by a simulation.

python benchmarks/billion.py [--objects 1e9] [--size 1e6] [--write]

What a worker does for an object is what benchmarks/README.md measured; what the process that gives out the work does for an
answer is measured now; what the service and the network do is assumed, and printed. `--write` puts the tables into
docs/guides/beyond-one-machine.md.
"""

from __future__ import annotations

import argparse
import heapq
import pickle
import random
import re
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from report import tables_of, write_section

GUIDE = Path(__file__).parents[1] / "docs" / "guides" / "beyond-one-machine.md"
#: Keys in a page of a listing.
PAGE = 1000


@dataclass(frozen=True)
class Prices:
    """Dollars for 1,000 requests. S3 Standard in us-east-1, as of November 2026: see the guide for the source."""

    listing: float = 0.005
    put: float = 0.005
    get: float = 0.0004


class Costs(NamedTuple):
    """Processor time of a worker for one object, in seconds."""

    listing: float
    get: float
    put: float


@dataclass(frozen=True)
class Work:
    """What a tool does for each name: on how many ``sides`` it is listed, in how many ``passes``; how many objects are read
    and written, and how often something is asked about one. ``turns`` are the answers that it waits for one after the other.
    ``answered`` is how often a name comes back to the process that gives out the work.
    """

    name: str
    sides: int = 2
    passes: int = 1
    read: int = 0
    asked: int = 0
    written: int = 0
    turns: int = 0
    answered: int = 0


@dataclass(frozen=True)
class Surroundings:
    """The service, the network, the workers and the client; times in seconds."""

    #: Until the first byte of an answer: Amazon names 100 to 200 ms for small objects.
    latency: float = 0.15
    #: Requests a second that one partition of a bucket takes, and how many partitions there are by then.
    gets: float = 5500.0
    puts: float = 3500.0
    partitions: int = 16
    #: Bytes a second in and out of one worker, and requests that it has on their way.
    bandwidth: float = 1.25e9
    at_once: int = 16
    #: One portion in so many is slow, so many times.
    straggling: float = 0.01
    slowness: float = 5.0
    #: Time between two deaths of one worker, and until there is another one.
    lifetime: float = 200 * 3600.0
    restart: float = 60.0
    #: Names whose answers the client takes in a second.
    client: float = 150_000.0
    #: Questions for each range to begin with, and ranges for each worker.
    probes: int = 5
    ranges: int = 4


class Outcome(NamedTuple):
    """What a run took, in seconds and dollars; ``bound`` is what a worker waits for most."""

    seconds: float
    dollars: float
    listings: float
    gets: float
    puts: float
    bound: str
    repeated: int


def portion_times(
    work: Work, names: int, size: float, costs: Costs, around: Surroundings, workers: int
) -> dict[str, float]:
    """How long each resource takes for a portion by itself: a worker takes as long as the slowest of them."""
    pages = work.passes * -(-names // PAGE)
    processor = work.sides * work.passes * costs.listing
    processor += (work.read + work.asked) * costs.get + work.written * costs.put
    share = around.partitions / workers
    requests = pages * work.sides + names * (work.read + work.asked)
    return {
        # The pages of one side follow each other; objects travel side by side.
        "latency": (pages + names * work.turns / around.at_once) * around.latency,
        "processor": names * processor,
        "network": names * size * max(work.read, work.written) / around.bandwidth,
        "service": max(requests / (around.gets * share), names * work.written / (around.puts * share)),
    }


def simulate(
    work: Work,
    *,
    objects: int,
    size: float,
    workers: int,
    costs: Costs,
    around: Surroundings,
    prices: Prices,
    names: int = 10_000,
    seed: int = 1,
) -> Outcome:
    """Let workers take portion after portion, some slowly, some dying, and one client take the answers in turn."""
    chance = random.Random(seed)
    times = portion_times(work, names, size, costs, around, workers)
    usual = max(times.values())
    portions = -(-objects // names)
    questions = around.probes * around.ranges * workers
    begin = questions * around.latency
    free = [(begin, number) for number in range(workers)]
    heapq.heapify(free)
    dies = [begin + chance.expovariate(1 / around.lifetime) for _ in range(workers)]
    ends: list[float] = []
    left, repeated = portions, 0
    while left:
        now, worker = heapq.heappop(free)
        took = usual * (around.slowness if chance.random() < around.straggling else 1.0)
        if now + took > dies[worker]:
            repeated += 1
            now = dies[worker] + around.restart
            dies[worker] = now + chance.expovariate(1 / around.lifetime)
        else:
            now += took
            ends.append(now)
            left -= 1
        heapq.heappush(free, (now, worker))
    client = begin
    for end in sorted(ends):
        client = max(client, end) + names * work.answered / around.client
    done = portions + repeated
    listings = questions + done * work.sides * work.passes * -(-names // PAGE)
    gets, puts = done * names * (work.read + work.asked), done * names * work.written
    dollars = (listings * prices.listing + gets * prices.get + puts * prices.put) / 1000
    late = client - max(ends) > (max(ends) - begin) / 10
    bound = "client" if late else max(times, key=lambda each: times[each])
    return Outcome(client, dollars, listings, gets, puts, bound, repeated)


#: What there is to do. To compare reads both sides, and asks both what describes the object; a migration does it as well.
WORKS = (
    Work("sync, where nothing has changed"),
    Work("sync, where everything is copied", read=1, written=1, turns=1, answered=1),
    Work("verify of two storages", read=2, asked=2, turns=4, answered=1),
    Work("migrate", passes=2, read=3, asked=2, written=1, turns=5, answered=1),
    Work("gc, which finds nothing", sides=1),
)
WORKERS = (1, 8, 32, 128)


def measured() -> Costs:
    """The times per object of the S3 section of benchmarks/README.md, processor time of many at once."""
    tables = tables_of("s3")
    lists = _processor(tables["list 1,000,000 keys"], "mediagit-storage") / 1_000_000
    name = "mediagit-storage, get_many and put_many"
    get = _processor(tables["get 10,000 objects of 16 KiB, many at once"], name) / 10_000
    put = _processor(tables["put 10,000 objects of 16 KiB, many at once"], name) / 10_000
    return Costs(lists, get, put)


def _processor(table: str, contestant: str) -> float:
    """The processor seconds of a row: the fourth figure."""
    row = re.search(rf"^\| {re.escape(contestant)} \|(.*)\|$", table, re.MULTILINE)
    if row is None:
        raise SystemExit(f"benchmarks/README.md has no row of {contestant!r}: run make bench-s3")
    return float(row[1].split("|")[3])


def measured_client(portions: int = 30, names: int = 10_000) -> float:
    """Names a second whose answers one process reads, and remembers: done now, with what copies give."""
    from mediagit_storage.tools.dask.tasks import Answer, Copied, Fact
    from mediagit_storage.tools.plan import Action
    from mediagit_storage.tools.remembered import Remembered
    from mediagit_storage.tools.sync import SyncCounts, Synced

    took = 0.0
    with tempfile.TemporaryDirectory() as folder, Remembered(Path(folder), ("a", "b")) as memory:
        for portion in range(portions):
            keys = [f"media/{portion:05}/shot-{number:07}.exr" for number in range(names)]
            synced = [Synced(Action.COPY, key, "missing", 1000) for key in keys]
            facts = [Fact(key, b"0123456789abcdef", 1000) for key in keys]
            answer = pickle.dumps(Answer([Copied(synced, SyncCounts(), [], facts, {})]))
            began = time.process_time()
            for fact in pickle.loads(answer).items[0].facts:
                memory.add(*fact)
            took += time.process_time() - began
    return portions * names / took


def hours(seconds: float) -> str:
    """A time for people."""
    if seconds < 3 * 3600:
        return f"{seconds / 60:,.0f} min"
    return f"{seconds / 3600:,.0f} h" if seconds < 5 * 86400 else f"{seconds / 86400:,.0f} days"


def report(objects: int, size: float, costs: Costs, around: Surroundings, prices: Prices) -> str:
    """What is measured and assumed, and a table for each of two numbers of requests at once."""
    given = (
        f"{objects:,} objects of {size / 1e6:g} MB on average, in portions of 10,000 names.",
        "",
        (
            f"- **Measured** (`make bench-s3`): a worker's processor takes {costs.listing * 1e6:.1f} µs to list a key,"
            f" {costs.get * 1e6:.0f} µs to read an object of 16 KiB and {costs.put * 1e6:.0f} µs to write one."
        ),
        f"- **Measured** (`make plan-billion`): the process that gives out the work takes {around.client:,.0f} answers a second.",
        (
            f"- **Assumed**: the service answers in {around.latency * 1000:.0f} ms, and takes {around.gets:,.0f} reads and"
            f" {around.puts:,.0f} writes a second in each of {around.partitions} partitions; a worker has"
            f" {around.bandwidth * 8 / 1e9:g} Gbit/s each way, and dies every {around.lifetime / 3600:g} hours; one portion in"
            f" {1 / around.straggling:.0f} takes {around.slowness:g} times as long."
        ),
        f"- **Prices** for 1,000 requests: {prices.listing} $ for listings, {prices.put} $ for writes, {prices.get} $ for reads.",
    )
    lines = [*given]
    for at_once in (16, 128):
        lines += ["", f"With `--concurrency {at_once}`, by the number of workers:", ""]
        lines += _table(objects, size, costs, replace(around, at_once=at_once), prices)
    return "\n".join(lines)


def _table(objects: int, size: float, costs: Costs, around: Surroundings, prices: Prices) -> list[str]:
    """A row for each kind of work. Requests and their price are those of the most workers, and hardly differ."""
    columns = " | ".join(str(each) for each in WORKERS)
    lines = [
        f"| | requests, millions | their price | {columns} | the most wait for |",
        f"|---|{'---:|' * (2 + len(WORKERS))}---|",
    ]
    for work in WORKS:
        runs = [
            simulate(work, objects=objects, size=size, workers=each, costs=costs, around=around, prices=prices)
            for each in WORKERS
        ]
        last = runs[-1]
        requests = (last.listings + last.gets + last.puts) / 1e6
        times = " | ".join(hours(run.seconds) for run in runs)
        lines.append(f"| {work.name} | {requests:,.0f} | {last.dollars:,.0f} $ | {times} | {last.bound} |")
    return lines


def main() -> None:
    """Print the plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=float, default=1e9)
    parser.add_argument("--size", type=float, default=1e6, help="bytes of one object, on average")
    parser.add_argument("--latency", type=float, default=Surroundings.latency, help="seconds for an answer")
    parser.add_argument("--partitions", type=int, default=Surroundings.partitions)
    parser.add_argument("--write", action="store_true", help="put the tables into the guide")
    asked = parser.parse_args()
    around = replace(
        Surroundings(), latency=asked.latency, partitions=asked.partitions, client=round(measured_client(), -4)
    )
    text = report(int(asked.objects), asked.size, measured(), around, Prices())
    print(text)
    if asked.write:
        write_section("billion", text, GUIDE)


if __name__ == "__main__":
    main()
