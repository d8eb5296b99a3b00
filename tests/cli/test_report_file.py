"""`--report`: a file whose lines are whole whatever else goes on."""

from __future__ import annotations

import json

from mediagit_storage.cli.report_file import report_file


def test_two_runs_into_one_file_leave_whole_lines(tmp_path):
    path = tmp_path / "report"
    with report_file(path) as one:
        one.record("copy", {"name": "a" * 100})
        with report_file(path) as other:
            other.record("copy", {"name": "b"})
            one.record("copy", {"name": "c"})
            other.record("copy", {"name": "d"})
    names = [json.loads(line)["name"] for line in path.read_text().splitlines()]
    assert names == ["b", "c", "d"]
