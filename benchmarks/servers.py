"""MB/s of one large object up and down through each server of the tests, beside published figures.

    python benchmarks/servers.py [--mib 256] [--rounds 3] [--write]

The server is what is measured here, hardly the client; the others' figures are what the makers of comparable software
state for their own tests through the same server.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from mediagit_storage import Storage, open_storage
from mediagit_storage.testing.emulators import SERVERS, EmulatorError, Running, running, running_already
from report import write_section

MIB = 1024 * 1024
#: Where `make servers` installs them.
CACHE = Path(__file__).parents[1] / ".cache" / "servers"
#: MB/s that others state.
PUBLISHED = {
    "localstack": "50 to 100",
    "minio": "100 to 200",
    "azurite": "80 to 150",
    "fake-gcs-server": "30 to 60 (their GCS emulator)",
}
#: The place that each kind of server is given, and what has to be said of some servers.
PLACES = {"s3": "s3://", "azure": "az://", "gcs": "gs://", "webdav": "dav:///"}
OPTIONS = {
    "seaweedfs": {"service": "seaweedfs"},
    "wsgidav": {"service": "wsgidav"},
    "rclone-webdav": {"service": "rclone"},
    "apache": {"service": "apache"},
    "nginx": {"service": "nginx"},
}


def main() -> None:
    """Measure every server that can be had, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=256, help="size of the object")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=SERVERS)
    parser.add_argument("--write", action="store_true", help="put the figures into benchmarks/README.md")
    arguments = parser.parse_args()
    lines = [
        f"One object of {arguments.mib} MiB, medians of {arguments.rounds} rounds, MB/s (10^6 bytes).\n",
        "| server | up | down | published by others |\n|---|---:|---:|---|",
    ]
    print(*lines, sep="\n", flush=True)
    for name in [arguments.only] if arguments.only else SERVERS:
        lines.append(row(name, arguments.mib, arguments.rounds))
        print(lines[-1], flush=True)
    if arguments.write:
        write_section("servers", "\n".join(lines))


def row(name: str, mib: int, rounds: int) -> str:
    """One server's line of the table; a server that is not there has a line that says so."""
    published = PUBLISHED.get(name, "-")
    try:
        if (other := running_already(name)) is not None:
            up, down = speeds(other, mib, rounds)
        else:
            with running(name, cache=CACHE) as server:
                up, down = speeds(server, mib, rounds)
    except EmulatorError as error:
        return f"| {SERVERS[name].title} | - | - | {published} ({error}) |"
    return f"| {SERVERS[name].title} | {up:.0f} | {down:.0f} | {published} |"


def speeds(server: Running, mib: int, rounds: int) -> tuple[float, float]:
    """Medians of the MB/s up and down."""
    options = {**OPTIONS.get(server.name, {}), **({"path_style": True} if server.speaks == "s3" else {})}
    ups, downs = [], []
    with (
        tempfile.TemporaryDirectory(prefix="mgs-bench-") as folder,
        open_storage(
            f"{PLACES[server.speaks]}speed-{os.getpid()}", options=options, environ=server.environment()
        ) as store,
    ):
        source, target = Path(folder, "source"), Path(folder, "target")
        block = os.urandom(MIB)
        with source.open("wb") as file:
            file.writelines(block for _ in range(mib))
        store.create()
        for _ in range(rounds):
            ups.append(speed(mib, lambda: store.upload(source, "large.bin", resume=False)))
            downs.append(speed(mib, lambda: fetch(store, target)))
            if target.stat().st_size != mib * MIB:
                raise SystemExit(f"{server.name}: {target.stat().st_size:,} bytes came back")
        store.delete("large.bin")
    return statistics.median(ups), statistics.median(downs)


def fetch(store: Storage, target: Path) -> None:
    store.download("large.bin", target, durability="none", resume=False)


def speed(mib: int, work) -> float:
    """MB/s of moving the object once."""
    started = time.perf_counter()
    work()
    return mib * MIB / 1e6 / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
