"""Run the conformance suite on every server that is there, and write down what each did: ``make matrix``.

The table stands in TESTING.md between two marks. Nothing in it is typed by hand.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "TESTING.md"
BEGIN, END = "<!-- matrix: written by `make matrix` -->", "<!-- end of the matrix -->"
BACKENDS = {"s3_servers": "S3", "azure_servers": "Azure", "gcs_servers": "GCS", "webdav_servers": "WebDAV"}
COLUMNS = ("passed", "refused", "fault", "failed")
HEAD = (
    "| backend | server | passed | of these, a capability refused as it should be | server's fault | failed |",
    "|---|---|---:|---:|---:|---:|",
)


class Outcomes:
    """What each test of the suite did, by backend and server. A plugin of pytest."""

    def __init__(self) -> None:
        self.by_server: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count one test, at its call, or where it fails or is skipped before or after. What it refused is told last."""
        refused = report.when == "teardown" and any(name == "refused" for name, _ in report.user_properties)
        if report.when != "call" and report.passed and not refused:
            return
        folder, case = Path(report.nodeid.partition("::")[0]).parent.name, report.nodeid.split("::")[1]
        if folder in BACKENDS and case.startswith("Test"):
            kinds = ("refused",) if refused and report.passed else _kinds(report)
            self.by_server[BACKENDS[folder], case.removeprefix("Test")].update(kinds)


def _kinds(report: pytest.TestReport) -> tuple[str, ...]:
    if hasattr(report, "wasxfail"):
        # A test that passes though its fault may show by chance has passed.
        return ("fault",) if report.skipped else ("passed",)
    if report.skipped:
        return ("absent",)
    if report.failed:
        return ("failed",)
    return ("passed",)


def table(outcomes: Outcomes) -> list[str]:
    """The rows, in the order of their names."""
    order = list(BACKENDS.values())
    found = sorted(outcomes.by_server.items(), key=lambda each: (order.index(each[0][0]), each[0][1].lower()))
    rows = []
    for (backend, server), counts in found:
        if not any(counts[kind] for kind in COLUMNS):
            rows.append(f"| {backend} | {server} | not installed here | | | |")
            continue
        rows.append(f"| {backend} | {server} | " + " | ".join(str(counts[kind]) for kind in COLUMNS) + " |")
    return [*HEAD, *rows]


def write(rows: list[str]) -> None:
    """Replace what stands between the marks."""
    before, begin, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE.name} has no place for the table: it needs the marks {BEGIN} and {END}")
    PAGE.write_text(f"{before}{BEGIN}\n\n" + "\n".join(rows) + f"\n\n{END}{after}", "utf-8")


def main() -> int:
    """Run, print, write; not zero if a test failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", default="2", help="how many processes run tests")
    jobs = parser.parse_args().jobs
    outcomes = Outcomes()
    files = [str(path) for name in BACKENDS for path in sorted((ROOT / "tests" / name).glob("test_conformance*.py"))]
    status = pytest.main(["-q", "-n", jobs, "-m", "server", *files], plugins=[outcomes])
    rows = table(outcomes)
    print("\n".join(rows))
    if status in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
        write(rows)
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
