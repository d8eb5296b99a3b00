"""`mgs check`: what is tried, what is found on storages that do wrong, and what is told of changes."""

from __future__ import annotations

import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.cli.check import _Seen
from mediagit_storage.errors import CancelledError, ConnectionLostError, PermissionDeniedError, UnavailableError
from mediagit_storage.layers.readonly import ReadOnlyLayer
from mediagit_storage.probe import probe
from mediagit_storage.scope import current_scope, scope
from mediagit_storage.source import BytesSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.manual_clock import ManualClock
from mediagit_storage.types import Finding, FindingLevel, PutOptions

OK, WARNING, FAILED = FindingLevel.OK, FindingLevel.WARNING, FindingLevel.FAILED


def found(backend, *, write=True):
    return {each.name: each for each in Storage(backend).check(write=write)}


def test_everything_is_tried(mgs, memory):
    records = {each["name"]: each for each in mgs("check", "--json", memory).records}
    assert [*records][:11] == [
        "list", "write", "read", "range", "listed", "clock", "create-only", "overwrite", "conditions", "latency", "delete",
    ]  # fmt: skip
    assert {each["level"] for each in records.values()} == {"ok"}
    assert "create-only writes" in records["capabilities"]["detail"]
    assert mgs("ls", "-r", memory).lines == []


def broken(**methods):
    return type("Broken", (MemoryBackend,), methods)()


def without_conditions(self, key, source, options):
    return MemoryBackend.put(self, key, source, replace(options, if_absent=False, if_match=None))


def shorter(self, key, options):
    content = MemoryBackend.read(self, key, options)
    return content._replace(data=content.data[:-1])


def nothing(self, *arguments):
    return iter(())


def kept(self, key, options):
    pass


def refused(self, *arguments):
    raise PermissionDeniedError("no, you may not")


@pytest.mark.parametrize(
    ("methods", "failed"),
    [
        ({"put": without_conditions}, {"create-only", "conditions"}),
        ({"read": shorter}, {"read", "range"}),
        ({"list": nothing}, {"listed"}),
        ({"delete": kept}, {"delete"}),
        ({"read": refused}, {"read", "range"}),
        ({"stat": refused}, {"latency", "delete"}),
        ({"list": refused}, {"list", "listed"}),
        ({"delete": refused}, {"delete"}),
        ({"put": refused}, {"write"}),
    ],
)
def test_what_a_storage_does_wrong_is_found(methods, failed):
    findings = found(broken(**methods))
    assert {name for name, each in findings.items() if each.level is FAILED} == failed
    assert all(findings[name].advice for name in failed)


def test_a_probe_that_stays_is_named():
    backend = broken(delete=refused)
    detail = found(backend)["delete"].detail
    (info,) = Storage(backend).list()
    assert info.key in detail


def versions_in(backend):
    return [*Storage(backend).list(versions=True)]


def test_no_versions_of_the_probe_are_left():
    backend = MemoryBackend(versioning=True)
    Storage(backend).put("mine", b"1")
    Storage(backend).put("mine", b"2")
    assert found(backend)["delete"].level is OK
    assert [each.key for each in versions_in(backend)] == ["mine", "mine"]


class MarksMadeUp(MemoryBackend):
    """The mark of a deletion stands for a version that is there: to delete it brings that back."""

    def delete(self, key, options):
        of_key = [each for each in versions_in(self) if each.key == key]
        mark = any(each.deleted and each.version == options.version for each in of_key)
        if mark and not all(each.deleted for each in of_key):
            super().put(key, BytesSource(b"back again"), PutOptions())
        else:
            super().delete(key, options)


def test_where_marks_of_deletions_are_made_up_nothing_comes_back():
    backend = MarksMadeUp(versioning=True)
    assert found(backend)["delete"].level is OK
    assert versions_in(backend) == []


def test_versions_that_stay_although_they_were_deleted_are_told():
    class Pretending(MemoryBackend):
        def delete(self, key, options):
            if options.version is None:
                super().delete(key, options)

    finding = found(Pretending(versioning=True))["delete"]
    assert finding.level is WARNING
    assert "still there" in finding.detail


def test_versions_that_may_not_be_deleted_are_told():
    class Keeping(MemoryBackend):
        def delete(self, key, options):
            if options.version is not None:
                refused(self)
            super().delete(key, options)

    backend = Keeping(versioning=True)
    finding = found(backend)["delete"]
    assert finding.level is WARNING
    assert "not its old versions: no, you may not" in finding.detail
    assert "list and delete versions" in finding.advice
    assert versions_in(backend)


def test_who_may_not_list_versions_of_a_bucket_without_any_is_not_warned():
    def listed(self, prefix, options):
        return refused(self) if options.versions else MemoryBackend.list(self, prefix, options)

    assert found(broken(list=listed))["delete"].level is OK


@pytest.mark.parametrize("error", [ConnectionLostError("gone"), CancelledError("cancelled"), KeyboardInterrupt()])
def test_a_probe_whose_answer_never_came_is_removed(error):
    def lost(self, key, source, options):
        MemoryBackend.put(self, key, source, options)
        raise error

    backend = broken(put=lost)
    if isinstance(error, UnavailableError):
        assert found(backend)["write"].level is FAILED
    else:
        with pytest.raises(type(error)):
            found(backend)
    assert [*Storage(backend).list()] == []


