"""Install or start the servers that tests talk to.

python scripts/emulators.py install [NAME...]   what `make servers` does: every server that can be installed here
python scripts/emulators.py run [NAME...]       what `make emulators` does: start them and wait for Ctrl-C
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from mediagit_storage.testing.emulators import (
    SERVERS,
    EmulatorError,
    InstallError,
    Running,
    Server,
    install,
    is_installed,
    must_be_there,
    running,
    why_missing,
)

CACHE = Path(__file__).parents[1] / ".cache" / "servers"


def install_all(chosen: list[Server]) -> int:
    """Install those that are missing, several at once. A failure is told in a line, and the others are installed.

    Exits 1 only where ``CI`` is set and one is missing that could be there.
    """
    failed = 0
    with ThreadPoolExecutor(4) as pool:
        for server, ended in [(server, pool.submit(install_one, server)) for server in chosen]:
            error = ended.result()
            if error is not None:
                failed += must_be_there(server)
                print(f"NOT INSTALLED, its tests will be skipped: {error}", file=sys.stderr)
    if failed:
        print("CI is set: what can be installed has to be there", file=sys.stderr)
    return 1 if failed else 0


def install_one(server: Server) -> InstallError | None:
    """Install one server, and say how long it took; what went wrong comes back."""
    begin = time.monotonic()
    try:
        if install(server, CACHE):
            print(f"installed {server.title} in {time.monotonic() - begin:.0f} s", flush=True)
    except InstallError as error:
        return error
    return None


def run_all(chosen: list[Server]) -> int:
    """Start those that are installed, say how to reach them, and keep them until Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for server in chosen:
        if (reason := why_missing(server, CACHE)) is not None:
            print(f"not started: {reason}", file=sys.stderr)
    with ExitStack() as stack, ThreadPoolExecutor(len(chosen)) as pool:
        wanted = [server for server in chosen if is_installed(server, CACHE)]
        begun = {server.name: pool.submit(stack.enter_context, running(server.name, cache=CACHE)) for server in wanted}
        started = 0
        for server in wanted:
            try:
                tell(server, begun[server.name].result())
                started += 1
            except EmulatorError as error:
                print(f"not started: {error}", file=sys.stderr)
        if not started:
            return 1
        try:
            print("Ctrl-C ends them. Their data go with them.", flush=True)
            signal.pause()
        except KeyboardInterrupt:
            print("\nending", flush=True)
    return 0


def tell(server: Server, found: Running) -> None:
    """One server: where it is, its keys, and a line to try."""
    place = server.api.playground(found)
    keys = f"{found.access_key} / {found.secret_key}" if found.access_key else "none"
    print(f"{server.title}\n  url     {found.url}\n  keys    {keys}")
    print(f"  try     {found.example(f'mgs cp README.md {place}')}\n", flush=True)


def main() -> int:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["install", "run"])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(SERVERS)}; all without one")
    given = parser.parse_args()
    unknown = sorted(set(given.names) - set(SERVERS))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)} (known: {', '.join(SERVERS)})")
    chosen = [SERVERS[name] for name in given.names or SERVERS]
    return install_all(chosen) if given.what == "install" else run_all(chosen)


if __name__ == "__main__":
    sys.exit(main())
