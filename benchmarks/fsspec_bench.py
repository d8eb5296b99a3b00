"""One measurement of one filesystem of fsspec on the S3 stand-in of `sink.py`; prints one JSON line.

All are called in the same way, by the methods of fsspec: what differs is the class behind them. Listings are not asked for.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import time
from collections.abc import Callable

from fsspec import AbstractFileSystem

from programs import KEYS, REGION
from sink import BUCKET, FILES, LARGE, SMALL, file_key
from turns import peak_mib

PIECE = 1024 * 1024
PART = 16 * 1024
LARGE_KEY = "large.bin"


def ours(url: str) -> tuple[AbstractFileSystem, str]:
    """mediagit-storage, as opened for Amazon S3 with an endpoint of its own."""
    from mediagit_storage.integrations.fsspec import MgsFileSystem

    options = {**KEYS, "endpoint": url, "service": "aws", "region": REGION, "path_style": True}
    return MgsFileSystem(root=f"s3://{BUCKET}", options=options), ""


def s3fs(url: str) -> tuple[AbstractFileSystem, str]:
    """s3fs, over aiobotocore."""
    from s3fs import S3FileSystem

    client = {"endpoint_url": url, "region_name": REGION}
    key, secret = KEYS["access_key_id"], KEYS["secret_access_key"]
    style = {"s3": {"addressing_style": "path"}}
    return S3FileSystem(key=key, secret=secret, client_kwargs=client, config_kwargs=style), f"{BUCKET}/"


def obstore(url: str) -> tuple[AbstractFileSystem, str]:
    """obstore's own adapter, over object_store."""
    from obstore.fsspec import FsspecStore

    config = {**KEYS, "endpoint": url, "region": REGION, "virtual_hosted_style_request": False}
    return FsspecStore("s3", config=config, client_options={"allow_http": True}), f"{BUCKET}/"


CONTESTANTS = {
    "mediagit-storage": (ours, {}),
    "s3fs": (s3fs, {}),
    "s3fs, no cache": (s3fs, {"cache_type": "none"}),
    "obstore": (obstore, {}),
    "obstore, no cache": (obstore, {"cache_type": "none"}),
}


def places(count: int) -> list[int]:
    """Where parts of the large object begin: the same for all, far from each other."""
    return [random.Random(number).randrange(0, LARGE - PART) for number in range(count)]


def task_of(name: str, fs: AbstractFileSystem, root: str, count: int, how: dict[str, str]) -> Callable[[], int]:
    """The work to be timed, after a warm-up; it returns how many objects or parts came."""
    keys = [root + file_key(number % FILES) for number in range(count)]
    large = root + LARGE_KEY
    fs.cat_file(keys[0])
    if name == "get-single":
        return lambda: sum(len(fs.cat_file(key)) for key in keys) // SMALL
    if name == "get-many":
        fs.cat(keys[:50])
        return lambda: sum(map(len, fs.cat(keys).values())) // SMALL
    starts = places(count)
    ends = [start + PART for start in starts]
    if name == "ranges":
        fs.cat_ranges([large] * 50, starts[:50], ends[:50])
        return lambda: sum(map(len, fs.cat_ranges([large] * count, starts, ends))) // PART
    if name == "random":

        def read() -> int:
            with fs.open(large, "rb", **how) as file:
                return sum(len(piece_at(file, start)) for start in starts) // PART

        return read

    def stream() -> int:
        total = 0
        with fs.open(large, "rb", **how) as file:
            while piece := file.read(PIECE):
                total += len(piece)
        return total // LARGE

    return stream


def piece_at(file, start: int) -> bytes:
    file.seek(start)
    return file.read(PART)


def main() -> None:
    """Measure once and print the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=("get-single", "get-many", "ranges", "random", "stream"))
    parser.add_argument("contestant", choices=CONTESTANTS)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--url", required=True)
    arguments = parser.parse_args()
    made, how = CONTESTANTS[arguments.contestant]
    fs, root = made(arguments.url)
    work = task_of(arguments.task, fs, root, arguments.count, how)
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    seen = work()
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    if seen != arguments.count:
        raise SystemExit(f"{arguments.contestant} did {seen:,} of {arguments.count:,}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    json.dump({"seconds": seconds, "cpu": cpu, "peak_mib": peak_mib()}, sys.stdout)


if __name__ == "__main__":
    main()
