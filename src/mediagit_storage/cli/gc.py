"""``mgs gc``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

import click

from mediagit_storage.cli.durations import Duration, duration_text, utc_now
from mediagit_storage.cli.engine_options import chosen_engine, engine_options
from mediagit_storage.cli.filter_options import FilteringCommand, filter_options, filters_of
from mediagit_storage.cli.folders import chosen_side
from mediagit_storage.cli.framework import Run, common, complete_target
from mediagit_storage.cli.outcomes import Outcomes, Sum
from mediagit_storage.cli.report_file import ReportFile, report_file
from mediagit_storage.cli.session import Session, session
from mediagit_storage.cli.text import human_bytes, plural
from mediagit_storage.errors import CancelledError, ConfigError, StorageError
from mediagit_storage.journal import journal_name, state_folder
from mediagit_storage.tools.filters import Filter, Filters
from mediagit_storage.tools.gc import (
    HERE,
    Collected,
    CollectionCounts,
    CollectionEngine,
    CollectionRules,
    State,
    collect,
)
from mediagit_storage.tools.marks import open_marks
from mediagit_storage.tools.places import lasting_location, location_of
from mediagit_storage.tools.plan import DeletionLimit
from mediagit_storage.tools.references import CommandReferences, FileReferences, References
from mediagit_storage.tools.sides import Side
from mediagit_storage.tools.uploads import EndedUpload, aborted, begun_before
from mediagit_storage.types import JSON

__all__ = ["command"]

_GRACE: Final = timedelta(days=14)
#: As long as a large transfer that broke off can be gone on with, on this machine.
_STALE: Final = timedelta(days=7)
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
@click.option(
    "--uploads-older-than",
    "uploads_age",
    type=Duration(),
    metavar="TIME",
    help="Abort, with --delete, uploads for which nothing arrived for so long.  [default: 7d]",
)
@click.option("--keep-uploads", is_flag=True, help="Leave unfinished uploads alone.")
@click.option("--allow-empty", is_flag=True, help="Go on although no object at all is referenced.")
@click.option("--report", type=click.Path(path_type=Path), metavar="FILE", help="Write what was done, as JSON Lines.")
@filter_options
@engine_options
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
    uploads_age: timedelta | None,
    keep_uploads: bool,
    allow_empty: bool,
    report: Path | None,
) -> int:
    """Delete objects that nothing references, after a time of grace.

    STORE is a folder or a whole storage; what is needed in it is told by --references and --references-from, as names
    below it. The first run marks what is not needed. A later one, once the grace is over, deletes with --delete what is
    still marked, still not needed and unchanged, and without it tells what is due.

    References are read again before the first deletion and after the last one; what came to be needed in between is
    brought back from the --trash, by the next run if this one is killed. If any of them, or a listing, cannot be read, or
    if they became less than half, nothing more is deleted.

    Uploads that were begun and never ended, and what killed programs left of them, are told as well, and aborted with
    --delete, where nothing arrived for a week and the storage can list them.
    """
    if keep_uploads and uploads_age is not None:
        raise click.UsageError("--keep-uploads leaves uploads of every age: leave out --uploads-older-than")
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
    ready = chosen_engine(ctx)
    with session(run) as this, report_file(report) as written:
        side = chosen_side(this.place(store))
        with ready as engine:
            outcomes = _Outcomes(this, written, rules)
            with outcomes.told_at_the_end():
                _collect(outcomes, side, sources, _marks_file(side, marks), rules, engine)
                if not keep_uploads:
                    outcomes.clear_uploads(side, _STALE if uploads_age is None else uploads_age)
        return outcomes.close()


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
    outcomes: _Outcomes,
    side: Side,
    sources: Sequence[References],
    path: Path,
    rules: CollectionRules,
    engine: CollectionEngine | None,
) -> None:
    place = "\n".join(location_of(side.store, side.prefix))
    with open_marks(path, place) as marks:
        outcomes.take(
            collect(side, sources, marks, rules, now=utc_now(), counts=outcomes.counts, engine=engine or HERE)
        )


class _Outcomes(Outcomes[Collected]):
    def __init__(self, this: Session, report: ReportFile, rules: CollectionRules) -> None:
        super().__init__(this, report, "collect")
        self.counts = CollectionCounts()
        self._rules = rules
        self._found: Counter[State] = Counter()
        self._bytes = 0
        self._uploads = 0
        self._uploaded = 0

    def add(self, each: Collected) -> None:
        """One more is marked, gone, or failed."""
        if each.error is not None:
            self.failed(each.error)
            return
        self._found[each.state] += 1
        if each.state in _FREED:
            self._bytes += each.size or 0
        fields: dict[str, JSON] = {"name": each.name, "size": each.size, "status": str(each.state)}
        if not self.told(fields) and (each.state is State.DUE or self._this.run.verbose):
            self._this.out.line(f"{each.state} {each.name}")

    def clear_uploads(self, side: Side, age: timedelta) -> None:
        """Abort what nobody sends any more, or tell of it; nothing where the storage cannot list it."""
        if not side.store.capabilities.pending_uploads:
            return
        try:
            found = side.store.pending_uploads(side.prefix)
            chosen = (each for each in found if self._means(each.key[len(side.prefix) :]))
            for ended in aborted(
                side.store,
                begun_before(chosen, age, utc_now()),
                age,
                concurrency=self._rules.concurrency,
                dry=not self._rules.delete,
            ):
                self._add_upload(side, ended)
        except CancelledError:
            raise
        except StorageError as error:
            # Not everybody who may list and delete objects may list uploads.
            error.message += "; --keep-uploads leaves them alone"
            self.failed(error)

    def _means(self, name: str) -> bool:
        return not name or self._rules.filters.takes(name)

    def _add_upload(self, side: Side, ended: EndedUpload) -> None:
        if ended.error is not None:
            self.failed(ended.error)
        elif ended.status == "aborted":
            self._uploads += 1
            self._uploaded += ended.upload.size or 0
            name = ended.upload.key[len(side.prefix) :]
            status = "aborted" if self._rules.delete else "stale"
            fields: dict[str, JSON] = {"name": name, "upload": ended.upload.id, "size": ended.upload.size}
            if not self.told({**fields, "status": status}) and (status == "stale" or self._this.run.verbose):
                self._this.out.line(f"{status} upload {name} {ended.upload.id}")

    def words(self) -> Iterator[str]:
        """What of it a user should look at, or do."""
        if self.counts.missing:
            yield f"{self.counts.missing:,} references lead to no object here"
        if self._found[State.DUE] and not self._rules.delete:
            yield "nothing was deleted: add --delete to delete what is due"
        if self._uploads:
            size = f" ({human_bytes(self._uploaded)})" if self._uploaded else ""
            what = f"{plural(self._uploads, 'upload')}{size} that nobody ended"
            yield f"aborted {what}" if self._rules.delete else f"there are {what}: --delete aborts them"
        if self._found[State.MARKED]:
            yield f"what was marked now is due in {duration_text(self._rules.grace)}, if nothing needs it until then"

    def sum(self) -> Sum:
        """What gave space back, and what was found of all others."""
        freed = sum(self._found[state] for state in _FREED)
        others = {str(state): self._found[state] for state in State if state not in _FREED}
        extra = {
            "referenced": self.counts.referenced,
            **others,
            "uploads": self._uploads,
            "failed": self.failures.count,
        }
        verb = "moved to the trash" if self._found[State.TRASHED] else "deleted"
        return Sum(verb, freed, self._bytes, extra)
