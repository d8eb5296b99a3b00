"""One measurement of one contestant on the S3 stand-in of `sink.py`; prints one JSON line. `run.py` calls it in rounds.

Libraries are measured in this process, after a warm-up. Programs (mgs, s5cmd, rclone) are measured from start to exit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from programs import KEYS, REGION, Mgs, MgsDurable, Place, Program, Rclone, S5cmd
from sink import BUCKET, FILES, LARGE, SMALL, file_key
from turns import peak_mib

#: Threads of those that need a pool, and tasks of those that are asynchronous.
THREADS = 16
TASKS = 32
PIECE = 8 * 1024 * 1024


class Ours:
    """mediagit-storage, as opened for Amazon S3 with an endpoint of its own: SigV4, a checksum with every upload."""

    def __init__(self, place: Place) -> None:
        from mediagit_storage import open_storage

        options = {**KEYS, "endpoint": place.url, "service": "aws", "region": REGION, "path_style": True}
        if place.certificate:
            options["ca_file"] = place.certificate
        self.store = open_storage(f"s3://{place.bucket}", options=options)
        self.get, self.put = self.store.get, self.store.put

    def upload(self, path: str, key: str) -> None:
        self.store.upload(path, key, resume=False)

    def download(self, key: str, path: str) -> None:
        self.store.download(key, path, durability="none", resume=False)

    def stream(self, key: str) -> int:
        return sum(map(len, self.store.stream(key)))

    def names(self) -> Iterator[str]:
        return (info.key for info in self.store.list())


class OursBatch(Ours):
    """Many objects in one call."""

    def get_all(self, keys: list[str]) -> int:
        return sum(len(data) for _, data, _ in self.store.get_many(keys))

    def put_all(self, keys: list[str], data: bytes) -> int:
        return self.store.put_many((key, data) for key in keys).run()


class Obstore:
    """obstore (the Rust crate object_store), one call after the other."""

    def __init__(self, place: Place) -> None:
        import obstore
        from obstore.store import S3Store

        client = {"allow_http": True}
        if place.certificate:
            client["root_certificate"] = Path(place.certificate).read_bytes()
        self.obstore = obstore
        self.store = S3Store(place.bucket, endpoint=place.url, region=REGION, client_options=client, **KEYS)

    def get(self, key: str) -> bytes:
        return bytes(self.obstore.get(self.store, key).bytes())

    def put(self, key: str, data: bytes) -> None:
        self.obstore.put(self.store, key, data)

    def upload(self, path: str, key: str) -> None:
        self.obstore.put(self.store, key, Path(path), chunk_size=PIECE, max_concurrency=8)

    def download(self, key: str, path: str) -> None:
        with open(path, "wb", buffering=0) as file:
            file.writelines(self.obstore.get(self.store, key).stream(min_chunk_size=PIECE))

    def stream(self, key: str) -> int:
        return sum(map(len, self.obstore.get(self.store, key).stream(min_chunk_size=1024 * 1024)))

    def names(self) -> Iterator[str]:
        return (info["path"] for page in self.obstore.list(self.store) for info in page)


class ObstoreRanges(Obstore):
    """Eight threads that fetch ranges: what one would write around obstore for a large object."""

    def download(self, key: str, path: str) -> None:
        size = self.obstore.head(self.store, key)["size"]
        with open(path, "wb") as file, ThreadPoolExecutor(8) as pool:

            def fetch(start: int) -> None:
                part = self.obstore.get_range(self.store, key, start=start, end=min(start + PIECE, size))
                os.pwrite(file.fileno(), part, start)

            list(pool.map(fetch, range(0, size, PIECE)))


class ObstoreThreads(Obstore):
    """A pool of threads, which is its fastest way in synchronous code."""

    def get_all(self, keys: list[str]) -> int:
        with ThreadPoolExecutor(THREADS) as pool:
            return sum(map(len, pool.map(self.get, keys)))

    def put_all(self, keys: list[str], data: bytes) -> int:
        with ThreadPoolExecutor(THREADS) as pool:
            return sum(1 for _ in pool.map(lambda key: self.put(key, data), keys))


class ObstoreAsync(Obstore):
    """Tasks of one event loop."""

    def get_all(self, keys: list[str]) -> int:
        async def get(key: str) -> int:
            return len(bytes(await (await self.obstore.get_async(self.store, key)).bytes_async()))

        return asyncio.run(in_tasks(keys, get))

    def put_all(self, keys: list[str], data: bytes) -> int:
        async def put(key: str) -> int:
            await self.obstore.put_async(self.store, key, data)
            return 1

        return asyncio.run(in_tasks(keys, put))


class OpenDAL:
    """OpenDAL's Python binding (Rust)."""

    def __init__(self, place: Place) -> None:
        import opendal

        options = {"bucket": place.bucket, "endpoint": place.url, "region": REGION, "disable_config_load": "true"}
        self.operator = opendal.Operator("s3", **options, **KEYS)
        self.get, self.put = self.operator.read, self.operator.write

    def upload(self, path: str, key: str) -> None:
        with open(path, "rb") as source, self.operator.open(key, "wb") as target:
            shutil.copyfileobj(source, target, PIECE)

    def download(self, key: str, path: str) -> None:
        with self.operator.open(key, "rb") as source, open(path, "wb") as target:
            shutil.copyfileobj(source, target, PIECE)

    def names(self) -> Iterator[str]:
        return (entry.path for entry in self.operator.scan("/"))


