"""``mgs check``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from mediagit_storage.cli.durations import Seconds, utc_now
from mediagit_storage.cli.exit_codes import DIFFERENCES
from mediagit_storage.cli.framework import Command, Interrupted, Run, common, complete_target, pass_run
from mediagit_storage.cli.output import timestamp
from mediagit_storage.cli.session import Session, session
from mediagit_storage.cli.text import columns, printable, when
from mediagit_storage.scope import current_scope, scope
from mediagit_storage.storage import Storage
from mediagit_storage.types import Finding, FindingLevel

__all__ = ["command"]

#: Seconds that one look at a storage may take while it is watched.
_PATIENCE = 60.0


@click.command("check", cls=Command)
@click.argument("storages", metavar="STORAGE...", nargs=-1, required=True, shell_complete=complete_target)
@click.option("--read-only", is_flag=True, help="Write no object (otherwise a small one is written and deleted).")
@click.option(
    "--watch",
    type=Seconds(0.1, 86_400),
    metavar="SECONDS",
    help="Check again and again, so many seconds apart, and print what changes. Ctrl-C ends it.",
)
@common
@pass_run
def command(run: Run, storages: tuple[str, ...], *, read_only: bool, watch: float | None) -> int:
    """Try a storage and say what is wrong with it.

    Lists, writes, reads, overwrites and deletes one small object, on condition where the storage has conditions, compares
    clocks, measures how long a request takes, and asks the storage and its layers about their health: credentials,
    permissions, region, versions, free space, replicas. Each finding is a line, with advice where something is to do.
    With --read-only nothing is written, and of one object that is there a byte is read.

    With --watch the first look is told whole, and then each finding whose level changes, with its time.

    Exit code 1 if anything failed; with --watch, if anything failed when it was last looked at.
    """
    if watch is None:
        with session(run) as this:
            looks = []
            for text in storages:
                looks.append(this.whole(text).check(write=not read_only))
                _tell(this, text, looks[-1], several=len(storages) > 1)
        return _code(looks)
    seen = _Seen()
    try:
        with session(run) as this:
            _watch(this, [(text, this.whole(text)) for text in storages], watch, seen, write=not read_only)
    except Interrupted:
        pass
    return _code(seen.last.values())


class _Seen:
    """What was found of each storage until now."""

    def __init__(self) -> None:
        self.last: dict[str, Sequence[Finding]] = {}
        self._levels: dict[tuple[str, str], FindingLevel] = {}
        #: What storages said of themselves that was not well: some speak of a thing only then.
        self._ill: dict[str, set[str]] = {}

    def changed(self, text: str, findings: Sequence[Finding]) -> Sequence[Finding]:
        """Those that are on another level than when they were last looked at: well, where they never were."""
        gone = self._gone(text, findings)
        before, self.last[text] = dict(self._levels), findings
        found = [*findings, *gone]
        self._levels.update({(text, each.name): each.level for each in found})
        return [each for each in found if before.get((text, each.name), FindingLevel.OK) is not each.level]

    def _gone(self, text: str, findings: Sequence[Finding]) -> Sequence[Finding]:
        """What the storage itself found fault with before, and does not speak of any more."""
        names = [each.name for each in findings]
        if "capabilities" not in names:
            return ()  # the look did not get as far as that
        own = findings[names.index("capabilities") + 1 :]
        gone = self._ill.get(text, set()) - {*names}
        self._ill[text] = {each.name for each in own if each.level is not FindingLevel.OK}
        return [Finding(name, FindingLevel.OK, "not found any more") for name in sorted(gone)]


def _watch(this: Session, stores: Sequence[tuple[str, Storage]], seconds: float, seen: _Seen, *, write: bool) -> None:
    while True:
        for text, store in stores:
            begun = text in seen.last
            with scope(_PATIENCE):
                findings = store.check(write=write)
            changed = seen.changed(text, findings)
            if not begun:
                _tell(this, text, findings, several=True)
            for each in changed if begun else ():
                if this.run.json:
                    _record(this, text, each)
                else:
                    words = f"{each.level.value}  {printable(each.name)}  {_words(each)}"
                    this.out.line(f"{when(utc_now())}  {text}  {words}")
            this.out.flush()
        current_scope().sleep(seconds)


def _tell(this: Session, text: str, findings: Sequence[Finding], *, several: bool) -> None:
    if this.run.json:
        for each in findings:
            _record(this, text, each)
        return
    if several:
        this.out.line(f"{text}:")
    for line in columns([[each.level.value, printable(each.name), _words(each)] for each in findings]):
        this.out.line(line)


def _record(this: Session, text: str, finding: Finding) -> None:
    fields = {"name": finding.name, "level": finding.level.value, "detail": finding.detail, "advice": finding.advice}
    this.out.record("finding", {"storage": text, **fields, "time": timestamp(utc_now())})


def _words(finding: Finding) -> str:
    return f"{finding.detail}: {finding.advice}" if finding.advice else finding.detail


def _code(looks: Iterable[Sequence[Finding]]) -> int:
    failed = any(each.level is FindingLevel.FAILED for findings in looks for each in findings)
    return DIFFERENCES if failed else 0
