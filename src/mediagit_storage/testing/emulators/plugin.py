"""Servers for pytest: one of each kind for a whole run however many processes it has, started when a test needs it.

A conftest takes it in with ``pytest_plugins = ("mediagit_storage.testing.emulators.plugin",)``. A test says which
server it needs: with the parameter ``server``, with the mark ``uses_server("moto")``, or as a class with the attribute
``server_name``. It carries the mark ``server`` then, and has five minutes: a server may take one to start.

A server that is not there skips its tests with a sentence that says what to do. Where the environment has ``CI`` set
it fails them, unless nobody could have installed it: a run that is to be believed must not leave out half of itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from mediagit_storage.testing.emulators.existing import running_already
from mediagit_storage.testing.emulators.installing import must_be_there
from mediagit_storage.testing.emulators.kinds import Running
from mediagit_storage.testing.emulators.known_faults import KNOWN_FAULTS
from mediagit_storage.testing.emulators.running import EmulatorError, MissingError, shared
from mediagit_storage.testing.emulators.servers import SERVERS

__all__ = ["cache_of", "needed", "pool_of"]

#: How long a test with a server may take, in seconds.
_PATIENCE: Final = 300


class _Pool:
    """Starts servers by name, each once; ``place`` is a folder that all processes of the run have in common."""

    def __init__(self, place: Path, cache: Path) -> None:
        self._place = place
        self._cache = cache
        self._stack = ExitStack()
        # Also what could not be started: every test would wait for it anew.
        self._found: dict[str, Running | EmulatorError] = {}

    def get(self, name: str) -> Running:
        """The server; without it the test is skipped, or fails."""
        if name not in self._found:
            self._found[name] = self._find(name)
        found = self._found[name]
        if isinstance(found, Running):
            return found
        if isinstance(found, MissingError) and not must_be_there(SERVERS[name]):
            pytest.skip(str(found))
        pytest.fail(str(found), pytrace=False)

    def _find(self, name: str) -> Running | EmulatorError:
        if (other := running_already(name)) is not None:
            return other
        try:
            return self._stack.enter_context(shared(name, self._place, cache=self._cache))
        except EmulatorError as error:
            return error

    def close(self) -> None:
        """Leave all of them."""
        self._stack.close()


_POOL: Final = pytest.StashKey[_Pool]()


def cache_of(config: pytest.Config) -> Path:
    """Where `make servers` puts them."""
    return config.rootpath / ".cache" / "servers"


def pool_of(config: pytest.Config) -> _Pool:
    """The servers of this run."""
    if _POOL not in config.stash:
        base: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # noqa: SLF001  # no other way
        base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
        config.stash[_POOL] = _Pool(base / "servers", cache_of(config))
    return config.stash[_POOL]


def needed(item: pytest.Item) -> list[str]:
    """The servers that a test needs."""
    marked = [name for mark in item.iter_markers("uses_server") for name in mark.args]
    callspec = getattr(item, "callspec", None)
    chosen = callspec.params.get("server") if callspec else None
    return [name for name in (*marked, chosen, _of_class(item)) if name]


def _of_class(item: pytest.Item) -> str | None:
    return getattr(getattr(item, "cls", None), "server_name", None)


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark."""
    config.addinivalue_line("markers", "uses_server(*names): the servers that a test talks to")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what talks to a server, and what its known faults make impossible."""
    for item in items:
        if needed(item):
            item.add_marker(pytest.mark.server)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(_PATIENCE))
            _expect_fault(item)


def _expect_fault(item: pytest.Item) -> None:
    """A test that a class names in ``deviations`` fails there, by a fault of the server's that the table knows.

    One that passes all the same is an error: either the server got better, or the name is wrong. What the fault makes
    fail only now and then, in a race, stands in ``by_chance``: such a test would prove nothing either way, and is not
    run. That the server still has the fault is shown elsewhere, by a request that shows it every time.
    """
    name, of = getattr(item, "originalname", None), getattr(item, "cls", None)
    for table, runs in (("deviations", True), ("by_chance", False)):
        fault = getattr(of, table, {}).get(name)
        if fault is not None:
            server = _of_class(item)
            assert server in KNOWN_FAULTS[fault].servers, f"{server} has no fault {fault}"
            reason = f"{server}: {fault}: {KNOWN_FAULTS[fault].says}"
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True, run=runs))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Start what the test needs before its fixtures look around: a server outlives the test that started it."""
    for name in needed(item):
        pool_of(item.config).get(name)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave the servers; they end with the last process of the run."""
    if _POOL in session.config.stash:
        session.config.stash[_POOL].close()


@pytest.fixture
def servers(request: pytest.FixtureRequest) -> Callable[[str], Running]:
    """A function from a name to the running server; the test has to say that it needs it."""

    def get(name: str) -> Running:
        assert name in needed(request.node), f"say that the test needs {name}"
        return pool_of(request.config).get(name)

    return get


@pytest.fixture(autouse=True)
def server_of_class(request: pytest.FixtureRequest) -> None:
    """Classes with a ``server_name`` find the server in ``self.server``."""
    name = _of_class(request.node)
    if name:
        request.instance.server = pool_of(request.config).get(name)