def test_who_may_not_overwrite_is_not_told_that_conditions_do_not_work():
    def create_only(self, key, source, options):
        if not options.if_absent and options.if_match is None and Storage(self).exists(key):
            refused(self)
        return MemoryBackend.put(self, key, source, options)

    findings = found(broken(put=create_only))
    assert {name for name, each in findings.items() if each.level is FAILED} == {"overwrite"}


def test_a_check_that_is_cancelled_at_its_very_end_is_cancelled():
    deleted: list[str] = []

    def noted(self, key, options):
        deleted.append(key)
        MemoryBackend.delete(self, key, options)

    def ended(self, key, version=None):
        if deleted:
            raise CancelledError("cancelled")
        return MemoryBackend.stat(self, key, version)

    with pytest.raises(CancelledError):
        found(broken(stat=ended, delete=noted))


def test_reading_only_changes_nothing():
    store = Storage(MemoryBackend())
    assert {*found(store.backend, write=False)} == {"list", "capabilities"}
    store.put("a", b"")
    store.put("b", b"x")
    before = [*store.list()]
    assert [*found(ReadOnlyLayer(store.backend), write=False)] == ["list", "stat", "read", "capabilities"]
    assert [*store.list()] == before


def test_an_object_that_cannot_be_read_now_is_no_failure_but_a_refusal_is():
    backend = broken(read=refused)
    Storage(backend).put("a", b"x")
    assert found(backend, write=False)["read"].level is FAILED


def test_a_slow_storage_is_told():
    clock = ManualClock()

    def slow(self, key, version=None):
        clock.sleep(1.5)
        return MemoryBackend.stat(self, key, version)

    findings = {each.name: each for each in probe(broken(stat=slow), clock, write=True)}
    assert findings["latency"].level is WARNING
    assert "1500.0 ms" in findings["latency"].detail
    assert findings["clock"].level is WARNING


def test_a_check_that_is_cancelled_leaves_no_probe():

    def cancelled(self, key, options):
        inside.cancel()
        raise CancelledError("cancelled")

    backend = broken(read=cancelled)
    with scope() as inside, pytest.raises(CancelledError):
        Storage(backend).check()
    assert [*Storage(backend).list()] == []


def test_a_check_whose_time_is_over_leaves_no_probe():
    def endless(self, key, options):
        current_scope().sleep(3600)

    def in_time(self, key, options):
        current_scope().check()
        MemoryBackend.delete(self, key, options)

    backend = broken(read=endless, delete=in_time)
    with scope(timeout=1):
        findings = found(backend)
    assert {"read", "delete"} <= {name for name, each in findings.items() if each.level is FAILED}
    assert "is left" not in findings["delete"].detail
    assert [*Storage(backend).list()] == []


def test_changes_are_those_of_levels_since_each_was_last_looked_at():
    seen = _Seen()

    def look(**levels):
        findings = [Finding(name, level, "...") for name, level in levels.items()]
        return [(each.name, each.level) for each in seen.changed("s", findings)]

    assert look(list=OK, write=OK, space=WARNING) == [("space", WARNING)]
    assert look(list=OK, write=OK, space=WARNING) == []
    assert look(list=OK, write=FAILED) == [("write", FAILED)]
    assert look(list=FAILED) == [("list", FAILED)]
    assert look(list=OK, write=OK, space=WARNING) == [("list", OK), ("write", OK)]


def test_faults_that_a_storage_names_only_while_they_last_are_told_again():
    seen, fine = _Seen(), [Finding("list", OK, ""), Finding("capabilities", OK, "")]
    behind, cut = Finding("replica", WARNING, "behind"), [Finding("list", FAILED, "")]
    told = [
        [(each.name, each.level) for each in seen.changed("s", look)]
        for look in ([*fine, behind], cut, [*fine, behind], fine, fine, [*fine, behind])
    ]
    assert told == [
        [("replica", WARNING)],
        [("list", FAILED)],
        [("list", OK)],
        [("replica", OK)],
        [],
        [("replica", WARNING)],
    ]


def test_a_storage_that_cannot_tell_of_its_health_is_a_finding():
    assert found(broken(check=refused))["health"].level is FAILED


@pytest.mark.parametrize("words", [("check", "--watch"), ("bench", "--seconds")])
def test_no_number_is_no_time(mgs, memory, words):
    result = mgs(words[0], memory, words[1], "nan")
    assert result.code == 2
    assert words[1] in result.err


def test_watching_tells_of_changes_and_ends_quietly(tmp_path):
    """As a process of its own: lines come while it runs."""
    folder = tmp_path / "store"
    folder.mkdir()
    words = [sys.executable, "-m", "mediagit_storage", "check", str(folder), "--watch", "0.1"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    lines: queue.Queue[str] = queue.Queue()
    assert process.stdout is not None
    reader = threading.Thread(target=lambda out: [lines.put(line) for line in out], args=(process.stdout,))
    reader.start()

    def wait_for(pattern):
        while not re.search(pattern, lines.get(timeout=60)):
            pass

    wait_for(r"^ok +locks")
    shutil.move(folder, tmp_path / "away")
    wait_for(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  \S+  failed  list  .*mgs mb")
    shutil.move(tmp_path / "away", folder)
    wait_for(r"  ok  list  ")
    process.send_signal(signal.SIGINT)
    reader.join(60)
    assert process.wait(60) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    process.stdout.close()
