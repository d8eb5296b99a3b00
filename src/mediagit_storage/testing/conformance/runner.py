"""The checks of the suite one by one, without pytest: to see which of them notice a defect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mediagit_storage.backend import StorageBackend
from mediagit_storage.testing.conformance import ConformanceSuite

__all__ = ["check_names", "run_check"]


def check_names() -> list[str]:
    """The names of all checks, sorted."""
    return sorted(name for name in dir(ConformanceSuite) if name.startswith("test_"))


def run_check(
    name: str,
    make: Callable[[], StorageBackend],
    folder: Path,
    *,
    missing_bucket: Callable[[], StorageBackend] | None = None,
) -> Exception | None:
    """Run one check against a new backend; what it raised, None when it passed. ``folder`` is empty and its own."""

    class Case(ConformanceSuite):
        """One check's backend."""

        large = 1_500_000
        rounds = 2

        def open_backend(self) -> StorageBackend:
            """The one to look at."""
            return make()

        def missing_bucket(self) -> StorageBackend | None:
            """One without its bucket, if there is such a one."""
            return None if missing_bucket is None else missing_bucket()

    case = Case()
    with case.running(folder):
        try:
            getattr(case, name)()
        except Exception as error:  # noqa: BLE001  # whatever a check raises is its verdict
            return error
    return None
