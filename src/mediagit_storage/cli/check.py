"""``mgs check``."""

from __future__ import annotations

import click

from mediagit_storage.cli.exit_codes import DIFFERENCES
from mediagit_storage.cli.framework import Command, Run, common, complete_target, pass_run
from mediagit_storage.cli.session import session
from mediagit_storage.cli.text import columns, printable
from mediagit_storage.types import FindingLevel

__all__ = ["command"]


@click.command("check", cls=Command)
@click.argument("storages", metavar="STORAGE...", nargs=-1, required=True, shell_complete=complete_target)
@click.option("--read-only", is_flag=True, help="Write nothing (otherwise one small object is written and deleted).")
@common
@pass_run
def command(run: Run, storages: tuple[str, ...], *, read_only: bool) -> int:
    """Try a storage and say what is wrong with it.

    Lists, writes, reads and deletes one small object, compares clocks, and asks the storage about its health. Each
    finding is a line, with advice where something is to do. Exit code 1 if anything failed.
    """
    failed = False
    with session(run) as this:
        for text in storages:
            findings = this.whole(text).check(write=not read_only)
            failed |= any(finding.level is FindingLevel.FAILED for finding in findings)
            if run.json:
                for each in findings:
                    fields = {"name": each.name, "level": each.level.value, "detail": each.detail}
                    this.out.record("finding", {"storage": text, **fields, "advice": each.advice})
                continue
            if len(storages) > 1:
                this.out.line(f"{text}:")
            rows = [[each.level.value, printable(each.name), _words(each.detail, each.advice)] for each in findings]
            for line in columns(rows):
                this.out.line(line)
    return DIFFERENCES if failed else 0


def _words(detail: str, advice: str) -> str:
    return f"{detail}: {advice}" if advice else detail
