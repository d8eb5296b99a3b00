"""Each broken store is noticed by the check that is named for it, and the intact one by none (247)."""

import pytest

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.testing.broken import BROKEN
from mediagit_storage.testing.conformance.runner import check_names, run_check

NAMES = [each.name for each in BROKEN]


@pytest.fixture(autouse=True)
def no_pictures_of_differences(monkeypatch):
    """These checks fail on purpose: where CI is set, pytest would draw megabytes of differing bytes for minutes."""
    monkeypatch.setattr("_pytest.assertion.util._reprcompare", None)


def without_bucket(kind):
    return lambda: kind(created=False)


@pytest.mark.parametrize("broken", BROKEN, ids=NAMES)
def test_the_named_check_notices(broken, tmp_path):
    error = run_check(broken.killed_by, broken.make, tmp_path, missing_bucket=without_bucket(broken.make))
    assert error is not None, f"{broken.killed_by} passed on {broken.name}"


@pytest.mark.parametrize("check", sorted({each.killed_by for each in BROKEN}))
def test_the_intact_store_passes_the_same_checks(check, tmp_path):
    assert run_check(check, MemoryBackend, tmp_path, missing_bucket=without_bucket(MemoryBackend)) is None


def test_there_are_enough_and_each_has_a_name_of_its_own():
    assert len(BROKEN) >= 30
    assert len(set(NAMES)) == len(NAMES)
    assert {each.killed_by for each in BROKEN} <= set(check_names())


@pytest.mark.parametrize("broken", BROKEN, ids=NAMES)
def test_a_broken_store_says_in_one_line_what_is_wrong(broken):
    line = (broken.make.__doc__ or "").splitlines()[0]
    assert line.endswith(".")
    assert len(line) > 10