class OpenDALAsync(OpenDAL):
    """Tasks of one event loop."""

    def get_all(self, keys: list[str]) -> int:
        operator = self.operator.to_async_operator()

        async def get(key: str) -> int:
            return len(await operator.read(key))

        return asyncio.run(in_tasks(keys, get))

    def put_all(self, keys: list[str], data: bytes) -> int:
        operator = self.operator.to_async_operator()

        async def put(key: str) -> int:
            await operator.write(key, data)
            return 1

        return asyncio.run(in_tasks(keys, put))


class Boto3:
    """Amazon's own library."""

    def __init__(self, place: Place) -> None:
        import boto3
        from botocore.config import Config

        self.bucket = place.bucket
        self.client = boto3.client(
            "s3",
            endpoint_url=place.url,
            region_name=REGION,
            aws_access_key_id=KEYS["access_key_id"],
            aws_secret_access_key=KEYS["secret_access_key"],
            verify=place.certificate or True,
            config=Config(max_pool_connections=THREADS, s3={"addressing_style": "path"}),
        )

    def get(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=data)

    def upload(self, path: str, key: str) -> None:
        self.client.upload_file(path, self.bucket, key)

    def download(self, key: str, path: str) -> None:
        self.client.download_file(self.bucket, key, path)

    def names(self) -> Iterator[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return (info["Key"] for page in pages for info in page["Contents"])

    def get_all(self, keys: list[str]) -> int:
        with ThreadPoolExecutor(THREADS) as pool:
            return sum(map(len, pool.map(self.get, keys)))

    def put_all(self, keys: list[str], data: bytes) -> int:
        with ThreadPoolExecutor(THREADS) as pool:
            return sum(1 for _ in pool.map(lambda key: self.put(key, data), keys))


class Aiobotocore:
    """botocore on asyncio."""

    def __init__(self, place: Place) -> None:
        self.place = place

    async def with_client(self, keys: Iterable[str], tasks: int, one: Callable) -> int:
        from aiobotocore.session import get_session
        from botocore.config import Config

        async with get_session().create_client(
            "s3",
            endpoint_url=self.place.url,
            region_name=REGION,
            aws_access_key_id=KEYS["access_key_id"],
            aws_secret_access_key=KEYS["secret_access_key"],
            config=Config(max_pool_connections=TASKS, s3={"addressing_style": "path"}),
        ) as client:
            return await in_tasks(keys, lambda key: one(client, key), tasks)

    def get_all(self, keys: list[str], tasks: int = TASKS) -> int:
        async def get(client, key: str) -> int:
            answer = await client.get_object(Bucket=self.place.bucket, Key=key)
            async with answer["Body"] as body:
                return len(await body.read())

        return asyncio.run(self.with_client(keys, tasks, get))

    def put_all(self, keys: list[str], data: bytes, tasks: int = TASKS) -> int:
        async def put(client, key: str) -> int:
            await client.put_object(Bucket=self.place.bucket, Key=key, Body=data)
            return 1

        return asyncio.run(self.with_client(keys, tasks, put))


class AiobotocoreSingle(Aiobotocore):
    """One call after the other."""

    def get_all(self, keys: list[str], tasks: int = 1) -> int:
        return super().get_all(keys, tasks)

    def put_all(self, keys: list[str], data: bytes, tasks: int = 1) -> int:
        return super().put_all(keys, data, tasks)


async def in_tasks(keys: Iterable[str], one: Callable, tasks: int = TASKS) -> int:
    """The sum of what ``one`` gives for each key, some at a time."""
    waiting = iter(keys)

    async def work() -> int:
        total = 0
        for key in waiting:
            total += await one(key)
        return total

    return sum(await asyncio.gather(*(work() for _ in range(tasks))))


CONTESTANTS: dict[str, type] = {
    "mediagit-storage": Ours,
    "mediagit-storage, get_many and put_many": OursBatch,
    "obstore": Obstore,
    "obstore, 8 ranges at once": ObstoreRanges,
    "obstore, 16 threads": ObstoreThreads,
    "obstore, asyncio": ObstoreAsync,
    "opendal": OpenDAL,
    "opendal, asyncio": OpenDALAsync,
    "boto3": Boto3,
    "boto3, 16 threads": Boto3,
    "aiobotocore": AiobotocoreSingle,
    "aiobotocore, 32 tasks": Aiobotocore,
    "mgs": MgsDurable,
    "mgs, without fsync": Mgs,
    "s5cmd": S5cmd,
    "rclone": Rclone,
}


# ---- tasks


def one_by_one(store: object, method: str, keys: list[str], *data: bytes) -> int:
    """A call per object, except for those that have to be told everything at once."""
    if isinstance(store, AiobotocoreSingle):
        return store.get_all(keys) if method == "get" else store.put_all(keys, *data)
    call = getattr(store, method)
    if method == "put":
        for key in keys:
            call(key, *data)
        return len(keys)
    return sum(len(call(key)) for key in keys)


def many(store: object, method: str, keys: list[str], *data: bytes) -> int:
    """All in one call."""
    return store.get_all(keys) if method == "get" else store.put_all(keys, *data)


def keys_of(method: str, count: int) -> list[str]:
    """Keys to get (they are there) or to put."""
    if method == "get":
        return [file_key(number % FILES) for number in range(count)]
    return [f"new/{number % 100:02}/object-{number:07}.bin" for number in range(count)]


def small(work: Callable, method: str, store: object, count: int) -> Callable[[], int]:
    data = [os.urandom(SMALL)] if method == "put" else []
    work(store, method, keys_of(method, max(1, count // 20)), *data)
    keys = keys_of(method, count)
    return lambda: work(store, method, keys, *data) // (SMALL if method == "get" else 1)


def task_of(arguments: argparse.Namespace, store: object) -> Callable[[], int]:
    """The work to be timed; it returns how many objects it has seen."""
    task, count, folder = arguments.task, arguments.count, arguments.folder
    if task.startswith(("get-", "put-")):
        method, _, how = task.partition("-")
        return small(many if how == "batch" else one_by_one, method, store, count)
    if task == "list":
        if hasattr(store, "count"):
            return store.count
        return lambda: sum(1 for _ in store.names())
    if task == "stream":
        return lambda: store.stream("large.bin") // LARGE
    if task == "download":
        target = f"{folder}/large.new"
        return lambda: store.download("large.bin", target) or (os.path.getsize(target) // LARGE)
    if task == "upload":
        return lambda: store.upload(arguments.source, "large.bin") or 1
    if task == "copy-up":
        return lambda: store.copy_up(arguments.source) or count
    os.makedirs(folder)
    return lambda: store.copy_down(folder) or sum(len(files) for _, _, files in os.walk(folder))


def main() -> None:
    """Measure once and print the result."""
    parser = argparse.ArgumentParser()
    tasks = "get-single put-single get-batch put-batch list stream download upload copy-up copy-down"
    parser.add_argument("task", choices=tasks.split())
    parser.add_argument("contestant", choices=CONTESTANTS)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--url", required=True)
    parser.add_argument("--certificate")
    parser.add_argument("--bucket", default=BUCKET)
    parser.add_argument("--source", help="the file or folder to upload")
    parser.add_argument("--folder", help="where to write; new for copy-down")
    arguments = parser.parse_args()
    store = CONTESTANTS[arguments.contestant](Place(arguments.url, arguments.certificate, arguments.bucket))
    work = task_of(arguments, store)
    who = resource.RUSAGE_CHILDREN if isinstance(store, Program) else resource.RUSAGE_SELF
    before = resource.getrusage(who)
    started = time.perf_counter()
    seen = work()
    seconds = time.perf_counter() - started
    after = resource.getrusage(who)
    if seen != arguments.count:
        raise SystemExit(f"{arguments.contestant} did {seen:,} of {arguments.count:,}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = store.peak if isinstance(store, Program) else peak_mib()
    json.dump({"seconds": seconds, "cpu": cpu, "peak_mib": peak}, sys.stdout)


if __name__ == "__main__":
    main()
