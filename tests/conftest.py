"""Hygiene for every test: no real credentials, no home folder, no network but loopback, nothing left behind.

What a test can see of the machine is decided here, before the first test module is imported.
"""

from __future__ import annotations

import contextlib
import gc
import ipaddress
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

    from mediagit_storage.backend import StorageBackend
    from mediagit_storage.storage import Storage
    from mediagit_storage.testing.command_line import Finished
    from mediagit_storage.testing.emulators import Running
    from mediagit_storage.testing.scripted_server import ScriptedServer

# Before anything imports the suite: its assertions are shown in full.
pytest.register_assert_rewrite("mediagit_storage.testing")

#: Real servers, started when a test needs one.
pytest_plugins = ("mediagit_storage.testing.emulators.plugin",)

#: Everything that could carry a credential, a configuration or another way to the network into a test.
SCRUBBED = re.compile(
    r"(AWS|AZURE|GCS|GOOGLE|MINIO|B2|SPACES|WEBDAV|MGS)_.*"
    r"|STORAGE_EMULATOR_HOST|SSL_CERT_FILE|SSL_CERT_DIR|CURL_CA_BUNDLE|REQUESTS_CA_BUNDLE|NETRC"
    r"|.*_PROXY|XDG_.*",
    re.IGNORECASE,
)

#: What names a place on a real account that the tests in `ACCOUNTS`, and no others, may use.
ACCOUNT = re.compile(r"MGS_TEST_[A-Z0-9]+_URL")
ACCOUNTS = Path(__file__).parent / "accounts"
#: What was scrubbed, with the home folder; kept only where it names such a place, else empty.
OUTSIDE = pytest.StashKey[dict[str, str]]()

# A shell that runs something in the background has it ignore Ctrl-C, and so would every program that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: How long a thread, descriptor or child that is on its way out may take, in seconds.
GRACE = 30.0


class NetworkBlocked(RuntimeError):
    """A test tried to leave this machine. Not an OSError, so that no error handling takes it for a lost connection."""


# ---- the environment -----------------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Scrub the environment and choose the Hypothesis profile, in every xdist worker and before collection."""
    scrubbed = {name: os.environ.pop(name) for name in [*os.environ] if SCRUBBED.fullmatch(name)}
    named = any(ACCOUNT.fullmatch(name) and value for name, value in scrubbed.items())
    outside = {**scrubbed, "HOME": os.environ.get("HOME", "")} if named else {}
    # Workers of xdist begin with the environment as the first process has left it.
    config.stash[OUTSIDE] = getattr(config, "workerinput", {}).get("outside", outside)
    home = tempfile.mkdtemp(prefix="mgs-home-")
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    os.environ["HOME"] = home
    # Where nothing compiled is kept, each of the thousand processes that tests start compiles all that it imports.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As a shell starts what runs in the background; the programs of tests would inherit that, and not hear Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.addaudithook(_refuse_network)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Hand a worker of xdist what the tests of accounts need."""
    node.workerinput["outside"] = node.config.stash[OUTSIDE]


@pytest.fixture(scope="session")
def home() -> Path:
    """The empty folder that stands in for the user's home."""
    return Path(os.environ["HOME"])


# ---- real accounts: the one exception ------------------------------------------------------------------------------


def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> list[pytest.Item] | None:
    """A class with an ``account`` is collected only where the variable of that name says which place to use."""
    account = getattr(obj, "account", None)
    if not isinstance(account, str) or collector.path.parent != ACCOUNTS:
        return None
    return None if collector.config.stash[OUTSIDE].get(account) else []


@pytest.fixture
def outside(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """The user's own environment and the network, while a test in `ACCOUNTS` runs; others get an error."""
    kept = request.config.stash[OUTSIDE]
    if request.path.parent != ACCOUNTS or not kept:
        pytest.fail("only the tests of accounts that the environment names may leave this machine", pytrace=False)
    for name, value in kept.items():
        monkeypatch.setenv(name, value)
    # What is kept between runs stays out of the real home.
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "kept"))
    monkeypatch.setattr(BORDER, "open", True)
    return kept


# ---- what is left to the long tests ---------------------------------------------------------------------------------


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a variant of a storage that passes the whole suite elsewhere, what is beyond the core of the suite is long."""
    # Not before assertions of the suite are rewritten.
    from mediagit_storage.testing.conformance.core import is_beyond_core

    for item in items:
        if getattr(getattr(item, "cls", None), "variant", False) and is_beyond_core(item.function):
            item.add_marker(pytest.mark.long)


def pytest_collection_finish() -> None:
    """What collecting made stays to the end: the garbage collector need not walk through it again and again."""
    gc.collect()
    gc.freeze()


# ---- temporary folders ---------------------------------------------------------------------------------------------

#: Trees that tests leave below this depth are removed with the run: pytest removes old folders by a recursion of its
#: own, and a test about a thousand levels would make that fail, runs later.
DEEPEST = 60


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Make the temporary folder of this run one that pytest can remove."""
    factory = getattr(session.config, "_tmp_path_factory", None)
    if factory is not None and factory._basetemp is not None:
        depth = ["-mindepth", str(DEEPEST), "-maxdepth", str(DEEPEST)]
        remove = ["-type", "d", "-prune", "-execdir", "rm", "-rf", "{}", "+"]
        subprocess.run(["find", factory._basetemp, *depth, *remove], check=False, stderr=subprocess.DEVNULL)


