"""Assertions of the suite are shown in full, and what storages refused is counted at the end."""

from collections import Counter

import pytest

pytest.register_assert_rewrite("mediagit_storage.testing")


def pytest_terminal_summary(terminalreporter):
    refused = Counter(
        value
        for report in terminalreporter.stats.get("passed", ())
        for name, value in report.user_properties
        if name == "refused"
    )
    if refused:
        terminalreporter.section("what the storages under test refuse, as their capabilities say")
        for name, count in sorted(refused.items()):
            terminalreporter.line(f"{count:4}  {name}")
