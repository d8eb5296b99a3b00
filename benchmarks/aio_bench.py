"""One measurement of small objects under an event loop: python benchmarks/aio_bench.py TASK CONTESTANT --count N --url URL.

Each contestant warms up with a tenth of the objects, so that no figure holds connecting and importing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager

from programs import KEYS, REGION
from s3 import TASKS, in_tasks
from sink import BUCKET, FILES, SMALL, file_key
from turns import peak_mib

Get = Callable[[str], Awaitable[int]]
Put = Callable[[str, bytes], Awaitable[object]]


@asynccontextmanager
async def ours(url: str):
    """`AsyncStorage` as `open_async` gives it."""
    from mediagit_storage import open_async

    options = {**KEYS, "endpoint": url, "service": "aws", "region": REGION, "path_style": True}
    async with open_async(f"s3://{BUCKET}", options=options) as store:

        async def get(key: str) -> int:
            return len(await store.get(key))

        yield get, store.put


@asynccontextmanager
async def threads(url: str):
    """Our `Storage` with `asyncio.to_thread`, in a pool large enough: what one would do without `AsyncStorage`."""
    from concurrent.futures import ThreadPoolExecutor

    from mediagit_storage import open_storage

    options = {**KEYS, "endpoint": url, "service": "aws", "region": REGION, "path_style": True}
    with open_storage(f"s3://{BUCKET}", options=options) as store:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(TASKS))

        async def get(key: str) -> int:
            return len(await asyncio.to_thread(store.get, key))

        yield get, lambda key, data: asyncio.to_thread(store.put, key, data)


@asynccontextmanager
async def obstore(url: str):
    """obstore's coroutines (Rust)."""
    import obstore as library
    from obstore.store import S3Store

    options = {"endpoint": url, "region": REGION, "virtual_hosted_style_request": False, **KEYS}
    store = S3Store(BUCKET, **options, client_options={"allow_http": True})

    async def get(key: str) -> int:
        return len(bytes(await (await library.get_async(store, key)).bytes_async()))

    yield get, lambda key, data: library.put_async(store, key, data)


CONTESTANTS = {
    "mediagit-storage": ours,
    "mediagit-storage, Storage in 32 threads": threads,
    "obstore": obstore,
}


async def carried_out(task: str, get: Get, put: Put, count: int) -> int:
    """Bytes or objects that went."""
    keys = [file_key(number % FILES) for number in range(count)]
    data = b"x" * SMALL

    async def stored(key: str) -> int:
        await put(key, data)
        return SMALL

    if task == "gather":
        return sum(await asyncio.gather(*map(get, keys)))
    return await in_tasks(keys, get if task == "get" else stored)


async def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds of the clock and of processor time."""
    async with CONTESTANTS[arguments.contestant](arguments.url) as (get, put):
        await carried_out(arguments.task, get, put, max(TASKS, arguments.count // 10))
        before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        seen = await carried_out(arguments.task, get, put, arguments.count)
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    if seen != arguments.count * SMALL:
        raise SystemExit(f"{arguments.contestant} moved {seen:,} bytes of {arguments.count * SMALL:,}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "cpu": cpu, "peak_mib": peak_mib()}


def main() -> None:
    """Measure once and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=["get", "put", "gather"])
    parser.add_argument("contestant", choices=CONTESTANTS)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--url", required=True)
    json.dump(asyncio.run(measure(parser.parse_args())), sys.stdout)


if __name__ == "__main__":
    main()
