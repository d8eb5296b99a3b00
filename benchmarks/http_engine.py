"""The HTTP engine alone, against obstore: ratios of wall time and CPU, contestants taking turns.

    python benchmarks/http_engine.py http://127.0.0.1:8090/bucket --peer VENV/bin/python [--rounds 5]

The URL is a bucket of a server that answers fast and checks no signature (nginx does), holding ``small.bin`` of 16 KiB
and ``large.bin`` of 1 GiB. ``--peer`` is an interpreter that has obstore. Requests of ours carry headers as a signature
would, without computing one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

SMALL = 16_384
TASKS = ["get", "put", "batch-get", "stream"]
COUNTS = {"get": 3000, "put": 3000, "batch-get": 6000, "stream": 1}


def main() -> None:
    """Measure everything, or (``--run``) do one task in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--peer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--run", nargs=2, metavar=("CONTESTANT", "TASK"))
    arguments = parser.parse_args()
    if arguments.run:
        contestant, task = arguments.run
        make = ours if contestant == "ours" else peer
        print(json.dumps(measure(make(arguments.url, task), COUNTS[task])))
        return
    contestants = {"ours": sys.executable, **({"obstore": arguments.peer} if arguments.peer else {})}
    for task in TASKS:
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
        for _ in range(arguments.rounds):
            for name, python in contestants.items():
                command = [python, str(Path(__file__)), arguments.url, "--run", name, task]
                figures[name].append(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))
        report(task, figures)


def report(task: str, figures: dict[str, list[tuple[float, float]]]) -> None:
    """One line a contestant: medians for each operation, and how many times faster than obstore."""
    medians = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in figures.items()
    }
    for name, (wall, cpu) in medians.items():
        ratio = ""
        if "obstore" in medians:
            ratio = f"  {medians['obstore'][0] / wall:5.2f}x wall  {medians['obstore'][1] / cpu:5.2f}x cpu"
        unit, scale = ("us", 1e6) if COUNTS[task] > 1 else ("ms", 1e3)
        print(f"{task:10} {name:8} {wall * scale:8.1f} {unit} wall  {cpu * scale:8.1f} {unit} cpu{ratio}")


def measure(work: Callable[[int], None], count: int) -> tuple[float, float]:
    """Seconds of wall and CPU time for each operation, after a warm-up."""
    work(max(1, count // 20) if count > 1 else 1)
    wall, cpu = time.perf_counter(), time.process_time()
    work(count)
    return (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count


def ours(url: str, task: str) -> Callable[[int], None]:
    """This library's transport."""
    from mediagit_storage.http.request import Request
    from mediagit_storage.http.transport import Transport

    transport = Transport()
    headers = (
        ("Host", urlsplit(url).netloc),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ("x-amz-date", "20260101T000000Z"),
        ("Authorization", "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + "0" * 64),
    )  # fmt: skip

    def get(count: int) -> None:
        for _ in range(count):
            assert len(transport.send(Request("GET", f"{url}/small.bin", headers)).body) == SMALL

    def put(count: int) -> None:
        data = b"x" * SMALL
        for _ in range(count):
            assert transport.send(Request("PUT", f"{url}/new.bin", headers, data)).status == 200

    def batch(count: int) -> None:
        requests = (Request("GET", f"{url}/small.bin", headers) for _ in range(count))
        for sent in transport.send_all(requests, concurrency=32):
            assert sent.response is not None
            assert len(sent.response.body) == SMALL

    def stream(count: int) -> None:
        for _ in range(count):
            with transport.stream(Request("GET", f"{url}/large.bin", headers)) as response:
                assert sum(map(len, response)) == 1 << 30

    return {"get": get, "put": put, "batch-get": batch, "stream": stream}[task]


def peer(url: str, task: str) -> Callable[[int], None]:
    """obstore, in batches by its own 16-thread pool of `map`, which is its fastest way in synchronous code."""
    from concurrent.futures import ThreadPoolExecutor

    import obstore
    from obstore.store import S3Store

    parts = urlsplit(url)
    store = S3Store(
        parts.path.strip("/"),
        endpoint=f"{parts.scheme}://{parts.netloc}",
        access_key_id="x",
        secret_access_key="x",
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )

    def one(_: int) -> None:
        assert len(bytes(obstore.get(store, "small.bin").bytes())) == SMALL

    def get(count: int) -> None:
        for number in range(count):
            one(number)

    def put(count: int) -> None:
        data = b"x" * SMALL
        for _ in range(count):
            obstore.put(store, "new.bin", data)

    def batch(count: int) -> None:
        with ThreadPoolExecutor(16) as threads:
            for _ in threads.map(one, range(count)):
                pass

    def stream(count: int) -> None:
        for _ in range(count):
            assert (
                sum(len(chunk) for chunk in obstore.get(store, "large.bin").stream(min_chunk_size=1 << 20)) == 1 << 30
            )

    return {"get": get, "put": put, "batch-get": batch, "stream": stream}[task]


if __name__ == "__main__":
    main()
