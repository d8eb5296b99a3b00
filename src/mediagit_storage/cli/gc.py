"""``mgs gc``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Final

import click

from mediagit_storage.cli.durations import Duration, duration_text, utc_now
from mediagit_storage.cli.filter_options import FilteringCommand, filter_options, filters_of
from mediagit_storage.cli.folders import chosen_side
from mediagit_storage.cli.framework import Run, common, complete_target
from mediagit_storage.cli.outcomes import Outcomes
from mediagit_storage.cli.report_file import ReportFile, report_file
from mediagit_storage.cli.session import Session, session
from mediagit_storage.errors import ConfigError
from mediagit_storage.journal import journal_name, state_folder
from mediagit_storage.tools.filters import Filter, Filters
from mediagit_storage.tools.gc import Collected, CollectionCounts, CollectionRules, State, collect
from mediagit_storage.tools.marks import open_marks
from mediagit_storage.tools.places import lasting_location, location_of
from mediagit_storage.tools.plan import DeletionLimit
from mediagit_storage.tools.references import CommandReferences, FileReferences, References
from mediagit_storage.tools.sides import Side
from mediagit_storage.types import JSON

__all__ = ["command"]

_GRACE: Final = timedelta(days=14)
#: What takes space away or gives it back: told one by one, and counted by their bytes.
_FREED: Final = (State.DELETED, State.TRASHED)


@click.command("gc", cls=FilteringCommand)
@click.argument("store", shell_complete=complete_target)
@click.option(
    "--references",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Names that are needed: a line each, or a manifest. May be repeated.",
)
@click.option(
    "--references-from",
    "commands",
    multiple=True,
    metavar="COMMAND",
    help="The same, printed by a command: run by bash with pipefail, or by sh where there is no bash.",
)
@click.option(
    "--grace", type=Duration(), metavar="TIME", help="How long an object stays once it is marked.  [default: 14d]"
)
@click.option("--delete", is_flag=True, help="Delete what is due; without it objects are only marked.")
@click.option(
    "--trash",
    metavar="FOLDER/",
    help="Keep what is deleted in this folder of the same storage, in one for each run. It is not collected.",
)
@click.option(
    "--max-delete",
    metavar="N",
    type=click.IntRange(0),
    help="Delete at most N objects, or none at all; without it at most half of them.",
)
@click.option("--marks", type=click.Path(path_type=Path), metavar="FILE", help="Where the marks are kept between runs.")
@click.option("--allow-empty", is_flag=True, help="Go on although no object at all is referenced.")
@click.option("--report", type=click.Path(path_type=Path), metavar="FILE", help="Write what was done, as JSON Lines.")
@filter_options
@common
@click.pass_context
def command(
    ctx: click.Context,
    store: str,
    *,
    files: tuple[Path, ...],
    commands: tuple[str, ...],
    grace: timedelta | None,
    delete: bool,
    trash: str | None,
    max_delete: int | None,
    marks: Path | None,
    allow_empty: bool,
    report: Path | None,
) -> int:
    """Delete objects that nothing references, after a time of grace.

    STORE is a folder or a whole storage; what is needed in it is told by --references and --references-from, as names
    below it. The first run marks what is not needed. A later one, once the grace is over, deletes with --delete what is
    still marked, still not needed and unchanged, and without it tells what is due.

    References are read again before the first deletion and after the last one; what came to be needed in between is
    brought back from the --trash, by the next run if this one is killed. If any of them, or a listing, cannot be read, or
    if they became less than half, nothing more is deleted. Uploads that nobody ended are another matter: `mgs uploads
    abort`.
    """
    if max_delete is not None and not delete:
        raise click.UsageError("--max-delete needs --delete")
    sources: list[References] = [*map(FileReferences, files), *map(CommandReferences, commands)]
    if not sources:
        raise click.UsageError("say what is needed, with --references FILE or --references-from COMMAND")
    _refuse_written_twice([report, marks], files)
    run = ctx.ensure_object(Run)
    rules = CollectionRules(
        _GRACE if grace is None else grace,
        delete,
        trash,
        DeletionLimit(max_delete),
        Filters([Filter(*each) for each in filters_of(ctx)]),
        allow_empty,
        concurrency=run.concurrency,
    )
    with session(run) as this, report_file(report) as written:
        side = chosen_side(this.place(store))
        return _collect(this, side, sources, _marks_file(side, marks), rules, written)


def _refuse_written_twice(written: Sequence[Path | None], files: Sequence[Path]) -> None:
    """A `UsageError` where a file that this command writes is one that it reads, or writes for another purpose."""
    seen = [*files]
    for path in written:
        if path is not None:
            if any(_is_one_file(path, each) for each in seen):
                raise click.UsageError(
                    f"{path} is named twice: --references, --marks and --report are files of their own"
                )
            seen.append(path)


def _is_one_file(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return one.samefile(other)
    return one.resolve() == other.resolve()


def _marks_file(side: Side, given: Path | None) -> Path:
    if given is not None:
        return given
    place, folder = lasting_location(side.store, side.prefix), state_folder()
    if place is None or folder is None:
        raise ConfigError("name a file for the marks with --marks: there is no folder to keep them in")
    return folder.with_name("collections") / f"{journal_name(*place)}.marks"


def _collect(  # noqa: PLR0917  # one caller
    this: Session, side: Side, sources: Sequence[References], path: Path, rules: CollectionRules, report: ReportFile
) -> int:
    tally, counts = _Tally(this, report), CollectionCounts()
    place = "\n".join(location_of(side.store, side.prefix))
    try:
        with open_marks(path, place) as marks:
            results = collect(side, sources, marks, rules, now=utc_now(), counts=counts)
            with closing(results):
                for each in results:
                    tally.add(each)
    except BaseException:
        tally.stopped(counts)
        raise
    return tally.close(counts, rules)


class _Tally:
    """Counts, tells what is done as it happens, and what failed at the end."""

    def __init__(self, this: Session, report: ReportFile) -> None:
        self._this = this
        self._outcomes = Outcomes(this, report, "collect")
        self._started = time.monotonic()
        self._found: Counter[State] = Counter()
        self._bytes = 0

    def add(self, each: Collected) -> None:
        """One more is marked, gone, or failed."""
        if each.error is not None:
            self._outcomes.failed(each.error)
            return
        self._found[each.state] += 1
        if each.state in _FREED:
            self._bytes += each.size or 0
        fields: dict[str, JSON] = {"name": each.name, "size": each.size, "status": str(each.state)}
        if not self._outcomes.told(fields) and (each.state is State.DUE or self._this.run.verbose):
            self._this.out.line(f"{each.state} {each.name}")

    def stopped(self, counts: CollectionCounts) -> None:
        """It ended early: tell what was done until then."""
        if self._bytes or self._outcomes.failures.count:
            self._summary(counts)

    def close(self, counts: CollectionCounts, rules: CollectionRules) -> int:
        """Name what failed, write the closing line, and return the exit code."""
        code = self._outcomes.failures.tell(self._this)
        self._summary(counts)
        if counts.missing:
            self._this.out.note(f"{counts.missing:,} references lead to no object here")
        if self._found[State.DUE] and not rules.delete:
            self._this.out.note("nothing was deleted: add --delete to delete what is due")
        if self._found[State.MARKED]:
            self._this.out.note(
                f"what was marked now is due in {duration_text(rules.grace)}, if nothing needs it until then"
            )
        return code

    def _summary(self, counts: CollectionCounts) -> None:
        freed = sum(self._found[state] for state in _FREED)
        others = {str(state): self._found[state] for state in State if state not in _FREED}
        extra = {"referenced": counts.referenced, **others, "failed": self._outcomes.failures.count}
        verb = "moved to the trash" if self._found[State.TRASHED] else "deleted"
        self._this.out.summary(verb, freed, self._bytes, time.monotonic() - self._started, extra)