# ---- the network ---------------------------------------------------------------------------------------------------


def _is_local(host: object) -> bool:
    if host is None or host in {"localhost", b"localhost"}:
        return True
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    try:
        return ipaddress.ip_address(text.partition("%")[0]).is_loopback
    except ValueError:
        return False


class Border:
    """Whether the network may be reached now."""

    open = False


BORDER = Border()


def _refuse_network(event: str, arguments: tuple[object, ...]) -> None:
    if not event.startswith("socket.") or BORDER.open:
        return
    if event in {"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"}:
        address = arguments[1]
        if isinstance(address, tuple) and not _is_local(address[0]):
            raise NetworkBlocked(f"{event} to {address!r}: tests stay on loopback")
    elif event == "socket.getaddrinfo" and arguments[0] != "" and not _is_local(arguments[0]):
        raise NetworkBlocked(f"a test asked for the address of {arguments[0]!r}: tests stay on loopback")


# ---- property tests ------------------------------------------------------------------------------------------------

_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]

#: The default: the same examples every time, so that a red run is red again.
settings.register_profile(
    "ci", max_examples=50, derandomize=True, deadline=None, database=None, print_blob=True, suppress_health_check=_QUIET
)
#: New examples every time, and many more of them: `make test-long`.
settings.register_profile("nightly", max_examples=1000, deadline=None, print_blob=True, suppress_health_check=_QUIET)


# ---- servers that play scripts -------------------------------------------------------------------------------------


@pytest.fixture
def play(opened: Callable[..., StorageBackend]) -> Iterator[Callable[..., tuple[Storage, ScriptedServer]]]:
    """A storage whose server answers one request a connection, with the given steps in turn.

    A step that is a tuple is a whole script for its connection; after the last one, the last is played again. The
    folder's own fixture ``opened`` opens its backend at a URL.
    """
    # Not before assertions of the suite are rewritten.
    from mediagit_storage.storage import Storage
    from mediagit_storage.testing.scripted_server import Receive, ScriptedServer

    with contextlib.ExitStack() as stack:

        def build(*steps: object, **options: object) -> tuple[Storage, ScriptedServer]:
            scripts = [each if isinstance(each, tuple) else (Receive(), each) for each in steps]
            server = stack.enter_context(ScriptedServer(*scripts))
            return Storage(opened(server.url, **options)), server

        yield build


# ---- the command line, on a real server ----------------------------------------------------------------------------


@pytest.fixture
def mgs(server: Running, tmp_path: Path) -> Callable[..., Finished]:
    """Calls `mgs` with the environment of the folder's ``server``; ``changes`` to it are given by name."""
    from mediagit_storage.testing.command_line import call_mgs

    def call(*arguments: object, stdin: bytes = b"", **changes: str) -> Finished:
        environment = {**server.environment(), "MGS_CONFIG": str(tmp_path / "none.toml"), **changes}
        return call_mgs(*arguments, folder=tmp_path, environment=environment, stdin=stdin)

    return call


# ---- nothing left behind -------------------------------------------------------------------------------------------


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if not isinstance(thread, threading._DummyThread)}


def _descriptors() -> dict[int, str]:
    """Open descriptors and what they lead to, where the system tells; devices and the runtime's own are left out."""
    found: dict[int, str] = {}
    try:
        numbers = os.listdir("/proc/self/fd")
    except FileNotFoundError:
        return found
    for number in numbers:
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{number}")
            if not target.startswith(("/dev/", "anon_inode:[pidfd]")) and "/proc/" not in target:
                found[int(number)] = target
    return found


def _children() -> dict[int, str]:
    """Child processes and their command lines, without the helpers that multiprocessing keeps for the whole run."""
    multiprocessing.active_children()  # reaps those that have ended
    found: dict[int, str] = {}
    for task in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for number in task.read_text().split():
                command = Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if "multiprocessing" not in command:
                    found[int(number)] = command.strip() or "(ended, not waited for)"
    return found


def _leftovers(threads: set[threading.Thread], descriptors: dict[int, str], children: dict[int, str]) -> list[str]:
    found = [f"thread {thread.name}" for thread in _threads() - threads]
    found += [f"descriptor {n}: {t}" for n, t in _descriptors().items() if descriptors.get(n) != t]
    found += [f"process {n}: {c}" for n, c in _children().items() if n not in children]
    return found


@pytest.fixture(autouse=True)
def no_leftovers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread, an open descriptor or a child process behind."""
    before = (_threads(), _descriptors(), _children())
    yield
    if not _leftovers(*before):
        return
    gc.collect()
    deadline = time.monotonic() + GRACE
    while (found := _leftovers(*before)) and time.monotonic() < deadline:
        time.sleep(0.01)
    if found:
        pytest.fail(f"{request.node.name} left behind: " + "; ".join(sorted(found)), pytrace=False)
